"""Table ``style``: whether speech changes as it was asked to, measured on the audio.

The synthesizer of the training data is measured the same way: what the measure itself makes of a
style that is certainly there.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor
from tqdm import tqdm

from data_synth.levels import dbfs, frame_powers, frame_size
from data_synth.speak import Line
from data_synth.style import speak_in_style, styled
from data_synth.tts import ASSISTANT, SAMPLE_RATE, trim
from voiceglm.error_rate import plain
from voiceglm.evaluate import RATE, listen
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.sound import median_pitch
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Figure, Row, Skipped, Table, ratio
from voiceglm.manifest import Utterance, read_samples

NAME = "style"
MODEL, SYNTHESIZER = "the model, asked aloud", "espeak-ng, told"
_RATE_OFF = 0.15  # share of the asked rate
_LEAST = {"pitch": 0.5, "volume": 1.0}  # semitones and decibels, what one just hears
_QUIET_DB = 40.0  # frames so far below the loudest are pauses


@dataclass(frozen=True)
class Wish:
    """A style, and how a user asks for it."""

    name: str  # a field of data_synth.style
    word: str
    spoken: str

    @property
    def style(self) -> Mapping[str, str]:
        """What the synthesizer is told."""
        return {self.name: self.word}

    @property
    def target(self) -> float:
        """The rate that is asked for; for pitch and volume only the direction, 1 or -1."""
        if self.name == "rate":
            return styled(ASSISTANT, self.style).rate
        return 1.0 if self.word.split()[-1] in ("high", "loud") else -1.0


WISHES = (
    Wish("rate", "slow", "Please speak more slowly."),
    Wish("rate", "very slow", "Please speak very slowly."),
    Wish("rate", "fast", "Please speak faster."),
    Wish("rate", "very fast", "Please speak very fast."),
    Wish("pitch", "low", "Please speak in a lower voice."),
    Wish("pitch", "very low", "Please speak in a very low voice."),
    Wish("pitch", "high", "Please speak in a higher voice."),
    Wish("pitch", "very high", "Please speak in a very high voice."),
    Wish("volume", "soft", "Please speak more softly."),
    Wish("volume", "very soft", "Please speak very softly."),
    Wish("volume", "loud", "Please speak louder."),
    Wish("volume", "very loud", "Please speak very loudly."),
)


@dataclass(frozen=True)
class Spoken:
    """Something that was said."""

    text: str
    samples: Tensor  # (num_samples,)
    sample_rate: int  # hertz


Say = Callable[[Wish | None, Utterance], Spoken]


def measure(subject: Subject) -> Table:
    """Ask for every style and measure what changes.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If rows cannot be written.
    """
    asked = nano_world.questions(subject)
    rng = random.Random(f"style/{subject.settings.seed}")
    rng.shuffle(asked)
    lines = [Line(w.spoken, nano_world.voiced(subject, w.spoken, w.spoken).voice) for w in WISHES]
    commands = nano_world.spoken(subject, "wishes", lines)
    aloud = dict(zip(WISHES, commands, strict=True))
    figures: list[Figure] = []
    for name, say in ((MODEL, partial(_reply, subject, aloud)), (SYNTHESIZER, _synthesized)):
        rows = style_rows(say, asked)
        subject.keep(NAME, name, rows)
        figures += _figures(name, rows)
    return Table(
        name=NAME,
        title="Speaking style on request",
        protocol=[
            "The same question with and without the wish. Rate: letters a second between the first"
            " and the last sound, right within 15 % of the asked one. Pitch: the median F0 has"
            " moved half a semitone or more in the asked direction. Volume: the level of what is"
            " no pause has moved a decibel or more in the asked direction.",
            "A model that ignores wishes is right by chance only; a reply that cannot be measured"
            " is wrong.",
        ],
        figures=figures,
        skipped=[Skipped("whisper, emotions, accents", "no measure of them is agreed on")],
    )


def style_rows(say: Say, questions: Sequence[Utterance]) -> list[Row]:
    """Ask each question with and without a wish, the wishes in turn."""
    rows: list[Row] = []
    for number, question in enumerate(tqdm(questions, desc=NAME, unit="question")):
        wish = WISHES[number % len(WISHES)]
        change = measured_change(wish, say(None, question), say(wish, question))
        rows.append(
            {
                "question": question.text,
                "wish": f"{wish.name}: {wish.word}",
                "asked": wish.target,
                "change": None if change is None else round(change, 4),
                "right": is_right(wish, change),
            }
        )
    return rows


def measured_change(wish: Wish, before: Spoken, after: Spoken) -> float | None:
    """Return the factor of the rate, the semitones of the pitch, or the decibels of the level.

    Returns:
        ``None`` if one of the two holds nothing to measure.
    """
    if wish.name == "rate":
        one, other = _letters_per_second(before), _letters_per_second(after)
        return other / one if one and other else None
    taken = median_pitch if wish.name == "pitch" else level
    one, other = (
        taken(spoken.samples, spoken.sample_rate) if len(spoken.samples) else None
        for spoken in (before, after)
    )
    return None if one is None or other is None else other - one


def is_right(wish: Wish, change: float | None) -> bool:
    """Say whether a change is the one that was asked for."""
    if change is None:
        return False
    if wish.name == "rate":
        return abs(change / wish.target - 1) <= _RATE_OFF
    return change * wish.target >= _LEAST[wish.name]


def level(samples: Tensor, sample_rate: int) -> float | None:
    """Return the level of what is no pause, in dBFS; None of silence: (num_samples,)."""
    powers = frame_powers(samples.numpy()[:, None], frame_size(sample_rate))[:, 0]
    loud = powers[dbfs(powers) > dbfs(float(powers.max())) - _QUIET_DB]
    return float(dbfs(float(np.mean(loud)))) if powers.max() > 0 else None


def _letters_per_second(spoken: Spoken) -> float:
    letters = len(plain(spoken.text).replace(" ", ""))
    if not spoken.samples.any():
        return 0.0
    return letters * spoken.sample_rate / len(trim(spoken.samples, margin=0))


def _reply(
    subject: Subject, aloud: Mapping[Wish, Utterance], wish: Wish | None, question: Utterance
) -> Spoken:
    """Have the model answer, behind the wish if there is one."""
    chat, seed = subject.open_chat(), subject.settings.seed
    if wish is not None:
        listen(chat, read_samples(aloud[wish], RATE), seed=seed)
    return Spoken(*listen(chat, read_samples(question, RATE), seed=seed))


def _synthesized(wish: Wish | None, question: Utterance) -> Spoken:
    """Have the synthesizer say the right answer."""
    text = question.extra["answer"]
    samples, _ = speak_in_style(text, ASSISTANT, wish.style if wish else {})
    return Spoken(text, samples, SAMPLE_RATE)


def _figures(name: str, rows: Sequence[Row]) -> Iterable[Figure]:
    column = "instruction accuracy" if name == MODEL else ""
    whole = [float(row["right"]) for row in rows]
    yield ratio(name, "styles right", whole, column=column)
    for field in ("rate", "pitch", "volume"):
        right = [float(row["right"]) for row in rows if row["wish"].startswith(f"{field}:")]
        if right:
            yield ratio(name, f"{field} right", right)
