"""Makes clean speech sound like a microphone in a room: speed, echo, noise, loudness.

Echo and noise are made up, or taken from recordings of rooms and of noise. Every draw comes from
the generator passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from voiceglm.audio import resample
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, read_manifest, read_samples

_SOUND_FILES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
_MADE_UP = 0.5  # how often echo and noise are made up although there are recordings
_LONGEST_ROOM_SECONDS = 2.0
_REMEMBERED = 32_000_000  # samples of recorded noise and rooms, 128 MB


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


@dataclass(frozen=True, kw_only=True)
class Sounds:
    """Recordings that speech is disturbed with, every other time.

    They are read once and kept, as far as half an hour of them at 16 kHz.
    """

    noises: Sequence[Utterance] = ()
    rooms: Sequence[Utterance] = ()  # impulse responses
    _heard: dict[tuple[Path, int, int | None, int | None, int], Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def samples(self, sound: Utterance, sample_rate: int) -> Tensor:
        """Return a recording as mono at ``sample_rate`` hertz: (num_samples,), not to be changed.

        Raises:
            AudioError: If it cannot be read.
        """
        key = (sound.recording, sound.start, sound.num_samples, sound.channel, sample_rate)
        if key in self._heard:
            return self._heard[key]
        samples = read_samples(sound, sample_rate)
        if sum(map(len, self._heard.values())) + len(samples) <= _REMEMBERED:
            self._heard[key] = samples
        return samples


def find_sounds(place: Path | None) -> list[Utterance]:
    """Return the recordings that a manifest lists or a folder holds; none of None.

    Raises:
        ConfigError: If it cannot be read, or there are none.
    """
    if place is None:
        return []
    if not place.is_dir():
        return [sound for sound in read_manifest(place) if sound.path is not None]
    files = sorted(path for path in place.rglob("*") if path.suffix.lower() in _SOUND_FILES)
    if not files:
        raise ConfigError(f"{place} holds no recordings ({', '.join(_SOUND_FILES)})")
    return [Utterance(path=path, text=None) for path in files]


def augment(
    samples: Tensor,
    sample_rate: int,
    config: AugmentationConfig,
    generator: torch.Generator,
    *,
    sounds: Sounds | None = None,
) -> Tensor:
    """Disturb a recording: (num_samples,) -> (num_samples',), peak at most 1.

    The length changes only with the speed.

    Raises:
        AudioError: If a recording among the sounds cannot be read.
    """
    sounds = sounds or Sounds()
    if _happens(config.speed_probability, generator):
        percent = int(
            torch.randint(-config.speed_percent, config.speed_percent + 1, (), generator=generator)
        )
        samples = resample(samples, sample_rate, sample_rate * (100 - percent) // 100)
    if _happens(config.room_probability, generator):
        room = _one_of(sounds.rooms, generator)
        if room is None:
            decay_seconds = config.max_decay_seconds * _uniform(generator)
            samples = add_room(samples, sample_rate, decay_seconds, generator)
        else:
            samples = add_recorded_room(samples, sounds.samples(room, sample_rate), sample_rate)
    if _happens(config.noise_probability, generator):
        spread = config.max_snr_db - config.min_snr_db
        snr_db = config.min_snr_db + spread * _uniform(generator)
        recorded = _one_of(sounds.noises, generator)
        if recorded is None:
            noise = noise_like(samples, snr_db, generator)
        else:
            noise = stretch_of(sounds.samples(recorded, sample_rate), len(samples), generator)
            noise = at_snr(noise, samples, snr_db)
        samples = samples + noise
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
    return _convolve(samples, response)


def add_recorded_room(samples: Tensor, response: Tensor, sample_rate: int) -> Tensor:
    """Put speech into a recorded room: (N,) convolved with its impulse response (M,) -> (N,).

    The direct path is the loudest sample of the response; it becomes 1 and comes at once.
    """
    if not response.any():  # silence, or nothing at all
        return samples
    response = response[int(response.abs().argmax()) :][: int(_LONGEST_ROOM_SECONDS * sample_rate)]
    return _convolve(samples, response / response[0])


def _convolve(samples: Tensor, response: Tensor) -> Tensor:
    """Convolve without a change of length: (N,), (M,) -> (N,)."""
    size = _fast_length(len(samples) + len(response))
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
    return at_snr(noise, samples, snr_db)


def at_snr(noise: Tensor, samples: Tensor, snr_db: float) -> Tensor:
    """Scale noise so that speech has ``snr_db`` more mean power: (N,), (N,) -> (N,)."""
    wanted = samples.square().mean().sqrt() * 10.0 ** (-snr_db / 20.0)
    return noise * (wanted / noise.square().mean().sqrt().clamp(min=1e-12))


def stretch_of(noise: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Cut a stretch out of a recording, from anywhere and around its end: (M,) -> (length,)."""
    if not len(noise):
        return torch.zeros(length)
    start = int(torch.randint(len(noise), (), generator=generator))
    return noise[(start + torch.arange(length)) % len(noise)]


def _one_of(sounds: Sequence[Utterance], generator: torch.Generator) -> Utterance | None:
    """Draw a recording; None if echo or noise shall be made up."""
    if not sounds or _happens(_MADE_UP, generator):
        return None
    return sounds[int(torch.randint(len(sounds), (), generator=generator))]


def _fast_length(length: int) -> int:
    """Return a power of two above ``length``: Fourier transforms of prime length are slow."""
    return 1 << length.bit_length()


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _happens(probability: float, generator: torch.Generator) -> bool:
    return _uniform(generator) < probability
