"""Every document is in one place, and documents do not see one another."""

import random
from itertools import islice

import pytest
import torch
from torch import Tensor

from voiceglm.errors import ConfigError
from voiceglm.language_model import LanguageModelConfig
from voiceglm.packing import (
    Batching,
    BatchPlan,
    PlannedBatches,
    Rows,
    bucketed_batch,
    pack,
    packed_batch,
)
from voiceglm.prompt import IGNORED, Example

VOCABULARY_SIZE = 64


def documents(seed: int, number: int = 12, longest: int = 30) -> list[Example]:
    rng = random.Random(seed)
    found = []
    for _ in range(number):
        ids = [rng.randrange(1, VOCABULARY_SIZE) for _ in range(rng.randint(2, longest))]
        labels = [IGNORED, *(i if rng.random() < 0.5 else IGNORED for i in ids[1:])]
        found.append(Example(ids, labels))
    return found


def lengths(seed: int, number: int = 200) -> list[int]:
    rng = random.Random(seed)
    return [rng.randint(2, 64) for _ in range(number)]


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    config = LanguageModelConfig(
        hidden_size=32, num_layers=2, num_heads=4, num_key_value_heads=2, intermediate_size=48
    )
    return config.network(VOCABULARY_SIZE)


def alone(network: torch.nn.Module, document: Example) -> Tensor:
    return network(torch.tensor([list(document.ids)])).logits[0]


@torch.inference_mode()
@pytest.mark.parametrize("seed", range(5))
def test_packed_documents_do_not_leak(network: torch.nn.Module, seed: int) -> None:
    found = documents(seed)
    rows = [[found[n] for n in row] for row in pack([len(d) for d in found], 64)]
    batch = packed_batch(rows, 64)
    logits = network(batch["ids"], position_ids=batch["position_ids"], use_cache=False).logits
    for row, members in enumerate(rows):
        start = 0
        for document in members:
            end = start + len(document)
            torch.testing.assert_close(
                logits[row, start:end], alone(network, document), atol=1e-5, rtol=0
            )
            start = end


@torch.inference_mode()
def test_the_mask_that_would_leak_is_why_none_is_passed(network: torch.nn.Module) -> None:
    found = documents(0)[:2]
    batch = packed_batch([found], 64)
    leaky = network(
        batch["ids"],
        position_ids=batch["position_ids"],
        attention_mask=torch.ones_like(batch["ids"]),
        use_cache=False,
    ).logits[0, len(found[0]) : len(found[0]) + len(found[1])]
    assert (leaky - alone(network, found[1])).abs().max() > 1e-3


@torch.inference_mode()
def test_padding_changes_nothing(network: torch.nn.Module) -> None:
    found = documents(1)
    logits = network(bucketed_batch(found)["ids"], use_cache=False).logits
    for row, document in enumerate(found):
        torch.testing.assert_close(
            logits[row, : len(document)], alone(network, document), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("seed", range(20))
def test_packing_is_complete_and_tight(seed: int) -> None:
    found = lengths(seed)
    rows = pack(found, 64)
    assert sorted(n for row in rows for n in row) == list(range(len(found)))
    assert max(sum(found[n] for n in row) for row in rows) <= 64
    assert sum(found) / (64 * len(rows)) > 0.9


def test_no_label_crosses_a_border() -> None:
    whole = Example([5, 6], [5, 6])  # its first id is marked as learned: it cannot be
    batch = packed_batch([[whole, whole]], 5)
    assert batch["ids"].tolist() == [[5, 6, 5, 6, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, IGNORED, 6, IGNORED]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1, 0]]


@pytest.mark.parametrize("batching", ["bucketed", "packed"])
@pytest.mark.parametrize("seed", range(5))
def test_an_epoch_is_every_document_once(batching: Batching, seed: int) -> None:
    found = lengths(seed)
    plan = BatchPlan(ids_per_batch=512, row_length=64, batching=batching, seed=seed)
    endless, epochs = plan.batches(found), []
    for _ in range(2):
        batches: list[Rows] = []
        while sum(len(row) for batch in batches for row in batch) < len(found):
            batches.append(next(endless))
        epochs.append(batches)
        assert sorted(n for batch in batches for row in batch for n in row) == list(range(200))
        for batch in batches:
            if batching == "packed":
                assert len(batch) * 64 <= 512
            else:
                assert len(batch) * max(found[row[0]] for row in batch) <= 512
    assert epochs[0] != epochs[1], "another order in each epoch"
    again = plan.batches(found)
    assert list(islice(again, len(epochs[0]))) == epochs[0], "the same seed, the same order"


def test_buckets_waste_little() -> None:
    found = lengths(0, number=4000)
    plan = BatchPlan(ids_per_batch=1024, row_length=64)
    batches = list(islice(plan.batches(found), 100))
    used = sum(found[row[0]] for batch in batches for row in batch)
    spent = sum(len(batch) * max(found[row[0]] for row in batch) for batch in batches)
    assert used / spent > 0.95


@pytest.mark.parametrize("batching", ["bucketed", "packed"])
def test_planned_batches(batching: Batching) -> None:
    plan = BatchPlan(ids_per_batch=128, row_length=64, batching=batching)
    batches = PlannedBatches([d.compact() for d in documents(0)], plan, num_batches=7)
    for number in range(7):
        batch = batches.batch(number, 0, 1)
        assert batch["ids"].shape == batch["labels"].shape
        assert batch["ids"].numel() <= 128
        assert ("position_ids" in batch) == (batching == "packed")


def test_plans_that_cannot_be_kept() -> None:
    with pytest.raises(ConfigError, match="at least one row"):
        BatchPlan(ids_per_batch=10, row_length=11)
    with pytest.raises(ConfigError, match="no documents"):
        next(BatchPlan().batches([]))
    with pytest.raises(ConfigError, match="document 1 has 2000 ids"):
        next(BatchPlan().batches([3, 2000]))
