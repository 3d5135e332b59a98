"""Rows for the language model: pairs and sequences to learn the modalities, dialogues to answer.

The kinds of row are those of ``voiceglm.train``. Questions bring the codes of many voices, answers
those of the assistant's one voice.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from voiceglm.files import write_json_lines
from voiceglm.interleave import REPLY, keeps_ahead
from voiceglm.manifest import Utterance

Row = Mapping[str, Any]


def pretraining_rows(
    heard: Sequence[Utterance], spoken: Sequence[Utterance], questions: Sequence[Utterance]
) -> Iterator[Row]:
    """Give the rows of the first stage: what is heard is written, what is written is spoken.

    Args:
        heard: Users' recordings with codes and text.
        spoken: The assistant's, with codes and text.
        questions: Questions with codes, and their ``answer``.
    """
    yield from map(_transcription, heard)
    for utterance in spoken:
        codes = utterance.extra["codes"]
        yield {"kind": "tts", "text": utterance.text, "codes": codes}
        yield {"kind": "streaming", "text": utterance.text, "codes": codes}
    yield from _interleaved(questions, _codes_of(spoken))


def dialogue_rows(
    questions: Sequence[Utterance],
    answers: Sequence[Utterance],
    heard: Sequence[Utterance],
    *,
    seed: int = 0,
) -> Iterator[Row]:
    """Give the rows of the second stage: a question, spoken or written, and its spoken answer.

    One dialogue in five has two turns; one question in four is also asked in writing. One recording
    in three of ``heard`` is to be written down, or the model would forget how.
    """
    rng = random.Random(seed)
    codes = _codes_of(answers)
    for number, question in enumerate(questions):
        asked: list[Row] = [{"codes": question.extra["codes"]}, _reply(question, codes)]
        if rng.random() < 0.2:
            earlier = questions[rng.randrange(len(questions))]
            asked = [{"codes": earlier.extra["codes"]}, _reply(earlier, codes), *asked]
        yield {"kind": "dialogue", "turns": asked}
        if number % 4 == 0:
            yield {"kind": "dialogue", "turns": [{"text": question.text}, _reply(question, codes)]}
    yield from map(_transcription, heard[::3])


def write_rows(path: Path, rows: Iterable[Row], count_ids: Callable[[str], int]) -> int:
    """Write rows as JSON lines, whole or not at all.

    Rows are left out if their speech would end before their text is written: a hasty reply has no
    place in the alternation of 13 text and 26 speech ids.

    Args:
        path: The file to write.
        rows: The rows.
        count_ids: How many text ids a text has.

    Returns:
        How many rows were left out.

    Raises:
        OutputError: If the file cannot be written.
    """
    rows = list(rows)
    kept = [row for row in rows if not is_hasty(row, count_ids)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json_lines(path, kept)
    return len(rows) - len(kept)


def is_hasty(row: Row, count_ids: Callable[[str], int]) -> bool:
    """Say whether the speech of a reply in a row ends before its text is written."""
    return not all(_keeps_ahead(reply, count_ids) for reply in _replies(row))


def _replies(row: Row) -> Sequence[Row]:
    """Return what a row says in the alternation."""
    if row["kind"] == "dialogue":
        return row["turns"][1::2]
    return [row] if row["kind"] == "streaming" else []


def _keeps_ahead(reply: Row, count_ids: Callable[[str], int]) -> bool:
    return keeps_ahead(count_ids(reply["text"]), len(reply["codes"]), REPLY)


def _interleaved(questions: Sequence[Utterance], codes: Mapping[str, Any]) -> Iterator[Row]:
    """Cross the modalities: half of the questions, each side written or spoken in turn."""
    for number, question in enumerate(questions):
        answer = question.extra["answer"]
        if number % 4 == 0:
            yield _segments({"codes": question.extra["codes"]}, {"text": f" {answer}"})
        elif number % 4 == 1:
            yield _segments({"text": question.text}, {"codes": codes[answer]})


def _segments(*segments: Row) -> Row:
    return {"kind": "interleaved", "segments": segments}


def _transcription(utterance: Utterance) -> Row:
    return {"kind": "asr", "codes": utterance.extra["codes"], "text": utterance.text}


def _reply(question: Utterance, codes: Mapping[str, Any]) -> Row:
    answer = question.extra["answer"]
    return {"text": answer, "codes": codes[answer]}


def _codes_of(utterances: Sequence[Utterance]) -> dict[str, Any]:
    return {utterance.text or "": utterance.extra["codes"] for utterance in utterances}
