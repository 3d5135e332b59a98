"""How far one waveform is from another, in the measures of the field.

Letters used in shapes: N samples, C mel bands, M mel frames.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import librosa
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from decoder.features import log_mel
from decoder.spectral_loss import log_spectral_distance
from voiceglm.audio import resample

DISTANCE_RATE = 22_050  # hertz, of spectra
INTELLIGIBILITY_RATE = 16_000  # hertz, of STOI and PESQ
_F0_HERTZ = (65.0, 500.0)
_MIN_SECONDS = 0.5  # STOI cuts silence away and then needs 0.4 s


class SpeakerEncoder(Protocol):
    """Tells voices apart."""

    def embed(self, samples: Tensor, sample_rate: int) -> Tensor:
        """Return what is alike for recordings of one speaker: (N,) -> (S,)."""
        ...


@dataclass(frozen=True)
class Measure:
    """One way to compare a waveform with its original."""

    name: str
    unit: str
    package: str  # that it needs and that is optional; empty for none
    compare: Callable[[Tensor, Tensor, int], float | None]  # (original, made, hertz); None: cannot

    @property
    def is_available(self) -> bool:
        """Whether what it needs is installed."""
        return not self.package or find_spec(self.package) is not None


def align(original: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """Cut two waveforms of one rate to the length of the shorter: the last code is a whole one."""
    length = min(len(original), len(made))
    return original[:length], made[:length]


def speaker_similarity(
    speakers: SpeakerEncoder, original: Tensor, made: Tensor, sample_rate: int
) -> float:
    """Return the cosine of two embeddings: 1 for the same voice."""
    one, other = (speakers.embed(samples, sample_rate) for samples in (original, made))
    return float(F.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def median_pitch(samples: Tensor, sample_rate: int) -> float | None:
    """Return the median F0 in semitones above 1 Hz, by librosa's pyin; None if all is unvoiced."""
    hertz = _pitch(samples, sample_rate)
    voiced = hertz[np.isfinite(hertz)]
    return float(12 * np.log2(np.median(voiced))) if len(voiced) else None


def _stoi(original: Tensor, made: Tensor, sample_rate: int, *, extended: bool) -> float | None:
    from pystoi import stoi

    if len(original) < _MIN_SECONDS * sample_rate:
        return None
    return float(stoi(original.numpy(), made.numpy(), sample_rate, extended=extended))


def _short_time_intelligibility(original: Tensor, made: Tensor, rate: int) -> float | None:
    return _stoi(*_at(INTELLIGIBILITY_RATE, original, made, rate), extended=False)


def _extended_intelligibility(original: Tensor, made: Tensor, rate: int) -> float | None:
    return _stoi(*_at(INTELLIGIBILITY_RATE, original, made, rate), extended=True)


def _pesq(original: Tensor, made: Tensor, rate: int) -> float | None:
    from pesq import PesqError, pesq  # pyright: ignore[reportMissingImports]

    one, other, rate = _at(INTELLIGIBILITY_RATE, original, made, rate)
    try:
        return float(pesq(rate, one.numpy(), other.numpy(), "wb"))
    except PesqError:  # it finds no utterance in what is short or quiet
        return None


def _mel_distance(original: Tensor, made: Tensor, rate: int) -> float:
    one, other, _ = _at(DISTANCE_RATE, original, made, rate)
    return float((log_mel(one) - log_mel(other)).abs().mean())


def _log_spectral_distance(original: Tensor, made: Tensor, rate: int) -> float:
    one, other, _ = _at(DISTANCE_RATE, original, made, rate)
    return float(log_spectral_distance(other[None], one[None]))


def _pitch_error(original: Tensor, made: Tensor, rate: int) -> float | None:
    """Return the median distance of F0 in semitones where both are voiced."""
    one, other, rate = _at(INTELLIGIBILITY_RATE, original, made, rate)
    tracks = np.stack([_pitch(one, rate), _pitch(other, rate)])  # (2, frames)
    voiced = tracks[:, np.isfinite(tracks).all(axis=0)]
    if not voiced.shape[1]:
        return None
    return float(np.median(np.abs(12 * np.log2(voiced[0] / voiced[1]))))


def _pitch(samples: Tensor, sample_rate: int) -> np.ndarray:
    """Return F0 in hertz of every frame, NaN where nothing is voiced."""
    low, high = _F0_HERTZ
    frame = 2 ** math.ceil(math.log2(3 * sample_rate / low))  # three periods of the lowest F0
    padded = F.pad(samples, (0, max(0, frame - len(samples))))
    return librosa.pyin(padded.numpy(), fmin=low, fmax=high, sr=sample_rate, frame_length=frame)[0]


def _at(rate: int, original: Tensor, made: Tensor, source_rate: int) -> tuple[Tensor, Tensor, int]:
    one, other = (resample(each.to(torch.float32), source_rate, rate) for each in (original, made))
    return one, other, rate


MEASURES = (
    Measure("STOI", "", "pystoi", _short_time_intelligibility),
    Measure("extended STOI", "", "pystoi", _extended_intelligibility),
    Measure("PESQ, wide band", "MOS-LQO", "pesq", _pesq),
    Measure("mean difference of log-mels", "", "", _mel_distance),
    Measure("log-spectral distance", "dB", "", _log_spectral_distance),
    Measure("median pitch error", "semitones", "", _pitch_error),
)
"""STOI: Taal et al. 2011; extended: Jensen and Taal 2016; PESQ: ITU-T P.862.2. Needs of a waveform
that it says the original's words in its time, which resynthesis from codes does."""
