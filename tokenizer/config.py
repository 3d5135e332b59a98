"""The architecture of a speech tokenizer, as plain values.

The defaults are the released GLM-4-Voice tokenizer; ``nano`` is another set of values of the same
classes. Rates: waveform 16 kHz, log-mel frames 100 Hz, encoder frames 50 Hz, codes 12.5 Hz.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from voiceglm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """How a waveform becomes a log-mel spectrogram (Whisper's, section 2.1 of its paper)."""

    sample_rate: int = 16_000
    """Hertz."""
    num_mel_bins: int = 128
    window: int = 400
    """Samples in one analysis window, and the length of its Fourier transform."""
    hop: int = 160
    """Samples between two frames."""
    fixed_floor: float | None = None
    """Lowest log10 power. ``None``: the loudest value of the piece minus 8, as Whisper does, which
    lets later sound change earlier features; a number makes every frame depend on itself alone."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """A Whisper encoder cut in two by pooling and a quantizer."""

    width: int = 1280
    num_heads: int = 20
    feedforward_width: int = 5120
    num_layers: int = 32
    """Layers below and above the quantizer together."""
    max_frames: int = 1500
    """Positions in the first table: encoder frames of one piece, 50 per second."""
    pool_kernel: int | None = 4
    pool_type: Literal["avg", "max"] = "avg"
    pool_after: int = 16
    """Pool behind this many layers."""
    quantize_after: int = 16
    """Quantize behind this many layers; not before pooling."""
    encoder_only: bool = True
    """Drop the layers above the quantizer, which only the recognition objective needs."""
    block_frames: int | None = 200
    """Encoder frames that see one another freely; every frame also sees all earlier blocks."""
    causal_below_quantizer: bool = False
    """Strictly causal attention below the quantizer; padding is then not masked."""
    causal_attention: bool = False
    """Strictly causal attention everywhere; padding is then not masked."""
    causal_convolution: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ConfigError(f"width {self.width} is not a multiple of num_heads {self.num_heads}")
        if not 0 < self.pool_after <= self.quantize_after <= self.num_layers:
            raise ConfigError(
                "layers must satisfy 0 < pool_after <= quantize_after <= num_layers, got "
                f"{self.pool_after}, {self.quantize_after}, {self.num_layers}"
            )

        if self.max_frames % self.pool_stride:
            raise ConfigError(
                f"max_frames {self.max_frames} is not a multiple of pool_kernel {self.pool_kernel}"
            )

    @property
    def num_built_layers(self) -> int:
        """Layers that exist in this model."""
        return self.quantize_after if self.encoder_only else self.num_layers

    @property
    def pool_stride(self) -> int:
        """Encoder frames per code."""
        return self.pool_kernel or 1


@dataclass(frozen=True, kw_only=True)
class QuantizerConfig:
    """The codebook and how it learns."""

    kind: Literal["ema", "fsq", "simvq"] = "ema"
    """``ema``: entries that follow the frames assigned to them, as released. ``fsq``: a few scalars
    rounded to levels. ``simvq``: one learned map of a frozen codebook."""
    codebook_size: int = 16_384
    levels: tuple[int, ...] | None = None
    """FSQ only: levels of each scalar, 3 or more; their product is ``codebook_size``."""
    ema_decay: float = 0.99
    """Of the average counts that every kind keeps, and of EMA's entries."""
    commitment_weight: float = 2.5
    """Weight of the masked squared distance between states and codes. The reference multiplies a
    coefficient 0.25 by a loss scale 10. FSQ has no such distance."""
    revive_below: float = 0.366
    """Codes whose average count of frames per step falls under this are dead. EMA moves them onto a
    random frame of the batch; the reference's threshold is decay ** 100."""
    kmeans_init: bool = False
    """EMA only: begin with clusters of the first batch instead of random entries."""

    def __post_init__(self) -> None:
        if self.codebook_size < 2:
            raise ConfigError(
                f"quantizer.codebook_size must be at least 2, got {self.codebook_size}"
            )
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"quantizer.ema_decay must be in [0, 1), got {self.ema_decay}")
        if self.kmeans_init and self.kind != "ema":
            raise ConfigError(f"quantizer.kmeans_init is for kind ema, not for {self.kind}")
        self._check_levels()

    def _check_levels(self) -> None:
        if self.kind != "fsq":
            if self.levels is not None:
                raise ConfigError(f"quantizer.levels is for kind fsq, not for {self.kind}")
            return
        if not self.levels or min(self.levels) < 3:
            raise ConfigError(
                "quantizer.levels must hold numbers of at least 3 for kind fsq, as in "
                f"[8, 8, 8, 8, 4] for 16,384 codes; got {self.levels}"
            )
        if math.prod(self.levels) != self.codebook_size:
            raise ConfigError(
                f"quantizer.levels make {math.prod(self.levels):,} codes, but "
                f"quantizer.codebook_size is {self.codebook_size:,}; make them equal"
            )


@dataclass(frozen=True, kw_only=True)
class RecognizerConfig:
    """What sits on top of the encoder during training, and reads text off the codes."""

    kind: Literal["ctc", "attention", "joint"] = "ctc"
    """``joint``: both on the same states."""
    ctc_weight: float = 0.3
    """Joint only: share of CTC in the loss; the rest is attention's. The greater half reads."""
    upsample: int = 4
    """CTC only: output frames per code, because text can be faster than 12.5 letters a second."""
    alphabet: str = "abcdefghijklmnopqrstuvwxyz' "
    """CTC only: the characters it can write. ``auto`` in training: those of the texts."""
    num_layers: int = 4
    """Attention only: decoder layers."""
    vocab_size: int = 51_866
    """Attention only: text ids."""
    max_text_ids: int = 448
    """Attention only: positions."""
    start_id: int = 50_258
    """Attention only: the id every text begins with."""
    pad_id: int = 50_256
    """Attention only."""
    end_id: int = 50_257
    """Attention only: the id every text ends with."""
    prefix_ids: tuple[int, ...] = ()
    """Attention only: ids between ``start_id`` and the text, such as Whisper's of a language."""

    def __post_init__(self) -> None:
        if not 0 <= self.ctc_weight <= 1:
            raise ConfigError(f"recognizer.ctc_weight must be in [0, 1], got {self.ctc_weight}")
        if self.kind == "ctc":
            return
        ids = {
            "start_id": self.start_id,
            "end_id": self.end_id,
            "pad_id": self.pad_id,
            **{f"prefix_ids[{n}]": prefix for n, prefix in enumerate(self.prefix_ids)},
        }
        for name, value in ids.items():
            if not 0 <= value < self.vocab_size:
                raise ConfigError(
                    f"recognizer.{name} is {value}, outside recognizer.vocab_size {self.vocab_size}"
                )


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """A whole tokenizer. ``quantizer: null`` is a plain recognizer on unquantized states."""

    features: FeatureConfig = field(default_factory=FeatureConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    quantizer: QuantizerConfig | None = field(default_factory=QuantizerConfig)
    recognizer: RecognizerConfig | None = None
