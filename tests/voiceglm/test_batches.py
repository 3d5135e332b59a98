"""Batches by number: every item once a pass, and shares that make up the whole."""

from itertools import pairwise

import pytest
import torch

from voiceglm.batches import ItemBatches, Shared
from voiceglm.errors import ConfigError


class Numbers:
    """Items that say which they are and what was drawn for them."""

    def __init__(self, size: int):
        self.size = size

    def __len__(self) -> int:
        return self.size

    def draw(self, index: int, generator: torch.Generator) -> tuple[int, float]:
        return index, float(torch.rand((), generator=generator))


def collate(items: list[tuple[int, float]], shared: Shared) -> dict[str, object]:
    return {
        "items": items,
        "common": float(torch.rand((), generator=shared.generator)),
        "lengths": list(shared.lengths),
    }


def batches(size: int = 20, batch_size: int = 4, seed: int = 0) -> ItemBatches:
    lengths = [index * 7 % 13 for index in range(size)]
    return ItemBatches(Numbers(size), collate, batch_size=batch_size, lengths=lengths, seed=seed)


def test_every_item_comes_once_a_pass_in_another_order() -> None:
    made = batches(size=64)
    passes = [[made.indices(n) for n in range(start, start + 16)] for start in (0, 16)]
    for each in passes:
        assert sorted(index for batch in each for index in batch) == list(range(64))
    assert passes[0] != passes[1]


def test_what_does_not_fill_a_batch_differs_from_pass_to_pass() -> None:
    made = batches(size=7, batch_size=4)
    assert made.batches_per_epoch == 1
    assert len({tuple(sorted(made.indices(n))) for n in range(10)}) > 3


def test_few_items_fill_a_batch_by_coming_twice() -> None:
    found = batches(size=3, batch_size=8).indices(5)
    assert len(found) == 8
    assert set(found) == {0, 1, 2}


@pytest.mark.parametrize("world", [2, 4])
def test_the_shares_of_the_processes_are_the_batch(world: int) -> None:
    made = batches()
    for number in (0, 3, 11, 4_000_000):
        whole = made.batch(number, 0, 1)
        shares = [made.batch(number, rank, world) for rank in range(world)]
        assert [item for share in shares for item in share["items"]] == whole["items"]
        for share in shares:
            assert share["common"] == whole["common"]
            assert share["lengths"] == whole["lengths"]


def test_a_batch_depends_on_its_number_and_the_seed_alone() -> None:
    once, again, other = batches(), batches(), batches(seed=1)
    forward = [once.batch(n, 0, 1) for n in range(12)]
    backward = [again.batch(n, 0, 1) for n in reversed(range(12))]
    assert forward == backward[::-1]
    assert forward != [other.batch(n, 0, 1) for n in range(12)]
    draws = [draw for batch in forward for _, draw in batch["items"]]
    assert len(set(draws)) == len(draws), "an item is drawn anew in every pass"


def test_batches_hold_items_of_about_equal_length() -> None:
    made = ItemBatches(Numbers(64), collate, batch_size=4, lengths=list(range(64)))
    found = [made.indices(n) for n in range(16)]
    assert all(max(batch) - min(batch) == 3 for batch in found)
    assert any(a[0] > b[0] for a, b in pairwise(found)), "in any order"


def test_bad_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to train on"):
        batches(size=0)
    with pytest.raises(ConfigError, match="5 items have 2 lengths"):
        ItemBatches(Numbers(5), collate, batch_size=4, lengths=[1, 2])
    with pytest.raises(ConfigError, match="a batch of 4 items cannot be shared by 3 processes"):
        batches().batch(0, 0, 3)
