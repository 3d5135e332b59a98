"""From the rate of codes to the rate of mel frames.

Letters used in shapes below:

    B  batch
    T  codes, 12.5 per second
    M  mel frames, 86.13 per second
    C  channels
"""

import torch
from torch import Tensor, nn

from decoder.masking import MaskedGroupNorm, masked, padding_mask

NUM_LAYERS = 4


def frame_lengths(code_lengths: Tensor, frames_per_code: float) -> Tensor:
    """Count the mel frames that codes stand for, rounded down: (B,) -> (B,), int64."""
    return (code_lengths.double() * frames_per_code).long()


def nearest_codes(code_lengths: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Say which code each frame repeats: (B,), (B,) -> (B, size), int64.

    The ratio is rounded to float32, as in :func:`torch.nn.functional.interpolate`, with which
    the published flow was trained; exact integers would differ now and then.
    """
    ratio = code_lengths.float() / lengths.float()  # (B,)
    frames = torch.arange(size, device=lengths.device, dtype=torch.float32)
    return torch.minimum((frames * ratio[:, None]).long(), code_lengths[:, None] - 1)


class LengthRegulator(nn.Module):
    """Repeats frames to the mel's rate, then smooths them with convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(NUM_LAYERS):
            layers += [
                nn.Conv1d(channels, channels, 3, padding=1),
                MaskedGroupNorm(1, channels),
                nn.Mish(),
            ]
        self.model = nn.ModuleList([*layers, nn.Conv1d(channels, channels, 1)])

    def forward(self, x: Tensor, code_lengths: Tensor, lengths: Tensor) -> Tensor:
        """Stretch every item to its own length: (B, T, C) -> (B, C, M), padding zero.

        Args:
            x: (B, T, C).
            code_lengths: (B,), real codes of each item.
            lengths: (B,), mel frames wanted of each item; M is their maximum.
        """
        size = int(lengths.max())
        index = nearest_codes(code_lengths, lengths, size)[..., None].expand(-1, -1, x.shape[-1])
        mask = padding_mask(lengths, size, x.dtype)
        x = x.gather(1, index).transpose(1, 2)  # (B, C, M)
        for layer in self.model:
            x = layer(x, mask) if isinstance(layer, MaskedGroupNorm) else layer(masked(x, mask))
        return masked(x, mask)
