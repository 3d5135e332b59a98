"""SpecAugment: what is hidden, how much of it, and by whose draws."""

import pytest
import torch
from torch import Tensor

from tokenizer.spec_augment import SpecAugmentConfig, hide
from voiceglm.errors import ConfigError

VALUES = torch.rand(3, 20, 80) + 1.0  # nowhere what hidden features are
LENGTHS = [80, 30, 4]
CONFIG = SpecAugmentConfig(time_masks=2, time_frames=10, frequency_masks=1, frequency_bins=4)


def hidden(config: SpecAugmentConfig, seed: int = 0) -> Tensor:
    generators = [torch.Generator().manual_seed(seed + 100 * n) for n in range(3)]
    before = VALUES.clone()
    out = hide(VALUES, LENGTHS, config, generators)
    assert torch.equal(VALUES, before), "a batch is not changed in place"
    assert ((out == VALUES) | (out == 0)).all()
    return out == 0


def test_stretches_and_bands_are_hidden_and_nothing_else() -> None:
    most_frames, most_bands = [0, 0, 0], 0
    for seed in range(60):
        gone = hidden(CONFIG, seed)
        for item, length in enumerate(LENGTHS):
            frames = gone[item].all(0).nonzero()[:, 0]
            bands = gone[item][:, :length].all(1).nonzero()[:, 0]
            most_frames[item] = max(most_frames[item], len(frames))
            most_bands = max(most_bands, len(bands))
            assert len(frames) <= 2 * min(10, length // 5)
            assert len(bands) <= 4
            assert not gone[item][:, length:].any(), "padding stays what it is"
            rest = gone[item].clone()
            rest[:, frames] = False
            rest[bands] = False
            assert not rest.any()
    assert most_frames[0] > 12
    assert most_frames[1] > 6
    assert most_frames[2] == 0, "a recording of 40 ms keeps all of it"
    assert most_bands == 4


def test_draws_are_those_of_each_recording() -> None:
    assert torch.equal(hidden(CONFIG, 1), hidden(CONFIG, 1))
    assert not torch.equal(hidden(CONFIG, 1), hidden(CONFIG, 2))


def test_nothing_is_hidden_by_no_masks() -> None:
    assert not hidden(SpecAugmentConfig(time_masks=0, frequency_masks=0)).any()


def test_negative_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"spec_augment.time_masks must not be negative"):
        SpecAugmentConfig(time_masks=-1)
