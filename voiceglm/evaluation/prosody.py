"""How something was said, measured on its audio: how fast, high, lively, loud, with how much voice.

Letters used in shapes: N samples.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from data_synth.levels import dbfs, frame_powers, frame_size
from data_synth.tts import trim
from decoder.features import MelConfig
from decoder.pitch import PitchConfig, pitch
from voiceglm.audio import resample
from voiceglm.error_rate import plain
from voiceglm.style import RATES, TONES, VOLUMES, Style

RATE_OFF = 0.15
"""By which share a rate may miss the asked one; it must also be nearer to that than to no change,
which is within 15 % of the smallest steps."""
LEAST_SEMITONES = 0.5
LEAST_DECIBELS = 1.0
LEAST_VOICING = 0.1
"""By how much the share of voiced frames falls in a whisper, at the least."""

_QUIET_DB = 40.0  # what is so far below the loudest is a pause
_LIVELY = (10, 90)  # percentiles of F0: slips of the measure lie outside
_MEL, _PITCH = MelConfig(), PitchConfig(high_hz=500.0)


@dataclass(frozen=True)
class Spoken:
    """Something that was said."""

    text: str
    samples: Tensor  # (N,)
    sample_rate: int  # hertz
    language: str = "en"
    style: Style = field(default_factory=Style)  # that whoever spoke says it has


@dataclass(frozen=True)
class Prosody:
    """How it was said."""

    rate: float  # letters or characters per second, between the first and the last sound
    level: float  # dBFS, of what is no pause
    voiced: float  # share of frames between the first and the last sound
    pitch: float | None  # median F0 in semitones above 1 Hz; None if all is unvoiced
    range: float | None  # semitones between the 10th and the 90th percentile of F0


def prosody(spoken: Spoken) -> Prosody | None:
    """Measure what was said; ``None`` if it is silent or has no text."""
    letters = len(plain(spoken.text, spoken.language).replace(" ", ""))
    if not letters or not spoken.samples.any():
        return None
    peak = float(spoken.samples.abs().max())
    samples = trim(spoken.samples, threshold=peak * 10 ** (-_QUIET_DB / 20), margin=0)
    heard = resample(samples.float(), spoken.sample_rate, _MEL.sample_rate)
    hertz = pitch(heard, _MEL, _PITCH).numpy()
    semitones = 12 * np.log2(hertz[hertz > 0])
    low, high = np.percentile(semitones, _LIVELY) if len(semitones) else (0.0, 0.0)
    return Prosody(
        rate=letters * spoken.sample_rate / len(samples),
        level=_level(samples, spoken.sample_rate),
        voiced=len(semitones) / max(1, len(hertz)),
        pitch=float(np.median(semitones)) if len(semitones) else None,
        range=float(high - low) if len(semitones) else None,
    )


def changes(before: Prosody, after: Prosody) -> dict[str, float | None]:
    """Return what is different: a factor of ``rate``, differences of all else in their units."""
    return {
        "rate": after.rate / before.rate,
        "level": after.level - before.level,
        "voiced": after.voiced - before.voiced,
        "pitch": _difference(before.pitch, after.pitch),
        "range": _difference(before.range, after.range),
    }


def is_as_asked(name: str, changed: dict[str, float | None]) -> bool:
    """Say whether speech changed as a style says.

    Args:
        name: A rate, tone or volume of ``voiceglm.style``.
        changed: What :func:`changes` gives.
    """
    if name in RATES:
        rate, asked = changed["rate"] or 0.0, RATES[name]
        is_nearer = (rate - 1) * (asked - 1) > 0 and rate > 0 and _far(rate, asked) < _far(rate, 1)
        return is_nearer and abs(rate / asked - 1) <= RATE_OFF
    if name in VOLUMES:
        return (changed["level"] or 0.0) * np.sign(VOLUMES[name]) >= LEAST_DECIBELS
    assert name in TONES, f"{name} is not measured"
    if name == "whisper":
        return (changed["voiced"] or 0.0) <= -LEAST_VOICING
    sign = 1 if name in ("high", "cheerful") else -1
    is_moved = sign * (changed["pitch"] or 0.0) >= LEAST_SEMITONES
    if name in ("high", "low"):
        return is_moved
    return is_moved and sign * (changed["range"] or 0.0) > 0


def _far(one: float, other: float) -> float:
    """Return how far apart two rates are."""
    return abs(math.log(one / other))


def _level(samples: Tensor, sample_rate: int) -> float:
    powers = frame_powers(samples.numpy()[:, None], frame_size(sample_rate))[:, 0]
    loud = powers[dbfs(powers) > dbfs(float(powers.max())) - _QUIET_DB]
    return float(dbfs(float(np.mean(loud))))


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
