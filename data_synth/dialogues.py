"""Rows for the language model: pairs and sequences to learn the modalities, dialogues to answer.

The kinds of row are those of ``voiceglm.train``. Questions bring the codes of many voices, answers
those of the assistant's one voice.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, product
from pathlib import Path
from typing import Any

from data_synth.corpus import dialect_of
from data_synth.world import LANGUAGES, sample_reckoning
from voiceglm.files import write_json_lines
from voiceglm.interleave import REPLY, keeps_ahead
from voiceglm.manifest import Utterance
from voiceglm.scripts import nearest

Row = Mapping[str, Any]
Said = tuple[str, str]
"""A text, and the dialect it is read in."""


def pretraining_rows(
    heard: Sequence[Utterance], spoken: Sequence[Utterance], questions: Sequence[Utterance]
) -> Iterator[Row]:
    """Give the rows of the first stage: what is heard is written, what is written is spoken.

    Args:
        heard: Users' recordings with codes and text.
        spoken: The assistant's, with codes and text; in a dialect if they name one.
        questions: Questions with codes, and their ``answer``.
    """
    yield from map(_transcription, heard)
    for utterance in spoken:
        said = {"text": utterance.text, "codes": utterance.extra["codes"]}
        dialect = utterance.extra.get("dialect")
        if not dialect:
            yield {"kind": "tts", **said}
        yield {"kind": "streaming", **said, **({"style": [dialect]} if dialect else {})}
    yield from _interleaved(questions, _codes_of(spoken))


def dialogue_rows(
    questions: Sequence[Utterance],
    answers: Sequence[Utterance],
    heard: Sequence[Utterance],
) -> Iterator[Row]:
    """Give the rows of the second stage: conversations of spoken questions and spoken replies.

    One conversation in four is also held in writing, where it is known what was said. One recording
    in three of ``heard`` is to be written down, or the model would forget how.

    Args:
        questions: With codes and their ``answer``, those of a conversation in order and together;
            see :func:`data_synth.corpus.conversations`. One without a ``dialogue`` stands alone.
        answers: Every right answer with codes, in each dialect it is asked for in.
        heard: Users' recordings with codes and text.
    """
    codes = _codes_of(answers)
    talks = groupby(enumerate(questions), key=lambda each: each[1].dialogue or each[0])
    for number, (_, turns) in enumerate(talks):
        asked = [question for _, question in turns]
        replies = [_reply(question, codes) for question in asked]
        spoken = ({"codes": question.extra["codes"]} for question in asked)
        yield {"kind": "dialogue", "turns": _by_turns(spoken, replies)}
        if number % 4 == 0 and all(question.text for question in asked):
            written = ({"text": question.text} for question in asked)
            yield {"kind": "dialogue", "turns": _by_turns(written, replies)}
    yield from map(_transcription, heard[::3])


def written_rows(count: int) -> Iterator[Row]:
    """Give conversations of one written question about numbers and its written reply.

    A model that hears a few thousand sums learns them by heart. In writing it can be shown each of
    them often, for a quarter of the ids; a spoken reply says the sum before its result, and is
    reckoned from what it says.

    Args:
        count: How many in each language; each is the same whatever the count.
    """
    for number, language in product(range(count), LANGUAGES):
        rng = random.Random(f"written/{language}/{number}")
        drawn = sample_reckoning(rng, "train", language)
        turns = [{"text": drawn.question}, {"text": drawn.answer}]
        yield {"kind": "dialogue", "turns": turns}


def _by_turns(asked: Iterable[Row], replies: Iterable[Row]) -> list[Row]:
    return [turn for pair in zip(asked, replies, strict=True) for turn in pair]


def most_styles(questions: Iterable[Utterance]) -> dict[str, int]:
    """Return the most style ids that each answer is asked for with; they stand before its text."""
    most: dict[str, int] = {}
    for question in questions:
        answer, count = question.extra["answer"], len(question.extra.get("style", ()))
        most[answer] = max(most.get(answer, 0), count)
    return most


def write_rows(path: Path, rows: Iterable[Row], count_ids: Callable[[str], int]) -> int:
    """Write rows as JSON lines, whole or not at all.

    Rows are left out if their speech would end before their text is written: a hasty reply has no
    place in the alternation of 13 text and 26 speech ids. Without speech that is a reply of more
    than 13 text ids.

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
    num_written = len(reply.get("style", ())) + count_ids(reply["text"])
    return keeps_ahead(num_written, len(reply.get("codes", ())), REPLY)


def _interleaved(questions: Sequence[Utterance], codes: Mapping[Said, Any]) -> Iterator[Row]:
    """Cross the modalities: half of the questions, each side written or spoken in turn."""
    for number, question in enumerate(questions):
        answer = question.extra["answer"]
        if number % 4 == 0:
            yield _segments({"codes": question.extra["codes"]}, {"text": f" {answer}"})
        elif number % 4 == 1:
            yield _segments({"text": question.text}, {"codes": codes[_said(question)]})


def _segments(*segments: Row) -> Row:
    return {"kind": "interleaved", "segments": segments}


def _transcription(utterance: Utterance) -> Row:
    return {"kind": "asr", "codes": utterance.extra["codes"], "text": utterance.text}


def _reply(question: Utterance, codes: Mapping[Said, Any]) -> Row:
    reply = {"text": question.extra["answer"], "codes": codes[_said(question)]}
    style = question.extra.get("style")
    return {**reply, "style": style} if style else reply


def _said(question: Utterance) -> Said:
    """Return what the reply to a question says, and in which dialect."""
    language = nearest(question.language)
    return question.extra["answer"], dialect_of(language, question.extra.get("style", ()))


def _codes_of(utterances: Sequence[Utterance]) -> dict[Said, Any]:
    return {
        (one.text or "", one.extra.get("dialect", "")): one.extra["codes"] for one in utterances
    }
