"""Documents of several sources to batches, with no attention mask and no leak between documents.

Letters used in shapes: B rows, L ids in a row, N places.

Two shapes of batch, both exact:

- *bucketed*: documents of about equal length, one a row, padded on the right. Attention is
  causal, so nothing real ever sees the padding and no mask is needed.
- *packed*: rows of one fixed length, each of several documents of one source, told apart by
  ``position_ids`` that restart at 0. transformers derives the block-diagonal mask from them, but
  only if no ``attention_mask`` is passed: an all-ones mask makes documents see each other.

On a CPU core bucketed batches are quicker by a fifth (the causal kernel skips half the work and
takes no mask) and suit sets that fit in memory. Packed ones suit long runs: what batch n holds is
a formula of n and the seed (``voiceglm.mixing``), so a run goes on anywhere at once. Where a
bucketed batch begins depends on those before it, whose lengths are gone through again: about a
second for a million documents.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voiceglm.documents import Documents, Lengths, fitting
from voiceglm.errors import ConfigError
from voiceglm.mixing import Interleaving, Places, keys_of, shuffled
from voiceglm.prompt import IGNORED, Example

Batching = Literal["bucketed", "packed"]
Batch = dict[str, Tensor]

_WINDOW = 32  # batches among which documents are sorted by length
_PADDING_ID = 0  # never learned and never seen by a real id, so any id will do
_AT_ONCE = 1 << 20  # documents whose rows are looked for together


def bucketed_batch(examples: Sequence[Example]) -> Batch:
    """Pad documents on the right: ``ids`` and ``labels``, both (B, L); no document is one row."""
    length = max(map(len, examples), default=2)
    ids = torch.full((max(1, len(examples)), length), _PADDING_ID)
    labels = torch.full_like(ids, IGNORED)
    for row, example in enumerate(examples):
        ids[row, : len(example)] = _tensor(example.ids)
        labels[row, : len(example)] = _tensor(example.labels)
    return {"ids": ids, "labels": labels}


def packed_batch(rows: Sequence[Sequence[Example]], length: int) -> Batch:
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
            ids[row, start:end] = _tensor(example.ids)
            labels[row, start:end] = _tensor(example.labels)
            labels[row, start] = IGNORED
            positions[row, start:end] = torch.arange(len(example))
            start = end
        positions[row, start:] = torch.arange(length - start)
    return {"ids": ids, "labels": labels, "position_ids": positions}


def _tensor(ids: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.asarray(ids, np.int64))


def row_starts(lengths: Lengths, row_length: int) -> NDArray[np.int64]:
    """Cut documents into rows: in order, as many in each as it has room for.

    Args:
        lengths: Of the documents, none over ``row_length``.
        row_length: Ids of a row.

    Returns:
        The first document of each row, and behind them the number of documents.
    """
    starts, first = [0], 0
    for begin in range(0, len(lengths), _AT_ONCE):
        behind = min(begin + _AT_ONCE, len(lengths))
        ends = np.cumsum(lengths[begin : behind + row_length], dtype=np.int64)
        starting = ends[: behind - begin] - lengths[begin:behind]
        following = np.searchsorted(ends, starting + row_length, side="right") + begin
        while first < behind:
            first = int(following[first - begin])
            starts.append(first)
    return np.array(starts, np.int64)


@dataclass(frozen=True)
class BatchPlan:
    """How documents become batches.

    Attributes:
        ids_per_batch: Ids of one batch, padding included; its cost.
        row_length: The longest document; the length of every packed row.
        batching: ``"bucketed"`` or ``"packed"``.
        too_long: Whether a document of more than ``row_length`` ids stops the run or is left out.
        seed: Order of the documents; each epoch has another.
    """

    ids_per_batch: int = 8_192
    row_length: int = 1_024
    batching: Batching = "bucketed"
    too_long: Literal["refuse", "leave_out"] = "refuse"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a batch that cannot hold one row."""
        if not 0 < self.row_length <= self.ids_per_batch:
            raise ConfigError(
                f"ids_per_batch ({self.ids_per_batch}) must hold at least one row "
                f"(row_length {self.row_length}), which must be positive"
            )

    def fitting(self, documents: Documents) -> Documents:
        """Return the documents that have room in a row.

        Raises:
            ConfigError: If there are none, or one is too long and ``too_long`` refuses it.
        """
        remedy = "cut it, raise row_length, or leave such out with plan.too_long: leave_out"
        leave_out = self.too_long == "leave_out"
        return fitting(documents, self.row_length, leave_out=leave_out, remedy=remedy)


