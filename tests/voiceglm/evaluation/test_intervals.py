"""Intervals: wide for few items, the textbook's for shares, and the same every time."""

import math

import numpy as np
import pytest

from voiceglm.evaluation.intervals import crossed_interval, interval


def width(parts: list[float], wholes: list[float]) -> float:
    ends = interval(parts, wholes)
    assert ends
    return ends[1] - ends[0]


def test_a_share_has_the_interval_of_the_normal_approximation() -> None:
    parts = [1.0, 0.0] * 200
    ends = interval(parts, [1.0] * 400)
    assert ends == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.006)


def test_the_same_items_give_the_same_interval() -> None:
    parts, wholes = [0.0, 1.0, 3.0, 0.0, 2.0], [4.0, 5.0, 6.0, 7.0, 8.0]
    assert interval(parts, wholes) == interval(parts, wholes)


def test_more_items_are_surer() -> None:
    assert width([1.0, 0.0] * 100, [1.0] * 200) < 0.5 * width([1.0, 0.0] * 10, [1.0] * 20)


def test_long_items_weigh_more() -> None:
    ends = interval([0.0] * 50 + [50.0], [1.0] * 50 + [50.0])  # one long item is all wrong
    assert ends
    assert ends[0] == 0.0, "a resampling without the long item has no errors"
    assert ends[1] > 0.7


@pytest.mark.parametrize(("count", "least"), [(10, 0.72), (300, 0.987)])
def test_items_without_a_miss_do_not_prove_that_there_is_none(count: int, least: float) -> None:
    ends = interval([1.0] * count, [1.0] * count)
    assert ends
    assert ends == (pytest.approx(least, abs=0.003), 1.0)
    none_right = interval([0.0] * count, [1.0] * count)
    assert none_right == (0.0, pytest.approx(1 - ends[0]))


@pytest.mark.parametrize("count", [0, 1])
def test_one_item_tells_nothing_about_the_spread(count: int) -> None:
    assert interval([1.0] * count, [2.0] * count) is None


def test_empty_items_divide_nothing_by_zero() -> None:
    ends = interval([0.0, 0.0], [0.0, 0.0])
    assert ends
    assert all(map(math.isfinite, ends))


def test_seeds_that_disagree_make_a_figure_less_sure_than_items_alone_do() -> None:
    generator = np.random.default_rng(1)
    alike = (generator.random((3, 300)) < 0.5).astype(np.float64)
    apart = (generator.random((3, 300)) < np.array([[0.2], [0.5], [0.8]])).astype(np.float64)
    near, far = crossed_interval(alike), crossed_interval(apart)
    assert near
    assert far
    assert far[1] - far[0] > 3 * (near[1] - near[0])
    assert far[0] < apart.mean() < far[1]


def test_items_on_which_all_seeds_agree_are_no_more_than_their_number() -> None:
    right = np.array([1.0, 0.0] * 100)
    once = width(right.tolist(), [1.0] * 200)
    thrice = crossed_interval(np.stack([right] * 3))
    assert thrice
    assert thrice[1] - thrice[0] == pytest.approx(once, rel=0.15)


@pytest.mark.parametrize("shape", [(1, 5), (3, 1)])
def test_one_seed_or_one_item_tells_nothing_about_its_spread(shape: tuple[int, int]) -> None:
    assert crossed_interval(np.zeros(shape)) is None
