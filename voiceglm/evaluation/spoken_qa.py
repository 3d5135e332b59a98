"""Table ``spoken-qa``: questions asked aloud, and whether the reply holds the answer."""

from collections.abc import Iterable, Sequence
from typing import Any

from tqdm import tqdm

from voiceglm.errors import AudioError, ConfigError
from voiceglm.evaluate import RATE, ask
from voiceglm.evaluation.answers import holds_answer
from voiceglm.evaluation.questions import Question, QuestionSet, question_sets
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Figure, Row, Skipped, Table, ratio, without_errors
from voiceglm.manifest import read_samples

NAME = "spoken-qa"


def measure(subject: Subject) -> Table:
    """Ask every question in a conversation of its own.

    Raises:
        ConfigError: If a list of questions is damaged.
        OutputError: If rows cannot be written.
    """
    sets, skipped = question_sets(subject)
    if subject.recognizer is None:
        skipped.append(Skipped("S->S", "no recognizer: give --recognizer or --run"))
    figures: list[Figure] = []
    for asked in sets:
        rows = [_row(subject, asked, one) for one in tqdm(asked.questions, desc=asked.name)]
        subject.keep(NAME, asked.name, rows)
        good = without_errors(rows, asked.name, skipped)
        figures += _figures(subject, asked, good)
    return Table(
        name=NAME,
        title="Spoken question answering",
        protocol=[
            "One question a conversation, no examples before it. A reply is right if it contains an"
            " accepted answer as whole words, after Whisper's and TriviaQA's normalization: S->T"
            " its text, S->S what the recognizer hears of its speech. Chinese answers are looked"
            " for by characters.",
            "Questions are spoken by "
            + "; ".join(f"{asked.spoken_by} ({asked.name})" for asked in sets)
            + ".",
        ],
        figures=figures,
        skipped=skipped,
    )


def _row(subject: Subject, asked: QuestionSet, question: Question) -> Row:
    assert question.audio, "questions without speech are spoken before they are asked"
    row: dict[str, Any] = {
        "question": question.text,
        "answers": list(question.answers),
        "speaker": question.audio.speaker,
    }
    try:
        samples = read_samples(question.audio, RATE)
        seed = subject.settings.seed
        reply = ask(subject.open_chat(), subject.recognizer, samples, seed=seed)
    except (AudioError, ConfigError) as error:
        return {**row, "error": str(error)}
    answers, language = question.answers, asked.language
    row |= {**reply, "right_text": holds_answer(reply["reply"], answers, language)}
    if subject.recognizer is not None:
        row["right_speech"] = holds_answer(reply["heard"], answers, language)
    return row


def _figures(subject: Subject, asked: QuestionSet, rows: Sequence[Row]) -> Iterable[Figure]:
    right = [float(row["right_text"]) for row in rows]
    yield ratio(asked.name, "right answers", right, system="S->T", column=asked.column)
    if subject.recognizer is not None:
        right = [float(row["right_speech"]) for row in rows]
        yield ratio(asked.name, "right answers", right, system="S->S", column=asked.column)
