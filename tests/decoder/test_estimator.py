"""The U-Net keeps lengths, listens to time, and ignores padding."""

import pytest
import torch

from decoder.config import EstimatorConfig
from decoder.estimator import Estimator
from voiceglm.errors import ConfigError

CONFIG = EstimatorConfig(channels=(16, 24), num_blocks=1, num_mid_blocks=1, num_heads=2, head_dim=8)


@pytest.fixture
def estimator() -> Estimator:
    """A small estimator with random weights: 4 channels, 6 of condition."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Estimator(10, 4, CONFIG).eval()


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 3, 8, 13])
def test_any_length_comes_out_as_it_went_in(estimator: Estimator, length: int) -> None:
    x, condition = torch.randn(2, 4, length), torch.randn(2, 6, length)
    assert estimator(x, None, condition, torch.tensor([0.1, 0.9])).shape == x.shape


@torch.no_grad()
@pytest.mark.parametrize("channels", [(16,), (16, 24), (16, 16, 24)])
@pytest.mark.parametrize("lengths", [(14, 9, 2), (13, 7, 1), (8, 8, 4)])
def test_a_padded_batch_equals_its_items(
    channels: tuple[int, ...], lengths: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = EstimatorConfig(
            channels=channels, num_blocks=1, num_mid_blocks=1, num_heads=2, head_dim=8
        )
        estimator = Estimator(10, 4, config).eval()
    size, time = max(lengths), torch.tensor([0.1, 0.5, 0.9])
    x = torch.randn(3, 4, size, generator=generator)
    condition = torch.randn(3, 6, size, generator=generator)
    mask = (torch.arange(size) < torch.tensor(lengths)[:, None])[:, None].float()
    batch = estimator(x, mask, condition, time)
    for i, n in enumerate(lengths):
        one = slice(i, i + 1)
        alone = estimator(x[one, :, :n], None, condition[one, :, :n], time[one])
        torch.testing.assert_close(batch[one, :, :n], alone, rtol=0, atol=1e-5)
        assert bool((batch[i, :, n:] == 0).all())


@torch.no_grad()
def test_time_matters(estimator: Estimator) -> None:
    x, condition = torch.randn(1, 4, 8), torch.randn(1, 6, 8)
    early = estimator(x, None, condition, torch.tensor([0.0]))
    late = estimator(x, None, condition, torch.tensor([1.0]))
    assert float((early - late).abs().max()) > 1e-4


def test_channels_must_fit_the_norm() -> None:
    with pytest.raises(ConfigError, match="multiples of 8"):
        EstimatorConfig(channels=(20, 16))
