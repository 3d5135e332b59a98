"""Batch after batch, each a function of its number alone.

What batch number n holds follows from the seed and n: not from the batches before it, not from how
many processes share it, not from how many others are fetched ahead. So a run goes on past millions
of batches without reading any of them, and finds the same ones with another number of processes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

from voiceglm.errors import ConfigError

Item_co = TypeVar("Item_co", covariant=True)
Batch = Mapping[str, Any]

_WINDOW = 50  # batches among which items are sorted by length


class Batches(Protocol):
    """Where a training gets its batches from."""

    def batch(self, number: int, rank: int, world: int) -> Batch:
        """Return the share of process ``rank`` of ``world`` in batch ``number``, from 0 on."""
        ...


class Items(Protocol[Item_co]):
    """Things to train on, disturbed anew whenever they are drawn."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def draw(self, index: int, generator: torch.Generator) -> Item_co:
        """Return one of them; everything random about it comes from ``generator``."""
        ...


@dataclass(frozen=True)
class Shared:
    """What the processes that share a batch agree on without a word."""

    generator: torch.Generator  # the same draws in each of them
    lengths: Sequence[int]  # of all items of the batch, in every process


class ItemBatches:
    """Items in a random order, another in each pass; those of about equal length together.

    Args:
        items: What is drawn from.
        collate: Joins the items of one process to its share of a batch.
        batch_size: Items of a batch, over all processes. Of fewer items some come twice.
        lengths: Of each item, in any unit; ``None`` for items that are all alike.
        seed: Of the order and of every draw.

    Raises:
        ConfigError: If there is nothing to draw from, or the lengths are of something else.
    """

    def __init__(
        self,
        items: Items[Any],
        collate: Callable[[list[Any], Shared], Batch],
        *,
        batch_size: int,
        lengths: Sequence[int] | None = None,
        seed: int = 0,
    ):
        if not len(items):
            raise ConfigError("there is nothing to train on")
        if lengths is not None and len(lengths) != len(items):
            raise ConfigError(f"{len(items)} items have {len(lengths)} lengths")
        self._items = items
        self._collate = collate
        self._batch_size = batch_size
        self._lengths = lengths
        self._seed = seed
        self._order: tuple[int, list[list[int]]] = (-1, [])  # of the pass that was asked for last

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches of one pass; which items are left over differs from pass to pass."""
        return max(1, len(self._items) // self._batch_size)

    def indices(self, number: int) -> list[int]:
        """Return which items batch ``number`` holds."""
        epoch, place = divmod(number, self.batches_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self._draw_order(epoch))
        return self._order[1][place]

    def batch(self, number: int, rank: int, world: int) -> Batch:
        """Return the share of a process in a batch; see :class:`Batches`.

        Raises:
            ConfigError: If the items of a batch cannot be shared out equally.
        """
        if self._batch_size % world:
            raise ConfigError(
                f"a batch of {self._batch_size} items cannot be shared by {world} processes; "
                f"make train.batch_size a multiple of {world}"
            )
        whole = self.indices(number)
        share = self._batch_size // world
        epoch = number // self.batches_per_epoch
        mine = whole[rank * share : (rank + 1) * share]
        items = [self._items.draw(index, self._generator(epoch, index)) for index in mine]
        lengths = [self._lengths[index] for index in whole] if self._lengths else []
        return self._collate(items, Shared(self._generator(number), lengths))

    def _draw_order(self, epoch: int) -> list[list[int]]:
        """Return the batches of a pass: sorted by length within windows, then shuffled."""
        size, generator = self._batch_size, self._generator(epoch, 0, 0)
        order: list[int] = torch.randperm(len(self._items), generator=generator).tolist()
        order *= -(-size // len(order))  # of too few for one batch some come twice
        order = order[: len(order) // size * size]
        if self._lengths:
            window = _WINDOW * size
            windows = [order[start : start + window] for start in range(0, len(order), window)]
            order = [n for part in windows for n in sorted(part, key=self._lengths.__getitem__)]
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        places = torch.randperm(len(batches), generator=generator).tolist()
        return [batches[place] for place in places]

    def _generator(self, *place: int) -> torch.Generator:
        """Return a generator of its own for every place."""
        state = self._seed
        for part in (len(place), *place):
            state = (state * 1_000_003 + part) % 2**63
        return torch.Generator().manual_seed(state)
