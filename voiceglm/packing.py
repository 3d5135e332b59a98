"""Documents to batches of about equal cost, with no attention mask and no leak between them.

Letters used in shapes: B rows, L ids in a row.

Two shapes of batch, both exact:

- *bucketed*: documents of about equal length, one a row, padded on the right. Attention is
  causal, so nothing real ever sees the padding and no mask is needed.
- *packed*: several documents a row, told apart by ``position_ids`` that restart at 0. transformers
  derives the block-diagonal mask from them, but only if no ``attention_mask`` is passed: an
  all-ones mask makes documents see each other.

On a CPU core bucketed batches are quicker by a fifth (the causal kernel skips half the work and
takes no mask); packed ones suit long documents on a GPU.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from voiceglm.errors import ConfigError
from voiceglm.prompt import IGNORED, Example

Batching = Literal["bucketed", "packed"]
Rows = list[list[int]]  # each row the numbers of the documents in it

_WINDOW = 32  # batches among which documents are sorted by length
_PADDING_ID = 0  # never learned and never seen by a real id, so any id will do


def bucketed_batch(examples: Sequence[Example]) -> dict[str, Tensor]:
    """Pad documents on the right: ``ids`` and ``labels``, both (B, L)."""
    length = max(map(len, examples))
    ids = torch.full((len(examples), length), _PADDING_ID)
    labels = torch.full((len(examples), length), IGNORED)
    for row, example in enumerate(examples):
        ids[row, : len(example)] = torch.tensor(example.ids)
        labels[row, : len(example)] = torch.tensor(example.labels)
    return {"ids": ids, "labels": labels}


def packed_batch(rows: Sequence[Sequence[Example]], length: int) -> dict[str, Tensor]:
    """Lay documents end to end: ``ids``, ``labels`` and ``position_ids``, all (B, L).

    The first id of a document is given, never learned, so no label crosses a border. The end of
    a row is one more document, of padding.
    """
    ids = torch.full((len(rows), length), _PADDING_ID)
    labels = torch.full((len(rows), length), IGNORED)
    positions = torch.zeros_like(ids)
    for row, documents in enumerate(rows):
        start = 0
        for example in documents:
            end = start + len(example)
            ids[row, start:end] = torch.tensor(example.ids)
            labels[row, start:end] = torch.tensor(example.labels)
            labels[row, start] = IGNORED
            positions[row, start:end] = torch.arange(len(example))
            start = end
        positions[row, start:] = torch.arange(length - start)
    return {"ids": ids, "labels": labels, "position_ids": positions}


def pack(lengths: Sequence[int], row_length: int) -> Rows:
    """Put documents into rows, longest first, each where it leaves the least room.

    Returns:
        Rows of document numbers, every document once.
    """
    rows: Rows = []
    open_rows: list[list[int]] = [[] for _ in range(row_length + 1)]  # row numbers by room left
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        room = next((r for r in range(lengths[number], row_length + 1) if open_rows[r]), None)
        if room is None:
            rows.append([])
            row, room = len(rows) - 1, row_length
        else:
            row = open_rows[room].pop()
        rows[row].append(number)
        open_rows[room - lengths[number]].append(row)
    return rows


@dataclass(frozen=True)
class BatchPlan:
    """How documents become batches.

    Attributes:
        ids_per_batch: Ids of one batch, padding included; its cost.
        row_length: The longest document; the length of every packed row.
        batching: ``"bucketed"`` or ``"packed"``.
        seed: Order of the documents; each epoch has another.
    """

    ids_per_batch: int = 8_192
    row_length: int = 1_024
    batching: Batching = "bucketed"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a batch that cannot hold one row."""
        if not 0 < self.row_length <= self.ids_per_batch:
            raise ConfigError(
                f"ids_per_batch ({self.ids_per_batch}) must hold at least one row "
                f"(row_length {self.row_length}), which must be positive"
            )

    def batches(self, lengths: Sequence[int]) -> Iterator[Rows]:
        """Yield batches for ever, epoch after epoch, each document once an epoch.

        Raises:
            ConfigError: If there is no document, or one is longer than a row.
        """
        if not lengths:
            raise ConfigError("there is nothing to train on: no documents")
        if max(lengths) > self.row_length:
            raise ConfigError(
                f"document {lengths.index(max(lengths))} has {max(lengths)} ids, more than "
                f"row_length {self.row_length}; cut it or raise row_length"
            )
        generator = random.Random(self.seed)
        while True:
            order = list(range(len(lengths)))
            generator.shuffle(order)
            yield from self._epoch(order, lengths, generator)

    def _epoch(
        self, order: list[int], lengths: Sequence[int], generator: random.Random
    ) -> Iterator[Rows]:
        for window in _windows(order, lengths, _WINDOW * self.ids_per_batch):
            if self.batching == "packed":
                rows = pack([lengths[n] for n in window], self.row_length)
                found = self._group([[window[n] for n in row] for row in rows])
            else:
                found = self._buckets(sorted(window, key=lengths.__getitem__), lengths)
            generator.shuffle(found)
            yield from found

    def _group(self, rows: Rows) -> list[Rows]:
        step = self.ids_per_batch // self.row_length
        return [rows[n : n + step] for n in range(0, len(rows), step)]

    def _buckets(self, window: list[int], lengths: Sequence[int]) -> list[Rows]:
        batches: list[Rows] = [[]]
        for number in window:  # shortest first, so each is the longest of its batch so far
            if (len(batches[-1]) + 1) * lengths[number] > self.ids_per_batch:
                batches.append([])
            batches[-1].append([number])
        return batches


def _windows(order: list[int], lengths: Sequence[int], num_ids: int) -> Iterator[list[int]]:
    window: list[int] = []
    total = 0
    for number in order:
        window.append(number)
        total += lengths[number]
        if total >= num_ids:
            yield window
            window, total = [], 0
    if window:
        yield window


class PlannedBatches:
    """Batches that are planned beforehand and laid out when they are asked for.

    Args:
        examples: The documents.
        plan: How they become batches.
        num_batches: How many to plan: those of the whole run.
    """

    def __init__(self, examples: Sequence[Example], plan: BatchPlan, num_batches: int):
        self._examples = examples
        self._plan = plan
        planned = plan.batches([len(example) for example in examples])
        self._batches = [next(planned) for _ in range(num_batches)]

    def batch(self, number: int, rank: int, world: int) -> dict[str, Tensor]:
        """Return the rows of a process in a batch; see :class:`voiceglm.batches.Batches`.

        A process for which there is no row gets one of which nothing is learned.
        """
        mine = self._batches[number][rank::world]
        rows = [[self._examples[n] for n in row] for row in mine] or [[_NOTHING]]
        if self._plan.batching == "packed":
            return packed_batch(rows, self._plan.row_length)
        return bucketed_batch([row[0] for row in rows])


_NOTHING = Example([_PADDING_ID], [IGNORED])
