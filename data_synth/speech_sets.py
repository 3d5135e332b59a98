"""The spoken sets of a recipe: questions and readings of many users, replies of one assistant."""

from dataclasses import dataclass
from pathlib import Path

from data_synth import corpus
from data_synth.speak import Line, speak
from data_synth.tts import ASSISTANT
from data_synth.tts import SAMPLE_RATE as REPLY_RATE
from voiceglm.manifest import Utterance

USER_RATE = 16_000  # hertz, what the tokenizer hears


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How much is spoken."""

    questions: int
    readings: int
    replies: int
    test_questions: int
    test_readings: int
    noisy_share: float = 0.5
    """Share of the questions that are disturbed before they become codes."""


def speak_sets(folder: Path, data: DataConfig) -> None:
    """Speak every set into a folder of its own; what is there already is kept.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If a folder cannot be written.
    """
    questions = speak(
        folder / "questions",
        lambda _, rng: corpus.question(rng, "train"),
        num_lines=data.questions,
        sample_rate=USER_RATE,
        seed="questions",
    )
    answers = unique_answers(questions)
    speak(
        folder / "answers",
        lambda number, _: Line(answers[number], ASSISTANT),
        num_lines=len(answers),
        sample_rate=REPLY_RATE,
        seed="answers",
    )
    speak(
        folder / "readings",
        lambda _, rng: corpus.reading(rng, "train"),
        num_lines=data.readings,
        sample_rate=USER_RATE,
        seed="readings",
    )
    speak(
        folder / "replies",
        lambda _, rng: corpus.reply(rng),
        num_lines=data.replies,
        sample_rate=REPLY_RATE,
        seed="replies",
    )
    speak(
        folder / "test_questions",
        lambda _, rng: corpus.question(rng, "test"),
        num_lines=data.test_questions,
        sample_rate=USER_RATE,
        seed="test_questions",
    )
    speak(
        folder / "test_readings",
        lambda _, rng: corpus.reading(rng, "test"),
        num_lines=data.test_readings,
        sample_rate=USER_RATE,
        seed="test_readings",
    )


def unique_answers(questions: list[Utterance]) -> list[str]:
    """Return each right answer once, in the order of the questions."""
    return list(dict.fromkeys(question.extra["answer"] for question in questions))
