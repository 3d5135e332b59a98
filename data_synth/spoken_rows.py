"""Spoken dialogues to training rows, in the views in which they are to be learned."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

from data_synth.dialogues import Row, is_hasty, write_rows
from voiceglm.language_model import read_language_model
from voiceglm.manifest import Utterance
from voiceglm.prompt import PromptWriter

Views = Literal["both", "text", "speech", "two"]
HASTY = "a reply's speech ends before its text"


class RowWriter:
    """Writes rows that a language model can learn from.

    Args:
        model: Name or folder of the language model: its text tokenizer counts ids.

    Raises:
        CheckpointError: If the model is unknown, incomplete or damaged.
    """

    def __init__(self, model: str | Path):
        config, text_tokenizer, vocabulary, prompt_format = read_language_model(model)

        def encode(text: str) -> list[int]:
            return text_tokenizer.encode(text, add_special_tokens=False).ids

        self._encode = encode
        self._writer = PromptWriter(vocabulary, encode, prompt_format)
        self._context_length = config.context_length

    def write(self, path: Path, utterances: Iterable[Utterance], views: Views) -> dict[str, str]:
        """Write the rows of all dialogues that can be learned; return why others cannot, by id.

        Args:
            path: The file to write.
            utterances: With codes; the turns of a dialogue stand together, in order.
            views: Which rows are made of a dialogue.

        Raises:
            OutputError: If the file cannot be written.
        """
        rows: list[Row] = []
        left_out: dict[str, str] = {}
        for name, turns in groupby(utterances, key=lambda one: one.dialogue):
            row = dialogue_row(list(turns))
            if reason := self._fault(row):
                left_out[name] = reason
            else:
                rows += in_views(row, views)
        write_rows(path, rows, self._count)
        return left_out

    def _fault(self, row: Row) -> str | None:
        if is_hasty(row, self._count):
            return HASTY
        if len(self._writer.example(row)) > self._context_length:
            return f"over {self._context_length:,} ids, the most that the model reads"
        return None

    def _count(self, text: str) -> int:
        return len(self._encode(text))


def dialogue_row(turns: Sequence[Utterance]) -> Row:
    """Return one dialogue as a training row; its texts are as they were written."""
    spoken = [
        {"text": turn.extra["written"], "codes": turn.extra["codes"]}
        for turn in turns
        if turn.role != "system"
    ]
    row: dict[str, object] = {"kind": "dialogue", "dialogue": turns[0].dialogue, "turns": spoken}
    if turns[0].role == "system":
        row["instructions"] = turns[0].text
    return row


def in_views(row: Row, views: Views) -> Iterator[Row]:
    """Yield a row for each view: ``two`` are one for its text and one for its speech."""
    for learn in ("text", "speech") if views == "two" else (views,):
        yield {**row, "learn": learn}
