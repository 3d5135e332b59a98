"""The spoken sets of a recipe: questions and readings of many users, replies of one assistant."""

import random
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_synth import corpus
from data_synth.speak import Line, Make, speak
from data_synth.tts import ASSISTANT, ASSISTANTS, Voice, made_up_voices
from data_synth.tts import SAMPLE_RATE as REPLY_RATE
from voiceglm.augmentation import AugmentationConfig
from voiceglm.manifest import Utterance

USER_RATE = 16_000  # hertz, what the tokenizer hears


@dataclass(frozen=True, kw_only=True)
class VoicesData:
    """What is spoken so that the decoder learns several voices."""

    lines: int
    """By all of the voices together, the assistants' among them."""
    made_up: int = 0
    """Voices beside those of the assistants."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How much is spoken."""

    questions: int
    readings: int
    replies: int
    test_questions: int
    test_readings: int
    voices: VoicesData | None = None
    """Replies in other voices than the assistant's; ``None``: the decoder learns one voice."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """How questions are disturbed before they become codes."""


def speak_sets(folder: Path, data: DataConfig) -> None:
    """Speak every set into a folder of its own; what is there already is kept.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If a folder cannot be written.
    """

    def spoken(name: str, rate: int, count: int, make: Make) -> list[Utterance]:
        return speak(folder / name, make, num_lines=count, sample_rate=rate, seed=name)

    question, reading = corpus.question, corpus.reading
    questions = spoken(
        "questions", USER_RATE, data.questions, lambda _, rng: question(rng, "train")
    )
    answers = unique_answers(questions)
    spoken("answers", REPLY_RATE, len(answers), lambda n, _: Line(answers[n], ASSISTANT))
    spoken("readings", USER_RATE, data.readings, lambda _, rng: reading(rng, "train"))
    spoken("replies", REPLY_RATE, data.replies, lambda _, rng: corpus.reply(rng))
    if data.voices is not None:
        speak_voices(folder / "voices", data.voices)
    spoken("test_questions", USER_RATE, data.test_questions, lambda _, rng: question(rng, "test"))
    spoken("test_readings", USER_RATE, data.test_readings, lambda _, rng: reading(rng, "test"))


def speak_voices(folder: Path, data: VoicesData) -> list[Utterance]:
    """Speak replies in many voices by turns; ``speaker`` is the voice, the same in every line.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If the folder cannot be written.
    """
    voices = list(cast(data.made_up).items())

    def make(number: int, rng: random.Random) -> Line:
        name, voice = voices[number % len(voices)]
        return replace(corpus.reply(rng), voice=voice, speaker=name)

    return speak(folder, make, num_lines=data.lines, sample_rate=REPLY_RATE, seed="voices")


def cast(made_up: int) -> dict[str, Voice]:
    """Return voices by name: the assistants', and as many made-up ones as asked for."""
    others = {f"voice_{number:03d}": voice for number, voice in enumerate(made_up_voices(made_up))}
    return {**ASSISTANTS, **others}


def unique_answers(questions: list[Utterance]) -> list[str]:
    """Return each right answer once, in the order of the questions."""
    return list(dict.fromkeys(question.extra["answer"] for question in questions))
