"""Waveforms in and out of files: any rate, depth and number of channels in, 16-bit WAV out."""

import io
import math
import struct
import wave
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from torch import Tensor
from torchaudio.functional import resample as sinc_resample

from voiceglm.errors import AudioError
from voiceglm.files import write_file

MIN_SECONDS = 0.1
MAX_SECONDS = 600.0
SILENCE = 1e-4
"""Peak amplitude, -80 dBFS: three steps of 16-bit audio. A quiet room is louder."""

_RATES = range(1_000, 768_001)  # hertz
_BLOCK = 1 << 20  # samples read at once, so that many channels do not fill the memory
_UNKNOWN_LENGTH = 0x7FFF_F000  # what recorders write as a size when they cannot seek back


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says."""

    sample_rate: int  # hertz
    num_samples: int  # of each channel
    num_channels: int
    is_exact: bool  # False: the length is an estimate, as in MP3

    @property
    def seconds(self) -> float:
        """How long the file is."""
        return self.num_samples / self.sample_rate


def probe_audio(path: str | Path) -> AudioInfo:
    """Read the header of an audio file of any length.

    Raises:
        AudioError: If the file is missing, a folder, empty, not audio, or a truncated WAV.
    """
    path = Path(path)
    _check_file(path)
    try:
        with soundfile.SoundFile(path) as file:
            _check_length(file, str(path), None)
            return AudioInfo(file.samplerate, file.frames, file.channels, file.format != "MP3")
    except (soundfile.SoundFileError, AssertionError) as error:
        raise _unreadable(str(path), error) from None


def load_audio(
    path: str | Path, sample_rate: int = 16_000, *, max_seconds: float | None = MAX_SECONDS
) -> Tensor:
    """Read an audio file as mono.

    Args:
        path: WAV, FLAC, OGG, MP3 or another format libsndfile knows; channels are averaged.
        sample_rate: Rate to return, in hertz, whatever the file's own.
        max_seconds: Refuse anything longer without reading it; None takes any length.

    Returns:
        (num_samples,), float32, nominally in [-1, 1].

    Raises:
        AudioError: If the file is missing, a folder, empty, truncated, too long or not audio.
    """
    path = Path(path)
    _check_file(path)
    return _decode(path, str(path), sample_rate, max_seconds)


def read_stretch(path: Path, start: int, frames: int) -> tuple[np.ndarray, int] | None:
    """Read a stretch of a 16-bit WAV at once, as libsndfile would piece by piece.

    Training reads thousands of stretches out of few files; libsndfile takes ten times as long.

    Args:
        path: Any file.
        start: Its first sample.
        frames: How many samples; fewer if the file ends before, all that are left if negative.

    Returns:
        (num_samples, channels), float32, and the rate in hertz; ``None`` for any other file, and
        where there is nothing to read.

    Raises:
        OSError: If there is no such file.
    """
    found = _wav_layout(path, path.stat().st_mtime_ns)
    if found is None or not 0 <= start < found.frames:
        return None
    count = found.frames - start if frames < 0 else min(frames, found.frames - start)
    stretch = np.empty((count, found.channels), "<i2")
    with path.open("rb", buffering=0) as file:
        file.seek(found.offset + start * found.channels * stretch.itemsize)
        if file.readinto(stretch.data.cast("B")) < stretch.nbytes:
            return None
    return stretch.astype(np.float32) / 32_768.0, found.rate


@dataclass(frozen=True)
class _WavLayout:
    """Where the samples of a 16-bit WAV lie."""

    offset: int  # bytes before them
    frames: int
    channels: int
    rate: int  # hertz


@lru_cache(maxsize=4_096)
def _wav_layout(path: Path, changed: int) -> _WavLayout | None:
    """Read the header of a file; ``changed`` tells one version of it from another."""
    del changed
    try:
        with path.open("rb") as file, wave.open(file) as head:
            if head.getsampwidth() != 2:
                return None
            return _WavLayout(
                file.tell(), head.getnframes(), head.getnchannels(), head.getframerate()
            )
    except (wave.Error, EOFError):
        return None


def decode_audio(data: bytes, sample_rate: int, *, what: str) -> Tensor:
    """Read audio from memory, as :func:`load_audio` reads a file of any length.

    Args:
        data: The whole file.
        sample_rate: Rate to return, in hertz, whatever its own.
        what: What to call it in the message.

    Raises:
        AudioError: If it is empty, truncated or not audio.
    """
    _check_bytes(io.BytesIO(data), len(data), what)
    return _decode(io.BytesIO(data), what, sample_rate, None)


def load_speech(path: str | Path, sample_rate: int = 16_000) -> Tensor:
    """Read an audio file that must hold speech: :func:`load_audio`, then :func:`check_samples`."""
    samples = load_audio(path, sample_rate)
    check_samples(samples, sample_rate, what=str(path))
    return samples


def check_samples(samples: Tensor, sample_rate: int, *, what: str) -> None:
    """Refuse a waveform that cannot hold speech.

    Args:
        samples: (num_samples,), floating point.
        sample_rate: In hertz.
        what: What to call it in the message, for example the file's name.

    Raises:
        AudioError: If it is not one channel, holds NaN or infinity, is shorter than 0.1 s,
            longer than ten minutes, or silent.
    """
    if samples.ndim != 1 or not samples.is_floating_point():
        kind = str(samples.dtype).removeprefix("torch.")
        raise AudioError(
            f"{what} is {kind} of shape {tuple(samples.shape)}, expected floats (num_samples,)"
        )
    seconds = len(samples) / sample_rate
    if seconds < MIN_SECONDS:
        raise AudioError(f"{what} is too short: {seconds * 1000:.0f} ms, expected at least 100 ms")
    if seconds > MAX_SECONDS:
        raise _too_long(what, seconds, MAX_SECONDS)
    if not torch.isfinite(samples).all():
        raise AudioError(f"{what} holds samples that are not numbers (NaN or infinity)")
    if samples.abs().max() < SILENCE:
        raise AudioError(f"{what} is silent; check the microphone or the file")


def resample(samples: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Change the sample rate with a windowed sinc: (..., N) -> (..., about N * target / source).

    A source rate that has next to no divisor in common with the target, such as 44,101 Hz,
    would need a filter of gigabytes and is taken as the nearest multiple of 25 Hz.

    Raises:
        AudioError: If a rate is under 1 kHz or over 768 kHz.
    """
    for rate in (source_rate, target_rate):
        if rate not in _RATES:
            raise AudioError(f"cannot resample a rate of {rate} Hz, expected 1,000 to 768,000 Hz")
    if source_rate == target_rate or not samples.shape[-1]:
        return samples
    shared = math.gcd(source_rate, target_rate)
    if (source_rate // shared) * (target_rate // shared) > 10_000_000:
        source_rate = round(source_rate / 25) * 25
    return sinc_resample(samples, source_rate, target_rate)


def save_audio(path: str | Path, samples: Tensor, sample_rate: int) -> None:
    """Write a 16-bit mono WAV, whole or not at all; what leaves [-1, 1] is clipped.

    Args:
        path: The file to write; its folder must exist.
        samples: (num_samples,), floating point.
        sample_rate: In hertz.

    Raises:
        AudioError: If the samples hold NaN or infinity.
        OutputError: If the file cannot be written, for example on a full disk.
    """
    if not torch.isfinite(samples).all():
        raise AudioError(f"{path} was not written: its samples are not numbers (NaN or infinity)")
    write_file(path, wav_bytes(samples, sample_rate))


def wav_bytes(samples: Tensor, sample_rate: int) -> bytes:
    """Return a 16-bit mono WAV; what leaves [-1, 1] is clipped.

    Args:
        samples: (num_samples,), floating point and finite.
        sample_rate: In hertz.
    """
    wav = io.BytesIO()
    pcm = (samples.detach().cpu().float().clamp(-1.0, 1.0) * 32767.0).round().to(torch.int16)
    soundfile.write(wav, pcm.numpy(), sample_rate, format="WAV", subtype="PCM_16")
    return wav.getvalue()


def _decode(
    source: Path | io.BytesIO, what: str, sample_rate: int, max_seconds: float | None
) -> Tensor:
    try:
        with soundfile.SoundFile(source) as file:
            _check_length(file, what, max_seconds)
            samples = _read_mono(file)
            source_rate, promised = file.samplerate, file.frames
            exact = file.format != "MP3"  # whose length is an estimate
    except (soundfile.SoundFileError, AssertionError) as error:
        raise _unreadable(what, error) from None
    if exact and len(samples) < promised:
        raise _truncated(what, promised, len(samples), "samples")
    return resample(samples, source_rate, sample_rate)


def _check_file(path: Path) -> None:
    """Refuse what is no whole file, which libsndfile reports badly or not at all."""
    try:
        if path.is_dir():
            raise AudioError(f"{path} is a folder, expected an audio file")
        if not path.exists():
            raise AudioError(f"no such file: {path}")
        if not path.is_file():
            raise AudioError(f"{path} is not a regular file, expected an audio file")
        size = path.stat().st_size
        with path.open("rb") as file:
            _check_bytes(file, size, str(path))
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror}") from None


