"""Every document is in one place, and documents do not see one another."""

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from voiceglm.documents import ListedDocuments
from voiceglm.errors import ConfigError
from voiceglm.language_model import LanguageModelConfig
from voiceglm.packing import (
    Batching,
    BatchPlan,
    DocumentBatches,
    bucketed_batch,
    packed_batch,
    row_starts,
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


def numbered(seed: int, number: int = 200, first: int = 0) -> ListedDocuments:
    """Documents of up to 64 ids; the number of each is its second id."""
    rng = random.Random(seed)
    lengths = [rng.randint(2, 64) for _ in range(number)]
    ids = [[first + n] * length for n, length in enumerate(lengths)]
    return ListedDocuments("some", [Example(each, each) for each in ids])


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
    starts = row_starts(np.array([len(d) for d in found], np.int32), 64).tolist()
    rows = [found[start:end] for start, end in pairwise(starts)]
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
def test_rows_are_filled_in_order_as_far_as_they_go(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voiceglm.packing._AT_ONCE", 7 + seed)
    found = numbered(seed).lengths
    starts = row_starts(found, 64).tolist()
    assert (starts[0], starts[-1]) == (0, len(found))
    for start, end in pairwise(starts):
        assert start < end
        assert found[start:end].sum() <= 64
        assert end == len(found) or found[start : end + 1].sum() > 64


def test_no_label_crosses_a_border() -> None:
    whole = Example([5, 6], [5, 6])  # its first id is marked as learned: it cannot be
    batch = packed_batch([[whole, whole]], 5)
    assert batch["ids"].tolist() == [[5, 6, 5, 6, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, IGNORED, 6, IGNORED]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1, 0]]


def members(batches: DocumentBatches, number: int) -> list[tuple[int, int]]:
    return [(source, n) for source, row in batches.rows(number) for n in row]


@pytest.mark.parametrize("batching", ["bucketed", "packed"])
@pytest.mark.parametrize("seed", range(5))
def test_an_epoch_is_every_document_once(batching: Batching, seed: int) -> None:
    documents = numbered(seed)
    plan = BatchPlan(ids_per_batch=512, row_length=64, batching=batching, seed=seed)
    batches = DocumentBatches([documents], [1.0], plan)
    order = [n for number in range(60) for _, n in members(batches, number)]
    if batching == "bucketed":  # its windows are whole epochs of so few documents
        epochs = [order[:200], order[200:400]]
    else:
        rows = [n for number in range(60) for _, n in batches.rows(number)]
        per_epoch = len(row_starts(documents.lengths, 64)) - 1
        parts = (rows[:per_epoch], rows[per_epoch : 2 * per_epoch])
        epochs = [[n for row in part for n in row] for part in parts]
    for epoch in epochs:
        assert sorted(epoch) == list(range(200))
    assert epochs[0] != epochs[1], "another order in each epoch"


@pytest.mark.parametrize("batching", ["bucketed", "packed"])
def test_a_batch_follows_from_its_number_alone(batching: Batching) -> None:
    sources = [numbered(1), numbered(2, 50)]
    plan = BatchPlan(ids_per_batch=512, row_length=64, batching=batching)
    forwards = DocumentBatches(sources, [0.7, 0.3], plan)
    whole = [forwards.batch(number) for number in range(40)]
    for number in (39, 3, 20, 0, 39):
        again = DocumentBatches(sources, [0.7, 0.3], plan).batch(number)
        assert all(torch.equal(again[name], whole[number][name]) for name in again)
    other = DocumentBatches(sources, [0.7, 0.3], BatchPlan(512, 64, batching, seed=1))
    assert not torch.equal(other.batch(0)["ids"], whole[0]["ids"])


@pytest.mark.parametrize("batching", ["bucketed", "packed"])
@pytest.mark.parametrize("world", [2, 3, 64])
def test_processes_share_a_batch_without_a_rest(batching: Batching, world: int) -> None:
    plan = BatchPlan(ids_per_batch=512, row_length=64, batching=batching)
    batches = DocumentBatches([numbered(1)], [1.0], plan)
    for number in range(5):
        whole = batches.batch(number)
        parts = [batches.batch(number, rank, world) for rank in range(world)]
        learned = [part["ids"][part["labels"] != IGNORED] for part in parts]
        wanted = whole["ids"][whole["labels"] != IGNORED]
        assert torch.equal(torch.cat(learned).sort().values, wanted.sort().values)
        assert all(part["ids"].shape[0] >= 1 for part in parts)


@pytest.mark.parametrize("batching", ["bucketed", "packed"])
def test_the_ids_of_any_stretch_are_shared_as_asked(batching: Batching) -> None:
    """Not documents, and not rows: the sources' documents are of very different lengths."""
    rng = random.Random(0)
    sources = []
    for longest in (10, 60, 25):
        lengths = [rng.randint(2, longest) for _ in range(300)]
        found = [Example([1] * length, [1] * length) for length in lengths]
        sources.append(ListedDocuments("some", found))
    asked = [0.3, 0.5, 0.2]
    plan = BatchPlan(ids_per_batch=1024, row_length=64, batching=batching)
    batches = DocumentBatches(sources, asked, plan)
    seen = np.zeros((3, 200))
    for number in range(200):
        for source, n in members(batches, number):
            seen[source, number] += sources[source].lengths[n]
    for first, last in ((0, 200), (100, 200), (64, 128)):
        stretch = seen[:, first:last].sum(1)
        np.testing.assert_allclose(stretch / stretch.sum(), asked, atol=0.02)


def test_buckets_waste_little() -> None:
    plan = BatchPlan(ids_per_batch=1024, row_length=64)
    batches = DocumentBatches([numbered(0, 4000)], [1.0], plan)
    filled = [batches.batch(number) for number in range(100)]
    used = sum(int((batch["labels"] != IGNORED).sum()) for batch in filled)
    assert used / sum(batch["ids"].numel() for batch in filled) > 0.9
    assert max(batch["ids"].numel() for batch in filled) <= 1024


def test_plans_that_cannot_be_kept() -> None:
    with pytest.raises(ConfigError, match="at least one row"):
        BatchPlan(ids_per_batch=10, row_length=11)
    plan = BatchPlan(ids_per_batch=64, row_length=32)
    with pytest.raises(ConfigError, match="nothing to train on"):
        plan.fitting(ListedDocuments("none", []))
    with pytest.raises(ConfigError, match=r"some: document \d+ has 6\d ids, more than 32; cut it"):
        plan.fitting(numbered(0))


def test_documents_that_are_too_long_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    plan = BatchPlan(ids_per_batch=64, row_length=32, too_long="leave_out")
    documents = numbered(0)
    kept = plan.fitting(documents)
    wanted = [n for n, length in enumerate(documents.lengths) if length <= 32]
    assert [kept[n].ids[1] for n in range(len(kept.lengths))] == wanted
    assert f"{200 - len(wanted)} of 200 documents" in capsys.readouterr().err
