"""Shares are exact over any stretch, and every order is a permutation that nobody stores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceglm.errors import ConfigError
from voiceglm.mixing import Interleaving, Portion, keys_of, shares_of, shuffled

shares = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(shares, st.integers(0, 10**9))
def test_every_stretch_holds_its_shares(asked: list[float], start: int) -> None:
    numbers = np.arange(start, start + 3_000)
    found, counts = Interleaving(asked).places(numbers)
    depth = max(1, (len(asked) - 1).bit_length())
    for source, share in enumerate(asked):
        seen = np.cumsum(found == source)
        exact = np.arange(1, 3_001) * share / sum(asked)
        drift = 3_000 * 2.0**-20  # shares are kept to one part in four million
        assert np.abs(seen - exact).max() <= depth + 1 + drift
        own = counts[found == source]
        assert np.array_equal(own, np.arange(len(own)) + (own[0] if len(own) else 0))


def test_a_share_of_nothing_never_comes_and_a_tiny_one_does() -> None:
    found, _ = Interleaving([0.5, 0.0, 0.5, 1e-9]).places(np.arange(1 << 22))
    assert [int((found == n).sum()) for n in (1, 3)] == [0, 1]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1_000, 4_097])
def test_an_order_is_a_permutation(size: int) -> None:
    numbers = np.arange(size)
    orders = [shuffled(numbers, size, np.full(size, key, np.uint64)) for key in range(4)]
    for order in orders:
        assert np.array_equal(np.sort(order), numbers)
    if size >= 64:
        assert len({order.tobytes() for order in orders}) == 4
        moved = np.corrcoef(numbers, orders[0])[0, 1]
        assert abs(moved) < 4 / np.sqrt(size), "the order has nothing of the old one"


def test_keys_differ_by_seed_source_and_epoch() -> None:
    grid = np.meshgrid(np.arange(5), np.arange(5))
    source, epoch = (axis.ravel() for axis in grid)
    keys = [keys_of(seed, source, epoch) for seed in (0, 1, -1)]
    assert len({int(key) for part in keys for key in part}) == 75


def test_shares_epochs_and_weights_together() -> None:
    """The published mix: text at 30 %, one epoch of what is scarce, the rest interleaved."""
    portions = [Portion(share=0.3), Portion(epochs=2.0), Portion(), Portion(weight=2.0)]
    found = shares_of(portions, [999, 50, 300, 100], 1_000)
    assert found == pytest.approx([0.3, 0.1, 0.6 * 300 / 500, 0.6 * 200 / 500])
    assert sum(found) == pytest.approx(1)


@pytest.mark.parametrize(
    ("portions", "message"),
    [
        ([Portion(share=0.8), Portion(share=0.4)], "take 120.0%.*more than there is"),
        ([Portion(epochs=30.0), Portion()], "take 150.0%.*more than there is"),
        ([Portion(share=0.5), Portion(share=0.2)], "70.0%.*no source takes the rest"),
        ([Portion(share=1.0), Portion()], "nothing is left for the others"),
    ],
)
def test_mixes_that_do_not_add_up(portions: list[Portion], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        shares_of(portions, [50, 50], 1_000)


def test_portions_that_are_none() -> None:
    for values in ({"share": 0.5, "epochs": 1.0}, {"share": 1.2}, {"epochs": 0.0}, {"weight": 0.0}):
        with pytest.raises(ConfigError, match="source"):
            Portion(**values)
    with pytest.raises(ConfigError, match="not all 0"):
        Interleaving([0.0, 0.0])