class DocumentBatches:
    """Batch after batch of several sources, each a function of its number.

    See :class:`voiceglm.batches.Batches`. The rows of a whole batch do not depend on how many
    processes share it; each takes every ``world``-th of them.

    Args:
        sources: Documents that fit the plan (:meth:`BatchPlan.fitting`).
        shares: Of the ids of the run that come from each source, in their order.
        plan: How they become batches.
    """

    def __init__(self, sources: Sequence[Documents], shares: Sequence[float], plan: BatchPlan):
        for source in sources:
            assert 0 < source.lengths.max(initial=0) <= plan.row_length, "fit them first"
        self._sources = sources
        self._plan = plan
        self._rows = [self._cut(source) for source in self._sources]
        ids = np.array([int(each.lengths.sum(dtype=np.int64)) for each in self._sources])
        units = np.array([len(rows) - 1 for rows in self._rows])
        per_unit = ids / units
        frequencies = np.array(shares, np.float64) / per_unit
        self._interleaving = Interleaving(frequencies.tolist())
        mean = float(frequencies @ per_unit / frequencies.sum())  # ids of a unit
        self._window = max(1, min(round(_WINDOW * plan.ids_per_batch / mean), int(units.sum())))
        self._begins = [0]  # first batch of each window, and of the one behind them
        self._planned: tuple[int, list[list[int]]] = (-1, [])

    def batch(self, number: int, rank: int = 0, world: int = 1) -> Batch:
        """Return the share of a process in a batch: ``ids``, ``labels``, perhaps ``position_ids``.

        A process for which no row is left gets one of padding, of which nothing is learned.
        """
        rows = self.rows(number)[rank::world]
        found = [[self._sources[source][n] for n in documents] for source, documents in rows]
        if self._plan.batching == "packed":
            return packed_batch(found or [[]], self._plan.row_length)
        return bucketed_batch([row[0] for row in found])

    def rows(self, number: int) -> list[tuple[int, range]]:
        """Return the rows of a whole batch: the number of the source, and its documents."""
        if self._plan.batching == "packed":
            size = self._plan.ids_per_batch // self._plan.row_length
            return self._drawn(np.arange(number * size, (number + 1) * size))
        while self._begins[-1] <= number:
            self._begins.append(self._begins[-1] + len(self._buckets(len(self._begins) - 1)))
        window = bisect_right(self._begins, number) - 1
        wanted = self._buckets(window)[number - self._begins[window]]
        return self._drawn(np.array(wanted, np.int64))

    def _cut(self, source: Documents) -> NDArray[np.int64]:
        """Return the first document of each unit of a source, a row or a single document."""
        if self._plan.batching == "packed":
            return row_starts(source.lengths, self._plan.row_length)
        return np.arange(len(source.lengths) + 1)

    def _drawn(self, numbers: Places) -> list[tuple[int, range]]:
        """Return what stands at some places of the endless order of units."""
        found, units = self._order(numbers)
        return [
            (source, range(int(self._rows[source][unit]), int(self._rows[source][unit + 1])))
            for source, unit in zip(found.tolist(), units.tolist(), strict=True)
        ]

    def _order(self, numbers: Places) -> tuple[Places, Places]:
        """Return the source and the unit at some places: (N,) -> (N,), (N,)."""
        found, counts = self._interleaving.places(numbers)
        units = np.zeros_like(counts)
        for source in np.unique(found).tolist():
            here = np.flatnonzero(found == source)
            size = len(self._rows[source]) - 1
            epochs, places = np.divmod(counts[here], size)
            keys = keys_of(self._plan.seed, found[here], epochs)
            units[here] = shuffled(places, size, keys)
        return found, units

    def _buckets(self, window: int) -> list[list[int]]:
        """Return the batches of a window of documents, by their places in the order."""
        if self._planned[0] != window:
            self._planned = (window, self._bucketed(window))
        return self._planned[1]

    def _bucketed(self, window: int) -> list[list[int]]:
        places = np.arange(window * self._window, (window + 1) * self._window)
        found, units = self._order(places)
        lengths = np.zeros(len(places), np.int64)
        for source in np.unique(found).tolist():
            here = found == source
            lengths[here] = self._sources[source].lengths[units[here]]
        shortest_first = np.argsort(lengths, kind="stable")
        batches: list[list[int]] = [[]]
        pairs = np.stack([places, lengths])[:, shortest_first].T.tolist()
        for place, length in pairs:  # each is the longest of its batch so far
            if (len(batches[-1]) + 1) * length > self._plan.ids_per_batch:
                batches.append([])
            batches[-1].append(place)
        key = keys_of(self._plan.seed, np.array([-1]), np.array([window]))
        order = shuffled(np.arange(len(batches)), len(batches), np.repeat(key, len(batches)))
        return [batches[n] for n in order.tolist()]
