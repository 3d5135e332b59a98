"""Makes clean speech sound like a microphone in a room: speed, echo, noise, loudness.

Every draw comes from the generator passed in.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from voiceglm.audio import resample


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How often and how strongly speech is disturbed."""

    speed_probability: float = 0.5
    speed_percent: int = 12
    """Largest change of speed (and so of pitch and formants), in percent either way."""
    room_probability: float = 0.3
    max_decay_seconds: float = 0.4
    """Longest time in which the echo of the room falls by 60 dB."""
    noise_probability: float = 0.5
    min_snr_db: float = 5.0
    max_snr_db: float = 35.0
    min_peak: float = 0.05
    """Quietest peak amplitude; the loudest is 1."""


def augment(
    samples: Tensor, sample_rate: int, config: AugmentationConfig, generator: torch.Generator
) -> Tensor:
    """Disturb a recording: (num_samples,) -> (num_samples',), peak at most 1.

    The length changes only with the speed.
    """
    if _happens(config.speed_probability, generator):
        percent = int(
            torch.randint(-config.speed_percent, config.speed_percent + 1, (), generator=generator)
        )
        samples = resample(samples, sample_rate, sample_rate * (100 - percent) // 100)
    if _happens(config.room_probability, generator):
        samples = add_room(
            samples, sample_rate, config.max_decay_seconds * _uniform(generator), generator
        )
    if _happens(config.noise_probability, generator):
        spread = config.max_snr_db - config.min_snr_db
        snr_db = config.min_snr_db + spread * _uniform(generator)
        samples = samples + noise_like(samples, snr_db, generator)
    peak = samples.abs().max().clamp(min=1e-8)
    return samples / peak * config.min_peak ** _uniform(generator)


def add_room(
    samples: Tensor, sample_rate: int, decay_seconds: float, generator: torch.Generator
) -> Tensor:
    """Add echo: convolve with noise that falls by 60 dB in ``decay_seconds``, (N,) -> (N,).

    The classic statistical model of late reverberation (Polack 1988), with a direct path of 1.
    """
    length = max(2, int(decay_seconds * sample_rate))
    times = torch.arange(length) / length
    response = torch.randn(length, generator=generator) * 10.0 ** (-3.0 * times)
    response = response / response.norm() * (0.2 + 0.5 * _uniform(generator))
    response[0] = 1.0
    size = _fast_length(len(samples) + length)
    echoed = torch.fft.irfft(torch.fft.rfft(samples, size) * torch.fft.rfft(response, size), size)
    return echoed[: len(samples)]


def noise_like(samples: Tensor, snr_db: float, generator: torch.Generator) -> Tensor:
    """Draw coloured noise (from white to brown) at a signal-to-noise ratio: (N,) -> (N,).

    The ratio is of average powers over the whole recording.
    """
    length = _fast_length(len(samples))
    spectrum = torch.fft.rfft(torch.randn(length, generator=generator))
    frequencies = torch.arange(1, len(spectrum) + 1, dtype=torch.float32)
    slope = _uniform(generator)  # 0 white, 0.5 pink, 1 brown
    noise = torch.fft.irfft(spectrum * frequencies**-slope, n=length)[: len(samples)]
    wanted = samples.square().mean().sqrt() * 10.0 ** (-snr_db / 20.0)
    return noise * (wanted / noise.square().mean().sqrt().clamp(min=1e-12))


def _fast_length(length: int) -> int:
    """Return a power of two above ``length``: Fourier transforms of prime length are slow."""
    return 1 << length.bit_length()


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _happens(probability: float, generator: torch.Generator) -> bool:
    return _uniform(generator) < probability
