"""Waveforms to the log-mel spectrogram that the flow writes and the vocoder reads.

Letters used in shapes: C mel bands, N samples, M mel frames, F frequency bins.
The definition is HiFi-GAN's (Kong et al. 2020, section 3), as GLM-4-Voice uses it.
"""

import math
from dataclasses import dataclass

import librosa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decoder.config import FlowConfig, VocoderConfig
from voiceglm.errors import ConfigError

QUIET = -11.512925465  # ln 1e-5, the value of silence


@dataclass(frozen=True, kw_only=True)
class MelConfig:
    """The log-mel spectrogram."""

    sample_rate: int = 22_050
    """Hertz."""
    fft_size: int = 1024
    """Samples in one analysis window."""
    hop: int = 256
    """Samples from one frame to the next."""
    num_bands: int = 80
    low_hz: float = 0.0
    high_hz: float = 8000.0

    def __post_init__(self) -> None:
        """Refuse values that describe no spectrogram."""
        if not 0 < self.hop <= self.fft_size:
            raise ConfigError(f"mel.hop must be 1 to {self.fft_size}, got {self.hop}")
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate / 2:
            raise ConfigError(
                f"mel bands must lie within 0 to {self.sample_rate / 2} Hz, "
                f"got {self.low_hz} to {self.high_hz}"
            )


class LogMel(nn.Module):
    """The log-mel transform with its filters made once."""

    filters: Tensor  # (C, F)
    window: Tensor  # (fft_size,)

    def __init__(self, config: MelConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or MelConfig()
        filters = librosa.filters.mel(
            sr=c.sample_rate,
            n_fft=c.fft_size,
            n_mels=c.num_bands,
            fmin=c.low_hz,
            fmax=c.high_hz,
        )
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)
        self.register_buffer("window", torch.hann_window(c.fft_size), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Return natural-log mel magnitudes: (..., N) -> (..., C, N // hop).

        Samples after the last whole hop only enter through the windows that reach them.
        """
        c = self.config
        flat = samples.float().reshape(math.prod(samples.shape[:-1]), samples.shape[-1])
        edge = (c.fft_size - c.hop) // 2
        if flat.shape[-1] <= edge:  # too short to reflect: silence follows
            flat = F.pad(flat, (0, edge + 1 - flat.shape[-1]))
        spectrum = torch.stft(
            F.pad(flat[:, None], (edge, edge), mode="reflect")[:, 0],
            c.fft_size,
            c.hop,
            window=self.window,
            center=False,
            return_complex=True,
        )
        magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()
        mel = (self.filters @ magnitude).clamp_min(1e-5).log()[..., : samples.shape[-1] // c.hop]
        return mel.reshape(*samples.shape[:-1], *mel.shape[-2:])


def log_mel(samples: Tensor, config: MelConfig | None = None) -> Tensor:
    """Return the log-mel spectrogram of waveforms.

    Args:
        samples: (..., N) at ``config.sample_rate``, within -1 to 1.
        config: the transform; :class:`LogMel` keeps its filters for repeated use.

    Returns:
        (..., num_bands, N // hop), natural logarithm of the magnitudes.
    """
    return LogMel(config).to(samples.device)(samples)


def mel_config(config: FlowConfig | VocoderConfig) -> MelConfig:
    """Return the log-mel that a flow writes, or a vocoder reads."""
    bands = config.num_mels if isinstance(config, FlowConfig) else config.in_channels
    return MelConfig(sample_rate=config.sample_rate, hop=config.hop_length, num_bands=bands)
