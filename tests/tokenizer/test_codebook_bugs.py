"""Mistakes that other codebooks were published with, none of which is to be made here.

Each test names where the mistake was reported; two processes are in test_two_ranks.py, precision
and padding in test_quantizer_kinds.py.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tokenizer.config import QuantizerConfig
from tokenizer.quantizer import EmaQuantizer, build_quantizer

WIDTH = 8
CONFIG = QuantizerConfig(codebook_size=64, ema_decay=0.99, revive_below=0.0)


def clusters(number: int, seed: int, *, of: int = 64, spread: float = 0.05) -> Tensor:
    """Frames around ``of`` centres that are always the same: (1, number, D)."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(of, WIDTH, generator=torch.Generator().manual_seed(0))
    chosen = torch.randint(of, (number,), generator=generator)
    return (centres[chosen] + spread * torch.randn(number, WIDTH, generator=generator))[None]


def real(frames: Tensor) -> Tensor:
    return torch.ones(frames.shape[:2]).bool()


@torch.no_grad()
def test_a_revived_entry_survives_its_step() -> None:
    """espnet#6284: its sum and count must be its own, or the next average undoes the revival."""
    torch.manual_seed(0)
    quantizer = EmaQuantizer(replace(CONFIG, revive_below=0.5), WIDTH).train()
    quantizer.codebook[:40] = 1e3  # far from everything
    quantizer.sums[:40] = 1e3
    quantizer.counts[:40] = 0.4
    frames = clusters(600, seed=1)
    quantizer(frames, real(frames))
    assert int(quantizer.dead) >= 40
    revived = quantizer.codebook[:40].clone()
    assert (revived[:, None] == frames[0]).all(2).any(1).all(), "each is a frame of the batch"
    torch.testing.assert_close(quantizer.sums[:40] / quantizer.counts[:40, None], revived)
    used = quantizer.encode(frames)
    assert int((used < 40).sum()) > 100, "frames are assigned to them"
    quantizer(frames, real(frames))
    moved = (quantizer.codebook[:40] - revived).norm(dim=1)
    assert float(moved.max()) < 8.0, "none was thrown back to where it had died"


@torch.no_grad()
@pytest.mark.parametrize("frames_per_step", [64, 600])
def test_k_means_then_averages_keep_use_high(frames_per_step: int) -> None:
    """vector-quantize-pytorch#66: sums that are means leave a few codes at the second step."""
    torch.manual_seed(0)
    config = replace(CONFIG, kmeans_init=True)
    quantizer = EmaQuantizer(config, WIDTH).train()
    shares = []
    for step in range(30):
        frames = clusters(frames_per_step, seed=step)
        quantizer(frames, real(frames))
        codes = quantizer.encode(clusters(2_000, seed=99))
        shares.append(int(codes.unique().numel()) / 64)
    assert shares[0] > 0.5, "k-means itself finds most clusters"
    assert min(shares) > 0.9 * shares[0], "and averages do not lose them again"
    assert quantizer.codebook.norm(dim=1).max() < 30, "entries stay where frames are"


@torch.no_grad()
def test_with_revival_nearly_all_codes_come_into_use() -> None:
    torch.manual_seed(0)
    quantizer = EmaQuantizer(replace(CONFIG, revive_below=0.1, ema_decay=0.8), WIDTH).train()
    for entries in (quantizer.codebook, quantizer.sums):
        entries[1:] = 1e3 * torch.randn(63, WIDTH)  # far away: collapsed
    frames = clusters(2_000, seed=99)
    assert int(quantizer.encode(frames).unique().numel()) == 1
    for step in range(60):
        batch = clusters(400, seed=step)
        quantizer(batch, real(batch))
    assert int(quantizer.encode(frames).unique().numel()) > 56


@torch.no_grad()
def test_more_dead_codes_than_frames_are_revived_a_few_at_a_time() -> None:
    """The reference fails with ValueError here; copies of one frame would be dead again."""
    quantizer = EmaQuantizer(replace(CONFIG, revive_below=2.0), WIDTH).train()
    frames = clusters(10, seed=1)
    quantizer(frames, real(frames))
    same = (quantizer.codebook[:, None] == frames[0]).all(2)  # (N, frames)
    assert same.any(0).all(), "every frame is an entry"
    assert int(same.sum()) == 10, "and no two entries are one frame"


@pytest.mark.parametrize("kind", ["ema", "simvq"])
def test_the_commitment_does_not_blow_up(kind: str) -> None:
    """Amphion#440: a loss past 200. Entries keep up with an encoder that is free to grow."""
    torch.manual_seed(0)
    quantizer = build_quantizer(
        QuantizerConfig(
            kind=kind,  # type: ignore[arg-type]
            codebook_size=64,
            ema_decay=0.95,
            revive_below=0.1,
            kmeans_init=kind == "ema",
            commitment_weight=1.0,
        ),
        WIDTH,
    ).train()
    encoder, head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
    weights = [*encoder.parameters(), *head.parameters(), *quantizer.parameters()]
    optimizer = torch.optim.Adam(weights, lr=0.01)
    shares, errors = [], []
    for step in range(300):
        frames = clusters(300, seed=step)
        states = encoder(frames)
        out = quantizer(states, real(frames))
        error = (head(out.frames) - frames).square().mean()
        optimizer.zero_grad()
        (error + out.commitment).backward()
        optimizer.step()
        distance = (states - quantizer.lookup(out.codes)).square().mean()
        shares.append(float((distance / states.var()).detach()))
        errors.append(float(error.detach()))
    assert max(shares[10:]) < 1.0, "of the states' variance"
    assert shares[-1] < 0.7
    assert errors[-1] < 0.6 * errors[0], "and something is learned through the codes"
