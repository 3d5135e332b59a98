"""Speech codes to frames that know their past: a block-causal transformer.

Letters used in shapes below:

    B  batch
    T  codes, 12.5 per second
    D  channels of one frame
    H  attention heads

Codes come in blocks of a fixed number. A code attends to its own block and to all earlier
ones, so a complete block never changes when more codes arrive. Positions are relative
(Dai et al. 2019, Transformer-XL, section 3.3) with sinusoids that are exact at any length.

Parameters carry the names of the published flow, so that its weights load as they are.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decoder.config import EncoderConfig


def block_causal_mask(length: int, block_size: int, device: torch.device | None = None) -> Tensor:
    """Say which code may see which: (T, T), True where row may attend to column."""
    block = torch.arange(length, device=device) // block_size
    return block[:, None] >= block[None, :]


def relative_positions(length: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Sinusoids of the distances ``length - 1`` down to ``-(length - 1)``: (2T - 1, D)."""
    distance = torch.arange(length - 1, -length, -1, device=device, dtype=torch.float32)
    exponent = torch.arange(0, dim, 2, device=device, dtype=torch.float32)
    angle = distance[:, None] * torch.exp(exponent * (-math.log(10_000.0) / dim))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def shift_to_pairs(by_distance: Tensor) -> Tensor:
    """Turn scores by distance into scores by key: (..., T, 2T - 1) -> (..., T, T).

    Row i of the input holds distances T - 1 down to -(T - 1); key j stands at distance i - j.
    One column of padding makes consecutive rows slide by one when the memory is read again.
    """
    length = by_distance.shape[-2]
    padded = F.pad(by_distance, (1, 0))  # (..., T, 2T)
    slid = padded.flatten(-2).unflatten(-1, (2 * length, length))[..., 1:, :]
    return slid.flatten(-2).unflatten(-1, (length, 2 * length - 1))[..., :length]


class RelativeAttention(nn.Module):
    """Self-attention with a content and a distance term, each with its own learned bias."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        dim, self.num_heads, self.dropout = config.dim, config.num_heads, config.dropout
        self.linear_q = nn.Linear(dim, dim)
        self.linear_k = nn.Linear(dim, dim)
        self.linear_v = nn.Linear(dim, dim)
        self.linear_out = nn.Linear(dim, dim)
        self.linear_pos = nn.Linear(dim, dim, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(self.num_heads, dim // self.num_heads))
        self.pos_bias_v = nn.Parameter(torch.empty(self.num_heads, dim // self.num_heads))
        nn.init.xavier_uniform_(self.pos_bias_u)
        nn.init.xavier_uniform_(self.pos_bias_v)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)  # (..., H, T, D / H)

    def forward(self, x: Tensor, positions: Tensor, allowed: Tensor) -> Tensor:
        """Attend: (B, T, D) -> (B, T, D).

        Args:
            x: (B, T, D).
            positions: (2T - 1, D), see :func:`relative_positions`.
            allowed: (B, 1, T, T), True where row may attend to column.
        """
        query = self._heads(self.linear_q(x))  # (B, H, T, D / H)
        by_distance = self._heads(self.linear_pos(positions))  # (H, 2T - 1, D / H)
        scores = (query + self.pos_bias_v[:, None]) @ by_distance.transpose(-2, -1)
        bias = shift_to_pairs(scores) / math.sqrt(query.shape[-1])  # (B, H, T, T)
        out = F.scaled_dot_product_attention(
            query + self.pos_bias_u[:, None],
            self._heads(self.linear_k(x)),
            self._heads(self.linear_v(x)),
            attn_mask=bias.masked_fill(~allowed, -math.inf),
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.linear_out(out.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with a SiLU between them."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.w_1 = nn.Linear(config.dim, config.hidden_dim)
        self.w_2 = nn.Linear(config.hidden_dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every frame on its own: (..., D) -> (..., D)."""
        return self.w_2(self.dropout(F.silu(self.w_1(x))))


class EncoderLayer(nn.Module):
    """Pre-norm attention, then a pre-norm feed-forward, both residual."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(config)
        self.feed_forward = FeedForward(config)
        self.norm_mha = nn.LayerNorm(config.dim)
        self.norm_ff = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, positions: Tensor, allowed: Tensor) -> Tensor:
        """Refine: (B, T, D) -> (B, T, D); arguments as in :class:`RelativeAttention`."""
        x = x + self.dropout(self.self_attn(self.norm_mha(x), positions, allowed))
        return x + self.dropout(self.feed_forward(self.norm_ff(x)))


class InputLayer(nn.Module):
    """What an embedded code goes through before the first layer."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.out = nn.Sequential(
            nn.Linear(config.dim, config.dim), nn.LayerNorm(config.dim), nn.Dropout(config.dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Project, normalise and scale to the size of the residual stream: (..., D)."""
        return self.out(x) * math.sqrt(x.shape[-1])


class BlockCausalEncoder(nn.Module):
    """A transformer over embedded codes whose complete blocks never change."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = InputLayer(config)
        self.dropout = nn.Dropout(config.dropout)
        self.encoders = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_layers))
        self.after_norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode a batch: (B, T, D) -> (B, T, D).

        Args:
            x: (B, T, D), embedded codes.
            mask: (B, T), True where a code is real; every item has at least one.
        """
        length, dim = x.shape[1:]
        allowed = block_causal_mask(length, self.config.block_size, x.device)
        allowed = (allowed & mask[:, None, :]).unsqueeze(1)  # (B, 1, T, T)
        positions = relative_positions(length, dim, x.device).to(x.dtype)
        x, positions = self.dropout(self.embed(x)), self.dropout(positions)
        for layer in self.encoders:
            x = layer(x, positions, allowed)
        return self.after_norm(x)
