"""Table ``style``: whether speech changes as it was asked to and stays so, measured on the audio.

Two that certainly do as they are told are measured the same way: the decoder, of the codes of a
plain reading, and the synthesizer of the training data. What they miss, the measure or the decoder
misses and not the language model.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import torch
from tqdm import tqdm

from data_synth.corpus import DIALECTS, user_voice
from data_synth.speak import Line
from data_synth.style import speak_in_style
from data_synth.tts import ASSISTANT, SAMPLE_RATE, in_accent, speak_alone
from data_synth.world import LANGUAGES, Language, of_side, wishes
from decoder.model import SpeechDecoder, VoicedDecoder
from voiceglm.chat import VoiceChat
from voiceglm.evaluate import RATE, written_reply
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.prosody import Spoken, changes, is_as_asked, prosody
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Figure, Row, Skipped, Table, ratio
from voiceglm.events import AudioDelta, TextDelta
from voiceglm.manifest import Utterance, read_samples
from voiceglm.scripts import nearest
from voiceglm.style import RATES, TONES, VOLUMES, Style

NAME = "style"
MODEL = "the model, asked aloud"
DECODER, SYNTHESIZER = "its decoder, told", "espeak-ng, told"

GROUPS: Mapping[str, Sequence[str]] = {
    "rate": tuple(RATES),
    "pitch": ("low", "high"),
    "loudness": tuple(VOLUMES),
    "whisper": ("whisper",),
    "cheerful and sad": ("cheerful", "sad"),
}
_LISTENED = 4
"""Replies of a trial: to two questions, behind the wish and without. All together are as many as
there are questions in the other tables."""
MEASURED = (*RATES, *TONES, *VOLUMES)

_TOLD: Mapping[str, Mapping[str, Any]] = {  # what data_synth.style understands
    **{name: {"rate": speed} for name, speed in RATES.items()},
    **{name: {"volume": gain} for name, gain in VOLUMES.items()},
    **{name: {"pitch": name} for name in ("low", "high")},
    **{name: {"emotion": name} for name in ("whisper", "cheerful", "sad")},
}

Say = Callable[["Trial", bool], list[Spoken]]
"""(trial, whether the wish is told) -> the replies to its questions."""


@dataclass(frozen=True)
class Trial:
    """A style, and two questions that are asked behind the wish for it."""

    number: int
    name: str
    questions: tuple[Utterance, Utterance]

    @property
    def style(self) -> Style:
        """What is wished for."""
        return Style.of([self.name])

    @property
    def language(self) -> Language:
        """Of the wish and the questions."""
        return nearest(self.questions[0].language)


def measure(subject: Subject) -> Table:
    """Ask for every style and measure what changes.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If rows cannot be written.
    """
    count = max(1, subject.settings.num_questions // _LISTENED // len(LANGUAGES))
    questions = [one for each in LANGUAGES for one in nano_world.questions(subject, each)[:count]]
    planned = trials(questions, subject.settings.seed)
    aloud = _wishes_aloud(subject, planned)
    systems = {MODEL: partial(_asked, subject, aloud), SYNTHESIZER: _synthesized}
    skipped = [Skipped("the sound of accents", "no measure of it is agreed on")]
    decoder = subject.chat.decoder
    if isinstance(decoder, SpeechDecoder | VoicedDecoder):
        systems[DECODER] = partial(_decoded, subject, decoder)
    else:
        skipped.append(Skipped(DECODER, "it takes no style"))
    figures: list[Figure] = []
    for name, say in systems.items():
        told = planned if name == MODEL else [each for each in planned if each.name in MEASURED]
        rows = list(style_rows(say, told))
        subject.keep(NAME, name, rows)
        figures += _figures(name, rows)
    return Table(
        name=NAME,
        title="Speaking style on request",
        protocol=[
            "A wish and two questions in one conversation, each reply against the one to the same"
            " question without a wish; the wish in a wording that was not trained on. Rate: letters"
            " or characters a second between the first and the last sound, right within 15 % of"
            " the asked one and nearer to it than to no change. High and low: the median F0 has"
            " moved half a semitone or more in the asked direction. Cheerful and sad: so, and the"
            " range of F0 is wider or narrower."
            " Loudness: the level of what is no pause has moved a decibel or more in the asked"
            " direction. Whisper: the share of voiced frames has fallen by ten points or more.",
            "Kept: the reply to the second question is right as well. Chosen: the model says that"
            " both replies are in the style, whatever they sound like. A reply that cannot be"
            " measured is wrong, and a model that ignores wishes is right by chance only.",
        ],
        figures=figures,
        skipped=skipped,
    )


def trials(questions: Sequence[Utterance], seed: int) -> list[Trial]:
    """Pair questions of a language and give each pair a style, all styles by turns."""
    found: list[Trial] = []
    for language in LANGUAGES:
        asked = [question for question in questions if nearest(question.language) == language]
        random.Random(f"style/{language}/{seed}").shuffle(asked)
        names = cycle((*MEASURED, *DIALECTS[language]))
        for pair in zip(asked, [*asked[1:], *asked[:1]], strict=True):
            found.append(Trial(len(found), next(names), pair))
    return found


def style_rows(say: Say, planned: Sequence[Trial]) -> Iterator[Row]:
    """Ask the questions of each trial behind its wish, and without."""
    for trial in tqdm(planned, desc=NAME, unit="trial"):
        without, within = say(trial, False), say(trial, True)
        first, second = map(_compared, [trial.name] * 2, without, within)
        yield {
            "wish": trial.name,
            "language": trial.language,
            "questions": [question.text for question in trial.questions],
            "replies": [reply.text for reply in within],
            "asked": trial.style.speed if trial.name in RATES else None,
            "first": first,
            "second": second,
            "right": first["right"],
            "kept": None if first["right"] is None else first["right"] and second["right"],
            "chosen": all(reply.style == trial.style for reply in within),
        }


def _compared(name: str, without: Spoken, within: Spoken) -> dict[str, Any]:
    """Return what is different, and whether it was asked for; None where that is not measured."""
    before, after = prosody(without), prosody(within)
    if before is None or after is None:
        return {"right": False if name in MEASURED else None}
    changed = changes(before, after)
    shown = {key: None if value is None else round(value, 4) for key, value in changed.items()}
    return {**shown, "right": bool(is_as_asked(name, changed)) if name in MEASURED else None}


def _wishes_aloud(subject: Subject, planned: Iterable[Trial]) -> list[Utterance]:
    """Have the wishes spoken, in held-out voices and wordings."""
    lines = []
    for trial in planned:
        rng = random.Random(f"wish/{subject.settings.seed}/{trial.number}")
        wording = rng.choice(of_side(wishes()[trial.name][trial.language]["wordings"], "test"))
        voice = user_voice(rng, "test", trial.language)
        lines.append(Line(wording, voice, language=trial.language))
    return nano_world.spoken(subject, "wishes", lines)


def _asked(
    subject: Subject, aloud: Sequence[Utterance], trial: Trial, is_told: bool
) -> list[Spoken]:
    """Have the model answer, behind the wish or each question in a conversation of its own."""
    if not is_told:
        return [_listen(subject, subject.open_chat(), each) for each in trial.questions]
    chat = subject.open_chat()
    wish = read_samples(aloud[trial.number], RATE)
    written_reply(chat, wish, seed=subject.settings.seed)
    return [_listen(subject, chat, question) for question in trial.questions]


def _listen(subject: Subject, chat: VoiceChat, said: Utterance) -> Spoken:
    events = list(chat.reply(read_samples(said, RATE), seed=subject.settings.seed))
    written = [event for event in events if isinstance(event, TextDelta)]
    audio = [event for event in events if isinstance(event, AudioDelta)]
    return Spoken(
        text="".join(event.text for event in written),
        samples=torch.cat([torch.zeros(0), *(event.samples.cpu() for event in audio)]),
        sample_rate=audio[0].sample_rate if audio else RATE,
        language=nearest(said.language),
        style=written[-1].style if written else Style(),
    )


def _decoded(
    subject: Subject, decoder: SpeechDecoder | VoicedDecoder, trial: Trial, is_told: bool
) -> list[Spoken]:
    """Have the decoder speak the codes of a plain reading of the right answers."""
    style, replies = trial.style if is_told else Style(), []
    for plain in _synthesized(trial, False):
        codes = subject.tokenizer.encode(plain.samples, plain.sample_rate)
        samples = decoder.decode(codes, style=style).cpu()
        replies.append(Spoken(plain.text, samples, decoder.sample_rate, plain.language, style))
    return replies


def _synthesized(trial: Trial, is_told: bool) -> list[Spoken]:
    """Have the synthesizer say the right answers."""
    voice, replies = in_accent(ASSISTANT, trial.language), []
    for question in trial.questions:
        text = question.extra["answer"]
        if is_told:
            samples, _ = speak_in_style(text, voice, _TOLD[trial.name])
        else:
            samples = speak_alone(text, voice)
        style = trial.style if is_told else Style()
        replies.append(Spoken(text, samples, SAMPLE_RATE, trial.language, style))
    return replies


def _figures(name: str, rows: Sequence[Row]) -> Iterable[Figure]:
    column = "instruction accuracy" if name == MODEL else ""
    heard = [row for row in rows if row["right"] is not None]
    yield ratio(name, "styles right", _share(heard, "right"), column=column)
    yield ratio(name, "styles right and kept", _share(heard, "kept"))
    languages = sorted({row["language"] for row in rows})
    for language in languages if len(languages) > 1 else ():
        of_language = [row for row in heard if row["language"] == language]
        yield ratio(name, f"styles right, {language}", _share(of_language, "right"))
    for group, names in GROUPS.items():
        if of_group := [row for row in heard if row["wish"] in names]:
            yield ratio(name, f"{group} right", _share(of_group, "right"))
    for level in RATES:
        factors = [
            row["first"]["rate"] for row in heard if row["wish"] == level and "rate" in row["first"]
        ]
        if factors:
            yield ratio(name, f"{level}, {RATES[level]} asked", factors, scale=1.0, unit="times")
    if name == MODEL:
        yield ratio(name, "styles chosen", _share(rows, "chosen"))


def _share(rows: Sequence[Row], name: str) -> list[float]:
    return [float(row[name]) for row in rows]
