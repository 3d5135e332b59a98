"""The encoder sees its own block and the past, whatever the batch."""

import math

import pytest
import torch

from decoder.config import EncoderConfig
from decoder.encoder import (
    BlockCausalEncoder,
    block_causal_mask,
    relative_positions,
    shift_to_pairs,
)
from voiceglm.errors import ConfigError

CONFIG = EncoderConfig(dim=16, num_heads=2, hidden_dim=32, num_layers=2, block_size=4)


@pytest.fixture
def encoder() -> BlockCausalEncoder:
    """An encoder with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BlockCausalEncoder(CONFIG).eval()


def frames(length: int, seed: int = 0) -> torch.Tensor:
    """Random embedded codes: (1, length, 16)."""
    return torch.randn(1, length, 16, generator=torch.Generator().manual_seed(seed))


def test_mask_by_hand() -> None:
    rows = ["110", "110", "111"]
    expected = torch.tensor([[c == "1" for c in row] for row in rows])
    assert torch.equal(block_causal_mask(3, 2), expected)


@torch.no_grad()
@pytest.mark.parametrize("known", [4, 8, 12])
def test_the_future_never_changes_complete_blocks(encoder: BlockCausalEncoder, known: int) -> None:
    whole, changed = frames(15), frames(15)
    changed[:, known:] = frames(15 - known, seed=1)
    everything = torch.ones(1, 15, dtype=torch.bool)
    out = encoder(whole, everything)[:, :known]
    assert torch.equal(out, encoder(changed, everything)[:, :known])
    alone = encoder(whole[:, :known], everything[:, :known])
    torch.testing.assert_close(alone, out, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_block_sees_its_own_end(encoder: BlockCausalEncoder) -> None:
    whole, changed = frames(8), frames(8)
    changed[:, 7] += 1
    everything = torch.ones(1, 8, dtype=torch.bool)
    difference = (encoder(whole, everything) - encoder(changed, everything)).abs().amax(-1)[0]
    assert bool((difference[:4] == 0).all())
    assert bool((difference[4:] > 1e-4).all())


@torch.no_grad()
def test_padding_changes_nothing(encoder: BlockCausalEncoder) -> None:
    short = frames(6)
    padded = torch.cat([short, frames(5, seed=2)], dim=1)
    mask = (torch.arange(11) < 6)[None]
    alone = encoder(short, torch.ones(1, 6, dtype=torch.bool))
    torch.testing.assert_close(encoder(padded, mask)[:, :6], alone, rtol=0, atol=1e-5)


def test_positions_are_sinusoids_of_the_distance() -> None:
    table = relative_positions(5, 8)  # distances 4 to -4
    for row, distance in enumerate(range(4, -5, -1)):
        for k in range(4):
            angle = distance * 10_000 ** (-2 * k / 8)
            assert math.isclose(table[row, 2 * k], math.sin(angle), abs_tol=1e-6)
            assert math.isclose(table[row, 2 * k + 1], math.cos(angle), abs_tol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_scores_reach_their_pairs(length: int) -> None:
    distances = torch.arange(length - 1, -length, -1).expand(2, length, -1)
    pairs = shift_to_pairs(distances)
    rows = torch.arange(length)
    assert torch.equal(pairs, (rows[:, None] - rows[None, :]).expand(2, -1, -1))


def test_dimensions_must_fit() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.dim must be a multiple of twice"):
        EncoderConfig(dim=20, num_heads=8)
