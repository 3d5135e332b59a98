"""The velocity of the flow at a point and a time: a one-dimensional U-Net.

Letters used in shapes below:

    B  batch
    C  channels
    H  channels of the time embedding
    M  frames, 86.13 per second (fewer inside, where the rate is halved)

Stages of a residual block (convolutions that know the time) and transformer blocks (full
attention over time), halving the rate on the way down and doubling it on the way up.
Statistics and attention leave padding out, so a padded batch equals its items alone.

Parameters carry the names of the published flow, so that its weights load as they are.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decoder.config import EstimatorConfig
from decoder.masking import MaskedGroupNorm, masked

NORM_GROUPS = 8
TIME_SCALE = 1000.0


def time_embedding(time: Tensor, dim: int) -> Tensor:
    """Sinusoids of a time in [0, 1]: (B,) -> (B, dim)."""
    half = dim // 2
    step = torch.arange(half, device=time.device, dtype=torch.float32)
    angle = TIME_SCALE * time.float()[:, None] * torch.exp(-step * math.log(10_000.0) / (half - 1))
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def key_mask(mask: Tensor) -> Tensor:
    """Keep attention off padded keys: (B, 1, M) -> (B, 1, 1, M), True where allowed."""
    return mask[:, None] > 0


class TimeMLP(nn.Module):
    """Two linear layers over the embedding of the time."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(dim, hidden_dim)
        self.linear_2 = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, time: Tensor) -> Tensor:
        """Embed times: (B,) -> (B, H)."""
        embedded = time_embedding(time, self.linear_1.in_features).to(self.linear_1.weight.dtype)
        return self.linear_2(F.silu(self.linear_1(embedded)))


class ConvBlock(nn.Module):
    """Convolution, group norm, Mish."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            [
                nn.Conv1d(in_channels, out_channels, 3, padding=1),
                MaskedGroupNorm(NORM_GROUPS, out_channels),
            ]
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Transform: (B, C, M) -> (B, C', M)."""
        conv, norm = self.block
        return masked(F.mish(norm(conv(masked(x, mask)), mask)), mask)


class ResidualBlock(nn.Module):
    """Two convolution blocks around which the input is added; the time enters between them."""

    def __init__(self, in_channels: int, out_channels: int, time_dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Mish(), nn.Linear(time_dim, out_channels))
        self.block1 = ConvBlock(in_channels, out_channels)
        self.block2 = ConvBlock(out_channels, out_channels)
        self.res_conv = nn.Conv1d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None, time: Tensor) -> Tensor:
        """Transform: (B, C, M), time (B, H) -> (B, C', M)."""
        hidden = self.block1(x, mask) + self.mlp(time)[:, :, None]
        return self.block2(hidden, mask) + self.res_conv(masked(x, mask))


class Attention(nn.Module):
    """Full self-attention over time."""

    def __init__(self, dim: int, config: EstimatorConfig) -> None:
        super().__init__()
        inner = config.num_heads * config.head_dim
        self.num_heads = config.num_heads
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_k = nn.Linear(dim, inner, bias=False)
        self.to_v = nn.Linear(dim, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, dim), nn.Dropout(config.dropout))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, keys: Tensor | None) -> Tensor:
        """Attend: (B, M, C) -> (B, M, C); ``keys`` as made by :func:`key_mask`."""
        query, key, value = (self._heads(f(x)) for f in (self.to_q, self.to_k, self.to_v))
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=keys)
        return self.to_out(out.transpose(1, 2).flatten(2))


class GeluLinear(nn.Module):
    """A linear layer followed by the exact GELU."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every frame on its own: (..., C) -> (..., C')."""
        return F.gelu(self.proj(x))


