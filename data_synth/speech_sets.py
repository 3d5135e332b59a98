"""The spoken sets of a recipe: conversations and readings of many users, replies of assistants."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_synth import corpus
from data_synth.speak import Line, speak, speak_lines
from data_synth.tts import ASSISTANTS, TONES, in_accent, in_tone, made_up_voices
from data_synth.tts import SAMPLE_RATE as REPLY_RATE
from data_synth.world import LANGUAGES, Language, Split
from voiceglm.augmentation import AugmentationConfig
from voiceglm.manifest import Utterance
from voiceglm.scripts import nearest

USER_RATE = 16_000  # hertz, what the tokenizer hears


@dataclass(frozen=True, kw_only=True)
class VoicesData:
    """What is spoken so that the decoder learns several voices."""

    lines: int
    """By all of the voices together, the assistants' among them."""
    made_up: int = 0
    """Voices beside those of the assistants."""
    made_up_share: float = 0.2
    """Of the lines, what they speak."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How much is spoken in each language."""

    questions: int
    """What users say in conversations."""
    readings: int
    orders: int = 0
    """Coffee ordered in English."""
    dialect_readings: int = 0
    """What users read aloud in Cantonese."""
    replies: int
    """What the assistant says beside the answers to questions."""
    test_questions: int
    """Questions that stand alone."""
    test_conversations: int = 0
    """Conversations of four turns."""
    test_orders: int = 0
    test_readings: int
    voices: VoicesData | None = None
    """Replies in other voices and tones; ``None``: the decoder learns one voice."""
    written: int = 0
    """Exchanges about numbers that nobody speaks: the language model learns to reckon from them."""
    digit_sequences: int = 3_000
    """Joined from people's digits, where those are given."""
    people_times: int = 1
    """How often people are heard while the tokenizer hears every synthesized voice once."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """How questions are disturbed before they become codes."""


def speak_sets(folder: Path, data: DataConfig) -> None:
    """Speak every set into a folder of its own; what is there already is kept.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If a folder cannot be written.
    """
    questions: list[Utterance] = []
    for language in LANGUAGES:
        questions += _speak_users(folder, data, language)
        _speak_held_out(folder, data, language)
    questions += _speak_orders(folder / "orders", data.orders, "train")
    _speak_orders(folder / "test_orders", data.test_orders, "test")
    answers = answers_to(questions)
    speak_lines(folder / "answers", answers, REPLY_RATE)
    replies = [
        corpus.reply(random.Random(f"reply/{language}/{number}"), language)
        for number in range(data.replies)
        for language in LANGUAGES
    ]
    speak_lines(folder / "replies", replies, REPLY_RATE)
    if data.voices is not None:
        speak_voices(folder / "voices", data.voices, [*answers, *replies])


def _speak_users(folder: Path, data: DataConfig, language: Language) -> list[Utterance]:
    rng = random.Random(f"questions/{language}")
    talks = corpus.conversations(rng, "train", language, data.questions)
    lines = _first(talks, data.questions)
    questions = speak_lines(folder / f"questions_{language}", lines, USER_RATE)
    _speak_readings(folder / f"readings_{language}", data.readings, language, "train")
    if language == "zh":
        dialect = [_in_cantonese(number) for number in range(data.dialect_readings)]
        speak_lines(folder / "readings_yue", dialect, USER_RATE)
    return questions


def _speak_orders(folder: Path, count: int, split: Split) -> list[Utterance]:
    rng = random.Random(folder.name)
    return speak_lines(folder, [corpus.order(rng, split) for _ in range(count)], USER_RATE)


def _in_cantonese(number: int) -> Line:
    """Draw what somebody reads aloud in Cantonese; its text is the same in Mandarin."""
    rng = random.Random(f"yue/{number}")
    line = corpus.reading(rng, "train", "zh")
    voice = in_accent(corpus.user_voice(rng, "train"), "zh", "cantonese")
    return replace(line, voice=voice, language="yue")


def _speak_held_out(folder: Path, data: DataConfig, language: Language) -> None:
    rng = random.Random(f"test_questions/{language}")
    alone = [corpus.question(rng, "test", language) for _ in range(data.test_questions)]
    speak_lines(folder / f"test_questions_{language}", alone, USER_RATE)
    rng = random.Random(f"test_conversations/{language}")
    count = data.test_conversations
    talks = corpus.conversations(rng, "test", language, count, turns=4)
    speak_lines(folder / f"test_conversations_{language}", _first(talks, 4 * count), USER_RATE)
    _speak_readings(folder / f"test_readings_{language}", data.test_readings, language, "test")


def _first(talks: Iterable[list[Line]], count: int) -> list[Line]:
    """Return whole conversations until there are so many lines, or a few more."""
    lines: list[Line] = []
    for talk in talks:
        if len(lines) >= count:
            break
        lines += talk
    return lines


def _speak_readings(folder: Path, count: int, language: Language, split: Split) -> None:
    rng = random.Random(folder.name)
    lines = [corpus.reading(rng, split, language) for _ in range(count)]
    speak_lines(folder, lines, USER_RATE)


def speak_voices(folder: Path, data: VoicesData, plain: Sequence[Line]) -> list[Utterance]:
    """Speak replies in the voices and tones of assistants, and in made-up voices, by turns.

    ``speaker`` is the voice, such as ``bruno`` or ``alice/whisper``. Assistants read what the first
    of them reads in her own voice elsewhere (``plain``, in extra, is its number there) at her pace,
    so that the codes of that reading fit.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If the folder cannot be written.
    """
    assistants = list(cast().items())
    others = made_up_voices(data.made_up)
    num_others = round(data.lines * data.made_up_share) if others else 0

    def make(number: int, rng: random.Random) -> Line:
        if number < num_others:
            place = number % len(others)
            line = corpus.reply(rng, LANGUAGES[number // len(others) % len(LANGUAGES)])
            voice = in_accent(others[place], line.language)
            return replace(line, voice=voice, speaker=f"voice_{place:03d}")
        name, (assistant, tone) = assistants[number % len(assistants)]
        place = rng.randrange(len(plain))
        line = plain[place]
        dialect = line.extra.get("dialect", "")
        voice = in_accent(ASSISTANTS[assistant], line.language, dialect)
        voice = in_tone(voice, tone) if tone else voice
        return replace(line, voice=voice, speaker=name, extra={"plain": place})

    return speak(folder, make, num_lines=data.lines, sample_rate=REPLY_RATE, seed="voices")


def cast() -> dict[str, tuple[str, str]]:
    """Return the assistants' voices beside that of the first alone: assistant and tone, by name."""
    first, *_ = ASSISTANTS
    voices = {name: (name, "") for name in ASSISTANTS if name != first}
    tones = {f"{name}/{tone}": (name, tone) for name in ASSISTANTS for tone in TONES}
    return {**voices, **tones}


def answers_to(questions: Iterable[Utterance]) -> list[Line]:
    """Return each right answer once in each accent it is asked for in, in order."""
    found: dict[tuple[str, str], Line] = {}
    for question in questions:
        extra = question.extra
        language = nearest(question.language)
        line = corpus.answered(extra["answer"], language, extra.get("style", ()))
        found.setdefault((line.text, line.extra["dialect"]), line)
    return list(found.values())
