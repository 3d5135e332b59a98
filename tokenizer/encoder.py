"""A Whisper encoder with pooling and a quantizer in the middle, block-causal throughout.

Letters used in shapes below:

    B  batch
    F  mel bands
    L  feature frames, 100 per second
    T  encoder frames, 50 per second (L / 2)
    C  codes, 12.5 per second (T / pool_kernel, rounded up)
    D  channels
    N  entries in the codebook

The layers are transformers' own Whisper layers. Source: GLM-4-Voice (arXiv 2412.02612), section
2.1, and the released configuration; see docs/porting.md for the exact order of operations.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoderLayer

from tokenizer.config import TokenizerConfig
from tokenizer.quantizer import build_quantizer

FEATURE_STRIDE = 2  # the second convolution halves 100 Hz to 50 Hz
CONTEXT = 4  # feature frames before a frame that both convolutions look back at
_LOUDER = 3.0  # at torch's own scale the position table drowns the sound in early training


@dataclass(frozen=True)
class Encoded:
    """What the encoder says about a batch."""

    states: Tensor  # (B, C, D), after the last layer that was run
    mask: Tensor  # (B, C), True where a code begins inside the recording
    codes: Tensor | None  # (B, C), int64 in [0, N); None without a quantizer
    pooled: Tensor  # (B, C, D), what was quantized
    commitment: Tensor  # (), weighted; 0 outside training or without a quantizer


@dataclass
class EncoderPast:
    """What a stream has been through: keys and values of every layer below the quantizer."""

    cache: DynamicCache = field(default_factory=DynamicCache)
    num_frames: int = 0  # 50 Hz frames so far


def sinusoids(length: int, channels: int) -> Tensor:
    """Return Whisper's position table, (length, channels): all sines, then all cosines."""
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32)
    rates = torch.exp(-torch.log(torch.tensor(10_000.0)) / (half - 1) * steps)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * rates[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def attention_bias(mask: Tensor, *, block: int | None, causal: bool, num_past: int = 0) -> Tensor:
    """Say who may attend whom: 0 where allowed, the lowest float where not.

    Args:
        mask: (B, T), True where a frame is real; only real frames are attended.
        block: Frames that see one another; a frame also sees everything earlier. ``None``: all.
        causal: Strictly causal instead; padding is then ignored, as in the reference.
        num_past: Frames before these T, P of them: all real, and seen too.

    Returns:
        (B or 1, 1, T, P + T).
    """
    keys = torch.arange(num_past + mask.shape[1], device=mask.device)
    frames = keys[num_past:]
    earlier = keys[None, :] <= frames[:, None]  # (T, P + T), query by key
    if causal:
        allowed = earlier[None, None]
    else:
        mask = F.pad(mask, (num_past, 0), value=True)
        allowed = mask[:, None, None, :].expand(-1, 1, len(frames), -1)
        if block is not None:
            same_block = keys[None, :] // block == frames[:, None] // block
            allowed = allowed & (earlier | same_block)
    return additive_bias(allowed)


def additive_bias(allowed: Tensor) -> Tensor:
    """Turn what may be attended into what is added to scores: 0, or the lowest float."""
    bias = torch.zeros(allowed.shape, device=allowed.device)
    return bias.masked_fill(~allowed, torch.finfo(bias.dtype).min)


class WhisperVQEncoder(nn.Module):
    """Log-mel features to codes, and to states for a recognizer.

    Args:
        config: Sizes and switches; ``config.quantizer`` may be ``None``.
    """

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = sizes = config.encoder
        self.layer_config = whisper = WhisperConfig(
            d_model=sizes.width,
            encoder_attention_heads=sizes.num_heads,
            encoder_ffn_dim=sizes.feedforward_width,
            activation_function="gelu",
            dropout=sizes.dropout,
        )
        whisper._attn_implementation = "sdpa"
        padding = 0 if sizes.causal_convolution else 1
        self.conv1 = nn.Conv1d(config.features.num_mel_bins, sizes.width, 3, padding=padding)
        self.conv2 = nn.Conv1d(sizes.width, sizes.width, 3, stride=FEATURE_STRIDE, padding=padding)
        with torch.no_grad():
            for convolution in (self.conv1, self.conv2):
                convolution.weight.mul_(_LOUDER)
        self.embed_positions = nn.Embedding(sizes.max_frames, sizes.width)
        self.embed_positions.weight.requires_grad_(False)
        self.embed_positions.weight.copy_(sinusoids(sizes.max_frames, sizes.width))
        layers = [WhisperEncoderLayer(whisper) for _ in range(sizes.num_built_layers)]
        for number, layer in enumerate(layers):
            layer.self_attn.layer_idx = number  # of its keys and values in a cache
        self.layers = nn.ModuleList(layers)
        self.quantizer = None
        if config.quantizer is not None:
            self.quantizer = build_quantizer(config.quantizer, sizes.width)
        max_codes = -(-sizes.max_frames // sizes.pool_stride)
        self.embed_positions2 = nn.Embedding(max_codes, sizes.width)
        nn.init.normal_(self.embed_positions2.weight, std=0.02)
        self.layer_norm = nn.Identity() if sizes.encoder_only else nn.LayerNorm(sizes.width)

    def forward(self, features: Tensor, mask: Tensor, *, upper: bool = True) -> Encoded:
        """Encode a batch.

        Args:
            features: (B, F, L), L even.
            mask: (B, L), True where a frame is real.
            upper: Also run the layers above the quantizer (for recognition).
        """
        sizes = self.config
        states = self._convolve(features)  # (B, T, D)
        states = states + self.embed_positions.weight[: states.shape[1]]
        mask = mask[:, ::FEATURE_STRIDE]
        states, mask = self._lower(states, mask)
        pooled, codes = states, None
        commitment = states.new_zeros(())
        if self.quantizer is not None:
            quantized = self.quantizer(states, mask)
            states, codes = quantized.frames, quantized.codes
            commitment = quantized.commitment
        states = states + self.embed_positions2.weight[: states.shape[1]]
        if upper and not sizes.encoder_only:
            states = self._upper(states, mask)
        return Encoded(states, mask, codes, pooled, commitment)

    def next_codes(self, features: Tensor, mask: Tensor, past: EncoderPast) -> Tensor:
        """Encode the frames that follow a past, whole blocks but for the last of a piece.

        Args:
            features: (1, F, CONTEXT + L), L even; a stream's first call brings no context.
            mask: (1, L), True where a frame is real.
            past: Grows by these frames.

        Returns:
            (C,), int64.
        """
        assert self.quantizer is not None, "this encoder has no codebook"
        start = past.num_frames
        states = self._convolve(features, first=start == 0)
        mask = mask[:, ::FEATURE_STRIDE]
        end = past.num_frames = start + states.shape[1]
        states, _ = self._lower(states + self.embed_positions.weight[start:end], mask, past, start)
        return self.quantizer.encode(states)[0]

    def recognise(self, codes: Tensor, mask: Tensor) -> Tensor:
        """Run the layers above the quantizer on given codes: (B, C) -> (B, C, D)."""
        assert self.quantizer is not None, "this encoder has no codebook"
        states = self.quantizer.lookup(codes)
        return self._upper(states + self.embed_positions2.weight[: states.shape[1]], mask)

    def _convolve(self, features: Tensor, *, first: bool = True) -> Tensor:
        past = (2, 0) if self.config.causal_convolution and first else (0, 0)
        states = F.gelu(self.conv1(F.pad(features, past)))
        states = F.gelu(self.conv2(F.pad(states, past)))
        return states.transpose(1, 2)

    def _lower(
        self, states: Tensor, mask: Tensor, past: EncoderPast | None = None, num_past: int = 0
    ) -> tuple[Tensor, Tensor]:
        sizes, block = self.config, self.config.block_frames
        causal = sizes.causal_attention or sizes.causal_below_quantizer
        cache = past and past.cache
        bias = attention_bias(mask, block=block, causal=causal, num_past=num_past)
        for number, layer in enumerate(self.layers[: sizes.quantize_after], start=1):
            states = layer(states, attention_mask=bias, past_key_values=cache)
            if number == sizes.pool_after and sizes.pool_kernel is not None:
                states, mask = self._pool(states, mask)
                block = block and block // sizes.pool_stride
                num_past //= sizes.pool_stride
                bias = attention_bias(mask, block=block, causal=causal, num_past=num_past)
        return states, mask

    def _upper(self, states: Tensor, mask: Tensor) -> Tensor:
        sizes = self.config
        block = sizes.block_frames and sizes.block_frames // sizes.pool_stride
        bias = attention_bias(mask, block=block, causal=sizes.causal_attention)
        for layer in self.layers[sizes.quantize_after :]:
            states = layer(states, attention_mask=bias)
        return self.layer_norm(states)

    def _pool(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        kernel = self.config.pool_stride
        states = F.pad(states, (0, 0, 0, -states.shape[1] % kernel)).transpose(1, 2)
        pool = F.avg_pool1d if self.config.pool_type == "avg" else F.max_pool1d
        return pool(states, kernel).transpose(1, 2), mask[:, ::kernel]
