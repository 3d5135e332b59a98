"""Several lists of recordings in a fixed ratio, exact in every pass.

A pass has as many places as there are recordings. A list gets its share of them, whatever its size,
and the places of a list are spread over it: each stands for recordings of about equal length, one
of which is drawn whenever its turn comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from voiceglm.errors import ConfigError


@dataclass(frozen=True)
class Place:
    """One place of a pass: recordings of one list, any of which may stand there."""

    source: int  # the number of the list
    items: tuple[int, ...]  # numbers of recordings in that list

    def draw(self, generator: torch.Generator) -> int:
        """Draw one of the recordings; nothing is drawn where there is but one."""
        if len(self.items) == 1:
            return self.items[0]
        return self.items[int(torch.randint(len(self.items), (), generator=generator))]


def places_of(
    lengths: Sequence[Sequence[int]], weights: Sequence[float] | None = None
) -> list[Place]:
    """Lay out one pass over several lists.

    Args:
        lengths: Of the recordings of each list; only their order matters.
        weights: Share of each list, in any unit; ``None``: every recording once.

    Raises:
        ConfigError: If a weight is not positive, or a list with one is empty.
    """
    sizes = [len(each) for each in lengths]
    counts = sizes if weights is None else _shares(sizes, weights)
    return [
        Place(source, items)
        for source, (each, count) in enumerate(zip(lengths, counts, strict=True))
        for items in _spread(each, count)
    ]


def _shares(sizes: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Divide a pass among lists; what rounding leaves goes to the largest remainders."""
    for number, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        if weight <= 0:
            raise ConfigError(f"manifests[{number}].weight must be positive, got {weight}")
        if size == 0:
            raise ConfigError(f"manifests[{number}] has a weight, but nothing to train on")
    total = sum(sizes)
    wanted = [total * weight / sum(weights) for weight in weights]
    counts = [int(share) for share in wanted]
    by_remainder = sorted(range(len(sizes)), key=lambda n: counts[n] - wanted[n])
    for number in by_remainder[: total - sum(counts)]:
        counts[number] += 1
    return counts


def _spread(lengths: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Spread ``count`` places over a list: one recording or more each, all of the list in use."""
    size = len(lengths)
    if count == size:
        return [(item,) for item in range(size)]
    by_length = sorted(range(size), key=lengths.__getitem__)
    starts = [place * size // count for place in range(count)]
    ends = [*starts[1:], size]
    return [
        tuple(by_length[start : max(start + 1, end)])
        for start, end in zip(starts, ends, strict=True)
    ]
