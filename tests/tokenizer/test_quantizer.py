"""The codebook: nearest entries, statistics of real frames only, no entry left behind."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tokenizer.config import QuantizerConfig
from tokenizer.quantizer import EmaQuantizer

WIDTH = 6
CONFIG = QuantizerConfig(codebook_size=32, ema_decay=0.5, revive_below=0.0)


def fill(quantizer: EmaQuantizer, entries: Tensor) -> None:
    """Set the entries (N, D) and their sums."""
    for name in ("embed", "embed_avg"):
        quantizer.library._codebook.get_buffer(name).copy_(entries)


def new(config: QuantizerConfig = CONFIG, seed: int = 0) -> EmaQuantizer:
    quantizer = EmaQuantizer(config, WIDTH)
    generator = torch.Generator().manual_seed(seed)
    fill(quantizer, torch.randn(config.codebook_size, WIDTH, generator=generator))
    return quantizer.train()


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed))


EVERY = torch.ones(2, 50).bool()
SOME = torch.arange(50) < torch.tensor([[50], [21]])


@torch.no_grad()
@pytest.mark.parametrize("seed", range(5))
def test_codes_are_those_the_library_would_choose(seed: int) -> None:
    quantizer = new(seed=seed).eval()
    frames = draw(2, 50, seed=seed + 10)
    looked_up, codes, _ = quantizer.library(frames)
    assert torch.equal(quantizer.encode(frames), codes)
    assert torch.equal(quantizer.lookup(codes), looked_up)
    out = quantizer(frames, SOME)
    assert torch.equal(out.codes, codes)
    assert torch.equal(out.frames, looked_up)
    assert float(out.commitment) == 0
    trained = quantizer.train()(frames, SOME)
    assert torch.equal(trained.codes[SOME], codes[SOME]), "training chooses the same"


def test_gradients_pass_straight_through() -> None:
    quantizer = new(replace(CONFIG, commitment_weight=0.0))
    frames = draw(2, 50).requires_grad_()
    weights = draw(2, 50, seed=2)
    out = quantizer(frames, SOME)
    assert not torch.allclose(out.frames, frames)
    (out.frames * weights).sum().backward()
    assert frames.grad is not None
    assert torch.equal(frames.grad[SOME], weights[SOME])
    assert not frames.grad[~SOME].any(), "nothing is learned from padding"
    assert not quantizer.codebook.requires_grad


def test_commitment_is_the_weighted_distance_of_real_frames() -> None:
    quantizer = new(replace(CONFIG, commitment_weight=2.5))
    frames = draw(2, 50).requires_grad_()
    with torch.no_grad():
        distance = frames - quantizer.lookup(quantizer.encode(frames))
    out = quantizer(frames, SOME)
    torch.testing.assert_close(out.commitment, 2.5 * distance[SOME].square().mean())
    (gradient,) = torch.autograd.grad(out.commitment, frames)
    assert not gradient[~SOME].any()
    torch.testing.assert_close(gradient[SOME], 5.0 * distance[SOME] / distance[SOME].numel())


@torch.no_grad()
@pytest.mark.parametrize("kmeans", [False, True])
def test_padding_is_never_counted(kmeans: bool) -> None:
    config = replace(CONFIG, kmeans_init=kmeans, revive_below=0.6)
    after = []
    for padding in (0.0, 50.0):
        quantizer = new(config)
        frames = draw(2, 50)
        frames[~SOME] = padding
        with torch.random.fork_rng():
            torch.manual_seed(0)
            quantizer(frames, SOME)
        after.append(quantizer.library._codebook.state_dict())
        assert quantizer.codebook.abs().max() < 20
    for name, value in after[0].items():
        assert torch.equal(value, after[1][name]), name


@torch.no_grad()
def test_statistics_are_moving_averages() -> None:
    quantizer = new()
    frames = draw(2, 50)
    before, codes = quantizer.codebook.clone(), quantizer.encode(frames)[SOME]
    quantizer(frames, SOME)
    hits = torch.bincount(codes, minlength=32).float()
    torch.testing.assert_close(quantizer.counts, 0.5 + 0.5 * hits)
    sums = torch.zeros(32, WIDTH).index_add_(0, codes, frames[SOME])
    expected = (0.5 * before + 0.5 * sums) / (0.5 + 0.5 * hits)[:, None]
    torch.testing.assert_close(quantizer.codebook, expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_an_unused_entry_is_moved_onto_a_real_frame() -> None:
    quantizer = new(replace(CONFIG, revive_below=0.9))
    entries = quantizer.codebook.clone()
    entries[:8] = 100.0  # far from every frame
    fill(quantizer, entries)
    frames = draw(2, 50)
    frames[~SOME] = -7.0
    quantizer(frames, SOME)
    same = quantizer.codebook[:8, None] == frames[SOME]  # (8, real frames, D)
    assert same.all(2).any(1).all()
    assert int(quantizer.encode(frames[SOME]).unique().numel()) > 20


@torch.no_grad()
def test_distances_are_never_in_half_precision() -> None:
    """Entries so close together that bfloat16 would confuse them."""
    quantizer = new()
    fill(quantizer, 1.0 + 0.1 * quantizer.codebook)
    frames = 1.0 + 0.1 * draw(2, 50)
    exact = quantizer.encode(frames)
    distance = (frames[:, :, None].double() - quantizer.codebook.double()).norm(dim=-1)
    assert torch.equal(exact, distance.argmin(-1))
    assert int(exact.unique().numel()) > 10
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer.encode(frames), exact)
        assert torch.equal(quantizer.eval()(frames, EVERY).codes, exact)
        out = quantizer.train()(frames, EVERY)
    assert torch.equal(out.codes, exact)
    assert quantizer.codebook.dtype == torch.float32

    half = new().eval()(draw(2, 50).bfloat16(), EVERY)
    assert half.frames.dtype == torch.bfloat16


def test_perplexity_counts_the_entries_in_use() -> None:
    quantizer = new()
    assert float(quantizer.perplexity) == pytest.approx(32)
    quantizer.counts.zero_()[:8] = 3.0
    assert float(quantizer.perplexity) == pytest.approx(8)
