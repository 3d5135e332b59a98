"""What the speech decoder is made of, as data: the released sizes are the defaults.

The nano decoder is another set of values of the same classes, written in a recipe.
"""

from dataclasses import dataclass, field

from voiceglm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The block-causal encoder of speech codes."""

    dim: int = 512
    """Channels of one frame, and of the embedding of a code."""
    num_heads: int = 8
    hidden_dim: int = 2048
    """Channels inside the feed-forward layers."""
    num_layers: int = 6
    dropout: float = 0.1
    block_size: int = 10
    """Codes that may attend to one another; later blocks are never seen."""

    def __post_init__(self) -> None:
        """Refuse values that do not fit together."""
        if self.dim % (2 * self.num_heads):
            raise ConfigError(
                f"encoder.dim must be a multiple of twice encoder.num_heads, "
                f"got {self.dim} and {self.num_heads}"
            )
        if self.block_size < 1:
            raise ConfigError(f"encoder.block_size must be positive, got {self.block_size}")


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig:
    """The U-Net that estimates the velocity of the flow."""

    channels: tuple[int, ...] = (256, 256)
    """Channels of each stage; every stage but the last halves the frame rate."""
    num_blocks: int = 4
    """Transformer blocks after each residual block."""
    num_mid_blocks: int = 12
    num_heads: int = 8
    head_dim: int = 64
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that do not fit together."""
        if not self.channels or any(c < 16 or c % 8 for c in self.channels):
            raise ConfigError(
                "estimator.channels must be multiples of 8 and at least 16, for its 8 groups, "
                f"got {list(self.channels)}"
            )


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """Codes to log-mel by conditional flow matching."""

    num_codes: int = 16_384
    code_rate: float = 12.5
    """Codes per second."""
    sample_rate: int = 22_050
    """Samples per second of the speech that the mel describes."""
    hop_length: int = 256
    """Samples per mel frame."""
    num_mels: int = 80
    speaker_dim: int = 192
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    num_steps: int = 10
    """Euler steps of the solver."""
    guidance: float = 0.7
    """Strength of classifier-free guidance; 0 switches it off."""
    temperature: float = 1.0
    """Standard deviation of the noise that speaking starts from; training always starts from 1.
    Less is clearer and less varied."""
    sigma_min: float = 1e-6
    """Noise left at the end of the path."""
    guidance_dropout: float = 0.2
    """Share of training items whose conditions are hidden, so that guidance can be used."""
    prompt_probability: float = 0.5
    """Share of training items whose first mel frames are given."""
    max_prompt_share: float = 0.8
    """Longest prompt of a training item, as a share of its frames."""
    stream_prompt: bool = True
    """Whether a chunk of a stream is given the mel of the past, as it was spoken. Without, the past
    is spoken again from the same noise, which agrees with itself if ``temperature`` is low."""
    crop_probability: float = 0.5
    """Share of training batches cut to a random run of blocks, as streaming will do."""
    content_weight: float = 0.0
    """Weight of a loss that pulls the encoder's output to the mel; 0 as released, 1 to learn
    from little."""
    content_std: float | None = None
    """How far the encoder's output is from the normalised mel, about; the flow then starts from
    it. ``None``, as released: the flow learns that by itself, which takes far longer."""
    mel_mean: float = 0.0
    """Subtracted from the log-mel before the flow; added back after it."""
    mel_std: float = 1.0
    """What the log-mel is divided by, so that it has the scale of the noise."""

    def __post_init__(self) -> None:
        """Refuse values that do not fit together."""
        for name in ("num_codes", "num_steps", "num_mels", "hop_length", "sample_rate"):
            if getattr(self, name) < 1:
                raise ConfigError(f"flow.{name} must be positive, got {getattr(self, name)}")
        if self.temperature < 0:
            raise ConfigError(f"flow.temperature must not be negative, got {self.temperature}")
        if self.mel_std <= 0:
            raise ConfigError(f"flow.mel_std must be positive, got {self.mel_std}")

    @property
    def frames_per_code(self) -> float:
        """Mel frames that one code stands for; 6.890625 as released."""
        return self.sample_rate / self.hop_length / self.code_rate


@dataclass(frozen=True, kw_only=True)
class VocoderConfig:
    """Log-mel to samples: a HiFT network (harmonic source, inverse Fourier transform)."""

    in_channels: int = 80
    base_channels: int = 512
    num_harmonics: int = 8
    """Overtones of the source, the fundamental not counted."""
    sample_rate: int = 22_050
    nsf_alpha: float = 0.1
    """Amplitude of the sines of the source."""
    nsf_sigma: float = 0.003
    """Standard deviation of the noise of the source where speech is voiced."""
    voiced_threshold: float = 10.0
    """Pitch in Hz above which a frame counts as voiced."""
    upsample_rates: tuple[int, ...] = (8, 8)
    upsample_kernel_sizes: tuple[int, ...] = (16, 16)
    istft_n_fft: int = 16
    istft_hop: int = 4
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[int, ...] = (1, 3, 5)
    """Dilations inside every residual block."""
    source_resblock_kernel_sizes: tuple[int, ...] = (7, 11)
    """One per upsampling stage."""
    source_resblock_dilations: tuple[int, ...] = (1, 3, 5)
    lrelu_slope: float = 0.1
    audio_limit: float = 0.99
    """Samples are clamped to this magnitude."""
    phase_limit: float = 1.0
    """Largest phase of the output spectrum, in radians; the released network writes a sine of its
    output there, which reaches no further than one. Pi lets it write every phase."""
    f0_channels: int = 512
    f0_num_layers: int = 5

    def __post_init__(self) -> None:
        """Refuse values that do not fit together."""
        stages = len(self.upsample_rates)
        if not stages == len(self.upsample_kernel_sizes) == len(self.source_resblock_kernel_sizes):
            raise ConfigError(
                "vocoder.upsample_rates, upsample_kernel_sizes and source_resblock_kernel_sizes "
                f"must have one value per stage, got {stages}, "
                f"{len(self.upsample_kernel_sizes)} and {len(self.source_resblock_kernel_sizes)}"
            )

    @property
    def hop_length(self) -> int:
        """Samples per mel frame; 256 as released."""
        product = self.istft_hop
        for rate in self.upsample_rates:
            product *= rate
        return product


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Codes to samples: a flow and a vocoder that speak the same mel."""

    flow: FlowConfig = field(default_factory=FlowConfig)
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)

    def __post_init__(self) -> None:
        """Refuse values that do not fit together."""
        flow, vocoder = self.flow, self.vocoder
        pairs = {
            "num_mels / in_channels": (flow.num_mels, vocoder.in_channels),
            "sample_rate": (flow.sample_rate, vocoder.sample_rate),
            "hop_length": (flow.hop_length, vocoder.hop_length),
        }
        for name, (ours, theirs) in pairs.items():
            if ours != theirs:
                raise ConfigError(f"flow and vocoder disagree about {name}: {ours} and {theirs}")
