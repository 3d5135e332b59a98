"""Which of several sources comes when, and in which order each is gone through: formulas, no lists.

What stands at place n follows from n, the shares and the seed. So nothing is drawn, nothing is
planned ahead, a run goes on at any place at once, and what has been seen of each source up to any
place is within a few units of its share.

Letters used in shapes: N places.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voiceglm.errors import ConfigError

Places = NDArray[np.int64]

_WHOLE = 1 << 22  # shares are kept to one part in so many; leaves room for 2 ** 40 places
_ROUNDS = 4
_TOLERANCE = 1e-6  # of shares that are to add up to 1


@dataclass(frozen=True, kw_only=True)
class Portion:
    """How much of a run comes from one source.

    Attributes:
        share: Of the ids of the run, 0 to 1.
        epochs: How often the source is gone through in the run.
        weight: Where neither is given, how often relative to others of that kind; they take what
            the rest of the mix leaves. With 1 everywhere that is every document equally often.
    """

    share: float | None = None
    epochs: float | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no portion."""
        if self.share is not None and self.epochs is not None:
            raise ConfigError("a source of a mix has a share or epochs, not both")
        if self.share is not None and not 0 < self.share <= 1:
            raise ConfigError(f"share of a source must be above 0 and at most 1, got {self.share}")
        if self.epochs is not None and self.epochs <= 0:
            raise ConfigError(f"epochs of a source must be positive, got {self.epochs}")
        if self.weight <= 0:
            raise ConfigError(f"weight of a source must be positive, got {self.weight}")


def shares_of(portions: Sequence[Portion], sizes: Sequence[int], num_ids: int) -> list[float]:
    """Return the share of a run's ids that comes from each source; they add up to 1.

    Args:
        portions: What is asked of each.
        sizes: Ids of each.
        num_ids: Of the whole run, padding included, so that epochs are a little fewer than asked.

    Raises:
        ConfigError: If what is asked for is more than there is, or leaves something to nobody.
    """
    fixed = [
        part.share if part.epochs is None else part.epochs * size / num_ids
        for part, size in zip(portions, sizes, strict=True)
    ]
    taken = sum(share for share in fixed if share is not None)
    weights = [
        part.weight * size if share is None else 0.0
        for part, size, share in zip(portions, sizes, fixed, strict=True)
    ]
    rest = 1 - taken
    if rest < (-_TOLERANCE if not any(weights) else _TOLERANCE):
        raise ConfigError(
            f"the shares and epochs of the mix take {taken:.1%} of the {num_ids:,} ids of the run, "
            f"{'more than there is' if rest < -_TOLERANCE else 'nothing is left for the others'}; "
            "lower one, or raise train.steps"
        )
    if not any(weights) and rest > _TOLERANCE:
        raise ConfigError(
            f"the shares and epochs of the mix take {taken:.1%} of the {num_ids:,} ids of the run "
            "and no source takes the rest; leave one without share and epochs"
        )
    return [
        rest * weight / sum(weights) if share is None else share
        for share, weight in zip(fixed, weights, strict=True)
    ]


class Interleaving:
    """Several sources in fixed shares, each as evenly spread as can be.

    The sources are the leaves of a binary tree. At each fork the n-th comer turns left where
    ``n * share``, rounded, goes up, so that no prefix has turned left half a comer too often, and
    the number of those before it is known without looking at them.

    Args:
        shares: Of each source, at least 0; divided by their sum.

    Raises:
        ConfigError: If there is none, or none is above 0.
    """

    def __init__(self, shares: Sequence[float]):
        if not shares or min(shares) < 0 or not sum(shares) > 0:
            raise ConfigError(f"shares of a mix must be at least 0 and not all 0, got {shares}")
        exact = np.array(shares, np.float64) / sum(shares) * _WHOLE
        weights = np.maximum(np.floor(exact).astype(np.int64), np.array(shares) > 0)
        weights[int(weights.argmax())] += _WHOLE - int(weights.sum())
        self._ends = np.concatenate([[0], np.cumsum(weights)])

    def places(self, numbers: Places) -> tuple[Places, Places]:
        """Return whose turn it is, and how often it has been before: (N,) -> (N,), (N,)."""
        source, count = np.zeros_like(numbers), np.zeros_like(numbers)
        forks = [(0, len(self._ends) - 1, np.arange(len(numbers)), numbers)]
        while forks:
            first, last, which, counted = forks.pop()
            if last - first == 1:
                source[which], count[which] = first, counted
                continue
            middle = (first + last) // 2
            start, fork, end = (int(self._ends[n]) for n in (first, middle, last))
            left, whole = fork - start, max(end - start, 1)
            before = (counted * left + whole // 2) // whole
            turns = ((counted + 1) * left + whole // 2) // whole > before
            forks.append((first, middle, which[turns], before[turns]))
            forks.append((middle, last, which[~turns], (counted - before)[~turns]))
        return source, count


def shuffled(numbers: Places, size: int, keys: NDArray[np.uint64]) -> Places:
    """Return where a permutation of ``range(size)`` puts each number, without a list of it.

    A Feistel network permutes the next power of four; what lands outside goes through it again.

    Args:
        numbers: (N,), of ``range(size)``.
        size: Of the range.
        keys: (N,), one for each permutation; the same key is the same permutation.
    """
    half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
    found = _permuted(numbers.astype(np.uint64), half, keys)
    outside = np.flatnonzero(found >= size)
    while len(outside):
        found[outside] = _permuted(found[outside], half, keys[outside])
        outside = outside[found[outside] >= size]
    return found.astype(np.int64)


def keys_of(seed: int, source: Places, epoch: Places) -> NDArray[np.uint64]:
    """Return the key of each source's order in an epoch: (N,), (N,) -> (N,)."""
    start = _mixed(np.full(len(source), seed % (1 << 64), np.uint64))
    return _mixed(_mixed(start ^ source.astype(np.uint64)) ^ epoch.astype(np.uint64))


def _permuted(
    numbers: NDArray[np.uint64], half: np.uint64, keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = numbers >> half, numbers & mask
    for number in range(_ROUNDS):
        left, right = right, left ^ (_mixed(right ^ _mixed(keys + np.uint64(number))) & mask)
    return (left << half) | right


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers of which every bit depends on every bit (splitmix64, Steele et al. 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
