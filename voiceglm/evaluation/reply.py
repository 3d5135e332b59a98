"""Table ``reply``: whether the chat answers rightly, and whether its voice says its text."""

from collections.abc import Iterable, Sequence

from data_synth.world import Language
from voiceglm.error_rate import ErrorRate, character_errors, word_errors
from voiceglm.evaluate import conversations
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Figure, Row, Skipped, Table, error_figure, ratio

NAME = "reply"
SPOKEN = {"en": "ASR-WER", "zh": "ASR-CER"}
"""What the error of the spoken reply is called: of words, or of Chinese characters."""


def measure(subject: Subject) -> Table:
    """Ask the nano world's held-out questions, language by language.

    Raises:
        AudioError: If a recording of the run cannot be read.
        DependencyError: If there are no recordings and the synthesizer is not installed.
        OutputError: If rows cannot be written.
    """
    figures: list[Figure] = []
    for language, name in nano_world.QUESTIONS.items():
        asked = nano_world.questions(subject, language)
        seed = subject.settings.seed
        rows = conversations(subject.open_chat, subject.recognizer, asked, seed=seed)
        subject.keep(NAME, name, rows)
        figures += _figures(subject, language, rows)
    skipped = [Skipped("latency", "see voiceglm bench")]
    if subject.recognizer is None:
        skipped.append(Skipped("ASR-WER", "no recognizer: give --recognizer or --run"))
    return Table(
        name=NAME,
        title="Replies of the chat",
        protocol=[
            "A reply is right if its text is the one right answer, case and punctuation aside."
            " ASR-WER: the spoken reply as the recognizer hears it, against the reply's own text;"
            " of Chinese replies ASR-CER, in characters.",
        ],
        figures=figures,
        skipped=skipped,
    )


def _figures(subject: Subject, language: Language, rows: Sequence[Row]) -> Iterable[Figure]:
    name, error = nano_world.QUESTIONS[language], SPOKEN[language]
    yield ratio(name, "right replies", _right(rows))
    if subject.recognizer is not None:
        column = "ASR-WER" if language == "en" else ""
        yield error_figure(name, error, _spoken(rows, language), column=column)
    if subject.recognizer is not None and language == "en":
        letters = [character_errors([row], "reply", "heard") for row in rows if row["reply"]]
        yield error_figure(name, "wrong characters of the spoken reply", letters)
    for skill in sorted({row["skill"] for row in rows}):
        of_skill = [row for row in rows if row["skill"] == skill]
        yield ratio(name, f"right replies, {skill}", _right(of_skill))
        if subject.recognizer is not None:
            yield error_figure(name, f"{error}, {skill}", _spoken(of_skill, language))


def _right(rows: Iterable[Row]) -> list[float]:
    return [float(row["right"]) for row in rows]


def _spoken(rows: Iterable[Row], language: Language) -> list[ErrorRate]:
    errors = character_errors if language == "zh" else word_errors
    said = (row for row in rows if row["reply"])
    return [errors([row], "reply", "heard", language=language) for row in said]