class FeedForward(nn.Module):
    """Four times wider inside than outside."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            GeluLinear(dim, 4 * dim), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform every frame on its own: (..., C) -> (..., C)."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Pre-norm attention, then a pre-norm feed-forward, both residual."""

    def __init__(self, dim: int, config: EstimatorConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn1 = Attention(dim, config)
        self.norm3 = nn.LayerNorm(dim)
        self.ff = FeedForward(dim, config.dropout)

    def forward(self, x: Tensor, keys: Tensor | None) -> Tensor:
        """Refine: (B, M, C) -> (B, M, C); ``keys`` as made by :func:`key_mask`."""
        x = x + self.attn1(self.norm1(x), keys)
        return x + self.ff(self.norm3(x))


class Downsample(nn.Module):
    """Halve the rate, rounding the number of frames up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Resample: (B, C, M) -> (B, C, ceil(M / 2))."""
        return self.conv(x)


class Upsample(nn.Module):
    """Double the rate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels, channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Resample: (B, C, M) -> (B, C, 2 M)."""
        return self.conv(x)


class Stage(nn.ModuleList):
    """A residual block, transformer blocks, and (except in the middle) a convolution after."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        config: EstimatorConfig,
        after: nn.Module | None = None,
    ) -> None:
        blocks = [TransformerBlock(out_channels, config) for _ in range(config.num_blocks)]
        residual = ResidualBlock(in_channels, out_channels, 4 * config.channels[0])
        super().__init__([residual, nn.ModuleList(blocks), *([] if after is None else [after])])

    def forward(self, x: Tensor, mask: Tensor | None, time: Tensor) -> Tensor:
        """Transform, without the convolution after: (B, C, M), time (B, H) -> (B, C', M)."""
        x = self[0](x, mask, time).transpose(1, 2)  # (B, M, C)
        keys = None if mask is None else key_mask(mask)
        for block in cast(nn.ModuleList, self[1]):
            x = block(x, keys)
        return x.transpose(1, 2)

    def resample(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Apply the convolution after the stage, which may change the rate."""
        return self[2](masked(x, mask))


class Estimator(nn.Module):
    """Estimates the velocity of the flow.

    Args:
        in_channels: Channels of the point and of the condition together.
        out_channels: Channels of the point.
        config: Sizes.
    """

    def __init__(self, in_channels: int, out_channels: int, config: EstimatorConfig) -> None:
        super().__init__()
        widths, last = config.channels, len(config.channels) - 1
        self.time_mlp = TimeMLP(in_channels, 4 * widths[0])
        self.down_blocks = nn.ModuleList()
        for i, (before, width) in enumerate(zip((in_channels, *widths), widths, strict=False)):
            after = Downsample(width) if i < last else nn.Conv1d(width, width, 3, padding=1)
            self.down_blocks.append(Stage(before, width, config, after))
        self.mid_blocks = nn.ModuleList(
            Stage(widths[-1], widths[-1], config) for _ in range(config.num_mid_blocks)
        )
        self.up_blocks = nn.ModuleList()
        upwards = widths[::-1]
        for i, (before, width) in enumerate(zip((upwards[0], *upwards), upwards, strict=False)):
            after = Upsample(width) if i < last else nn.Conv1d(width, width, 3, padding=1)
            self.up_blocks.append(Stage(before + width, width, config, after))
        self.final_block = ConvBlock(widths[0], widths[0])
        self.final_proj = nn.Conv1d(widths[0], out_channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None, condition: Tensor, time: Tensor) -> Tensor:
        """Estimate the velocity: (B, C, M) -> (B, C, M), zero where masked.

        Args:
            x: (B, C, M), the point.
            mask: (B, 1, M), 1 where a frame is real; ``None`` if every frame is.
            condition: (B, K, M).
            time: (B,), in [0, 1].
        """
        embedded = self.time_mlp(time)  # (B, H)
        x = torch.cat([x, condition], dim=1)
        skips: list[tuple[Tensor, Tensor | None]] = []
        for stage in cast(list[Stage], self.down_blocks):
            x = stage(x, mask, embedded)
            skips.append((x, mask))
            x = stage.resample(x, mask)
            if mask is not None and x.shape[-1] < mask.shape[-1]:
                mask = mask[..., ::2]
        for stage in self.mid_blocks:
            x = stage(x, mask, embedded)
        for stage in cast(list[Stage], self.up_blocks):
            skip, mask = skips.pop()
            x = stage(torch.cat([x[..., : skip.shape[-1]], skip], dim=1), mask, embedded)
            x = stage.resample(x, mask)
        return masked(self.final_proj(self.final_block(x, mask)), mask)
