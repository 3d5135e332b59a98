"""Padding in a batch: where it is, and a normalisation that leaves it out.

Letters used in shapes: B batch, C channels, M frames.

A plain group norm over a padded batch mixes the padding into the mean and the variance, so
that an item's result depends on the company it is in. Here it does not.
"""

import torch
from torch import Tensor, nn


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """Mark what is real in a padded batch: (B,) -> (B, size), True before each length."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def padding_mask(lengths: Tensor, size: int, dtype: torch.dtype) -> Tensor | None:
    """Mark what is real, 1 or 0, (B, 1, size); ``None``, which is quicker, if everything is."""
    mask = length_mask(lengths, size)
    return None if bool(mask.all()) else mask[:, None].to(dtype)


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the padding of x (B, C, M), if there is any."""
    return x if mask is None else x * mask


class MaskedGroupNorm(nn.GroupNorm):
    """Group norm over channels and the frames that are real."""

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise every item by its own frames: (B, C, M) -> (B, C, M).

        Args:
            input: (B, C, M).
            mask: (B, 1, M), 1 where a frame is real, 0 where it is padding; ``None`` if
                every frame is real.
        """
        if mask is None:
            return super().forward(input)
        groups = input.unflatten(1, (self.num_groups, -1))  # (B, G, C / G, M)
        weights = mask.unsqueeze(2) / (mask.sum(-1, keepdim=True).unsqueeze(2) * groups.shape[2])
        mean = (groups * weights).sum((2, 3), keepdim=True)  # (B, G, 1, 1)
        centred = groups - mean
        variance = (centred.square() * weights).sum((2, 3), keepdim=True)
        normal = (centred * (variance + self.eps).rsqrt()).flatten(1, 2)
        return normal * self.weight[:, None] + self.bias[:, None]
