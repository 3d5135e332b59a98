"""How sure a figure is: bootstrap intervals over the items it was computed from.

Letters used in shapes: I items, R resamplings, S seeds.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLINGS = 1_000
_PERCENTILES = (2.5, 97.5)
_Z_SQUARED = 3.8415  # 95 % of a squared standard normal lie below
_SEED = 0  # of the resampling alone: the same rows always give the same interval


def interval(parts: Sequence[float], wholes: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of a ratio of sums, by the percentile bootstrap (Efron 1979).

    Items are drawn, not words: errors within one recording hang together. Where every item failed,
    or none did, no resampling differs from another; then it is Wilson's (1927).

    Args:
        parts: Of each item, such as its wrong words.
        wholes: Of each item, such as its words; ones for a mean.

    Returns:
        Both ends in the unit of ``sum(parts) / sum(wholes)``; ``None`` for fewer than two items,
        which tell nothing about their spread.
    """
    count = len(parts)
    if count < 2:
        return None
    generator = np.random.default_rng(_SEED)
    ratio = sum(parts) / max(1e-12, sum(wholes))
    if ratio in (0.0, 1.0) and set(wholes) == {1.0} and set(parts) <= {0.0, 1.0}:
        margin = _Z_SQUARED / (count + _Z_SQUARED)
        return (0.0, margin) if ratio == 0 else (1.0 - margin, 1.0)
    # How often each item is drawn, (R, I), instead of the drawn items: the same, in less memory.
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLINGS)
    sums = drawn @ np.asarray(parts, dtype=np.float64)
    totals = drawn @ np.asarray(wholes, dtype=np.float64)
    ratios = sums / np.maximum(totals, 1e-12)
    low, high = np.percentile(ratios, _PERCENTILES)
    return float(low), float(high)


def crossed_interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of items that several trained models were asked.

    Seeds and items are drawn independently of each other (the crossed bootstrap of Owen 2007, "The
    pigeonhole bootstrap"): models differ as well as questions. With few seeds it is a rough guide.

    Args:
        values: (S, I), one row for each seed, the same items in all of them.

    Returns:
        Both ends in the unit of the values; ``None`` for fewer than two seeds or items.
    """
    seeds, items = values.shape
    if min(seeds, items) < 2:
        return None
    generator = np.random.default_rng(_SEED)
    of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLINGS)  # (R, S)
    of_items = generator.multinomial(items, np.full(items, 1 / items), size=RESAMPLINGS)  # (R, I)
    means = ((of_seeds @ values) * of_items).sum(1) / (seeds * items)
    low, high = np.percentile(means, _PERCENTILES)
    return float(low), float(high)