def _check_bytes(file: BinaryIO, size: int, what: str) -> None:
    promised, there = _wav_data_bytes(file, size)
    if size == 0:
        raise AudioError(f"{what} is empty (0 bytes), expected an audio file")
    if promised > there:
        raise _truncated(what, promised, there, "bytes of samples")


def _wav_data_bytes(file: BinaryIO, size: int) -> tuple[int, int]:
    """Return the bytes of samples a WAV header promises and those there; zeros if unknown.

    libsndfile plays what is there and is silent about the rest.
    """
    header = file.read(12)
    if header[:4] != b"RIFF" or header[8:] != b"WAVE":
        return 0, 0
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            return (0, 0) if length >= _UNKNOWN_LENGTH else (length, size - file.tell())
        file.seek(length + length % 2, io.SEEK_CUR)
    return 0, 0


def _read_mono(file: soundfile.SoundFile) -> Tensor:
    mono = []
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):  # (N, channels)
        mono.append(torch.from_numpy(block.mean(axis=1)))
    return torch.cat(mono) if mono else torch.empty(0)


def _check_length(file: soundfile.SoundFile, what: str, max_seconds: float | None) -> None:
    if file.frames == 0:
        raise AudioError(f"{what} holds no samples")
    if file.samplerate not in _RATES:
        raise AudioError(f"{what} has a rate of {file.samplerate} Hz, expected 1,000 to 768,000 Hz")
    seconds = file.frames / file.samplerate
    if max_seconds is not None and seconds > max_seconds:
        raise _too_long(what, seconds, max_seconds)


def _unreadable(what: str, error: Exception) -> AudioError:
    detail = str(error).rpartition(": ")[2].strip().rstrip(".").lower()
    return AudioError(f"{what} is not audio that can be read ({detail})")


def _too_long(what: str, seconds: float, limit: float) -> AudioError:
    return AudioError(
        f"{what} is too long: {seconds:.0f} s, expected at most {limit:.0f} s; cut it into pieces"
    )


def _truncated(what: str, promised: int, there: int, unit: str) -> AudioError:
    return AudioError(
        f"{what} is truncated: its header promises {promised} {unit}, {there} are there"
    )
