"""What each arm is trained on: rows of ``voiceglm.train``, the same ids in another order."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.claim.material import Material, Row
from benchmarks.claim.settings import ARMS
from voiceglm.documents import ListedDocuments
from voiceglm.mixing import Portion
from voiceglm.prompt import PromptFormat, PromptWriter
from voiceglm.train import Source

PAIRED_OF_BEGINNING = 0.6
"""Of the ids of the beginning; text takes the rest."""
TEXT_SHARE, PAIRED_SHARE = 0.25, 0.15
"""Of the ids of pre-training; the documents that the arms differ in take the rest."""
WRITTEN_QUESTIONS = 0.2
"""Of the ids of fine-tuning."""


def interleaved(document: Row) -> list[Row]:
    """Return a document twice: every span is written in one and spoken in the other."""
    return [_row(document, spoken=lambda n, side=side: n % 2 == side) for side in (0, 1)]


def apart(document: Row) -> list[Row]:
    """Return a document twice: all written, and all spoken."""
    return [_row(document, spoken=lambda n, side=side: bool(side)) for side in (0, 1)]


def _row(document: Row, *, spoken: Any) -> Row:
    spans = enumerate(document["spans"])
    return {
        "kind": "interleaved",
        "segments": [
            {"codes": span["codes"]} if spoken(n) else {"text": span["text"]} for n, span in spans
        ],
    }


def arranged(documents: Sequence[Row], arm: str) -> Iterator[Row]:
    """Yield the rows of all documents as an arm reads them: stories and facts in equal shares."""
    share = ARMS[arm]
    for number, document in enumerate(documents):
        # The n-th is interleaved where n times the share, rounded down, goes up.
        whole = int((number + 1) * share) > int(number * share)
        yield from interleaved(document) if whole else apart(document)


def beginning(material: Material, writer: PromptWriter) -> list[Source]:
    """Return the sources of what all arms begin with: text, and sentences with their speech."""
    return [
        _source("text", _texts(material), writer),
        _source("paired", _pairs(material), writer, PAIRED_OF_BEGINNING),
    ]


def pretraining(material: Material, arm: str, writer: PromptWriter) -> list[Source]:
    """Return the sources of pre-training of an arm."""
    return [
        _source("text", _texts(material), writer, TEXT_SHARE),
        _source("paired", _pairs(material), writer, PAIRED_SHARE),
        _source(f"documents, {arm}", arranged(material.documents, arm), writer),
    ]


def _texts(material: Material) -> Iterator[Row]:
    return ({"kind": "text", "text": row["text"]} for row in material.texts)


def _pairs(material: Material) -> Iterator[Row]:
    return ({name: row[name] for name in ("kind", "text", "codes")} for row in material.paired)


def finetuning(material: Material, writer: PromptWriter) -> list[Source]:
    """Return the sources of fine-tuning, the same for all arms."""
    answers = {row["text"]: row["codes"] for row in material.answers}

    def dialogue(asked: Row, answer: str) -> Row:
        reply = {"text": answer, "codes": answers[answer]}
        return {"kind": "dialogue", "turns": [asked, reply]}

    spoken = (dialogue({"codes": row["codes"]}, row["answer"]) for row in material.questions)
    asked = dict.fromkeys((row["text"], row["answer"]) for row in material.questions)
    written = (dialogue({"text": text}, answer) for text, answer in asked)
    return [
        _source("spoken questions", spoken, writer),
        _source("written questions", written, writer, WRITTEN_QUESTIONS),
    ]


def text_corpus(material: Material) -> Iterator[str]:
    """Yield what the text tokenizer is trained on: everything that any arm ever writes."""
    yield from PromptFormat().texts() * 100
    yield from (row["text"] for row in material.texts)
    yield from ("".join(span["text"] for span in row["spans"]) for row in material.documents)


def _source(
    name: str, rows: Iterable[Row], writer: PromptWriter, share: float | None = None
) -> Source:
    examples = (writer.example(row).compact() for row in rows)
    return Source(ListedDocuments(name, examples), Portion(share=share))
