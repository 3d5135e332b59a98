"""Table ``reply``: whether the chat answers rightly, and whether its voice says its text."""

from collections.abc import Iterable, Sequence

from voiceglm.error_rate import ErrorRate, character_errors, word_errors
from voiceglm.evaluate import conversations
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Figure, Row, Skipped, Table, error_figure, ratio

NAME = "reply"


def measure(subject: Subject) -> Table:
    """Ask the nano world's held-out questions.

    Raises:
        AudioError: If a recording of the run cannot be read.
        OutputError: If rows cannot be written.
    """
    asked = nano_world.questions(subject)
    seed = subject.settings.seed
    rows = conversations(subject.open_chat, subject.recognizer, asked, seed=seed)
    subject.keep(NAME, nano_world.QUESTIONS, rows)
    skipped = [Skipped("latency", "see voiceglm bench")]
    if subject.recognizer is None:
        skipped.append(Skipped("ASR-WER", "no recognizer: give --recognizer or --run"))
    return Table(
        name=NAME,
        title="Replies of the chat",
        protocol=[
            "A reply is right if its text is the one right answer, case and punctuation aside."
            " ASR-WER: the spoken reply as the recognizer hears it, against the reply's own text.",
        ],
        figures=list(_figures(subject, rows)),
        skipped=skipped,
    )


def _figures(subject: Subject, rows: Sequence[Row]) -> Iterable[Figure]:
    name = nano_world.QUESTIONS
    yield ratio(name, "right replies", _right(rows))
    if subject.recognizer is not None:
        yield error_figure(name, "ASR-WER", _spoken(rows), column="ASR-WER")
        letters = [character_errors([row], "reply", "heard") for row in rows if row["reply"]]
        yield error_figure(name, "wrong characters of the spoken reply", letters)
    for skill in sorted({row["skill"] for row in rows}):
        of_skill = [row for row in rows if row["skill"] == skill]
        yield ratio(name, f"right replies, {skill}", _right(of_skill))
        if subject.recognizer is not None:
            yield error_figure(name, f"ASR-WER, {skill}", _spoken(of_skill))


def _right(rows: Iterable[Row]) -> list[float]:
    return [float(row["right"]) for row in rows]


def _spoken(rows: Iterable[Row]) -> list[ErrorRate]:
    return [word_errors([row], "reply", "heard") for row in rows if row["reply"]]
