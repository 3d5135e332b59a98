"""SpecAugment: stretches of time and bands of frequency hidden from the encoder (Park et al. 2019).

Letters used in shapes below: B batch, F mel bands, L feature frames, 100 per second.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voiceglm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SpecAugmentConfig:
    """How much of the features is hidden."""

    time_masks: int = 2
    time_frames: int = 40
    """Longest stretch, in feature frames of 10 ms; never more than a fifth of the recording."""
    frequency_masks: int = 2
    frequency_bins: int = 8
    """Widest band, in mel bands."""

    def __post_init__(self) -> None:
        for name in ("time_masks", "time_frames", "frequency_masks", "frequency_bins"):
            if getattr(self, name) < 0:
                raise ConfigError(f"spec_augment.{name} must not be negative")


_LONGEST_SHARE = 5  # one part in this many of a recording is hidden at a time
_HIDDEN = 0.0  # about the mean of log-mel features


def hide(
    values: Tensor,
    lengths: Sequence[int],
    config: SpecAugmentConfig,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Return features with stretches and bands of each recording hidden.

    Args:
        values: (B, F, L).
        lengths: Real frames of each, B of them.
        config: How many and how large.
        generators: Where the draws of each come from.
    """
    values = values.clone()
    bins = min(config.frequency_bins, values.shape[1])
    for item, length, generator in zip(values, lengths, generators, strict=True):
        frames = min(config.time_frames, length // _LONGEST_SHARE)
        for _ in range(config.time_masks):
            start, size = _stretch(length, frames, generator)
            item[:, start : start + size] = _HIDDEN
        for _ in range(config.frequency_masks):
            start, size = _stretch(values.shape[1], bins, generator)
            item[start : start + size, :length] = _HIDDEN
    return values


def _stretch(end: int, most: int, generator: torch.Generator) -> tuple[int, int]:
    """Draw where a stretch within ``end`` places starts and how long it is."""
    size = int(torch.randint(most + 1, (), generator=generator))
    return int(torch.randint(end - size + 1, (), generator=generator)), size
