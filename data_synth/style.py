"""How a reply is to be spoken: the style a written dialogue asks for, as settings of espeak-ng.

A style is a JSON object with any of

    rate     how many times as fast, 0.5 to 2, or "slow", "very slow", "fast", "very fast"
    pitch    semitones, -6 to 9, or "low", "very low", "high", "very high"
    volume   decibels, -12 to 6, or "soft", "very soft", "loud", "very loud"
    emotion  "cheerful", "sad", "whisper" or "neutral"

Whatever else it asks for is done as far as the engine can, or not at all, and named.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from data_synth.tts import Voice, speak_alone

_WHISPER = "whisperf"  # the variant of espeak-ng nearest to the assistant's own

# Median F0 of the assistant in semitones above its own, by espeak-ng's pitch: measured over three
# sentences with librosa's pyin.
_PITCHES = (0, 10, 20, 30, 38, 45, 52, 60, 70, 80, 99)
_SEMITONES = (-6.3, -5.3, -3.9, -2.4, -1.2, 0.0, 1.2, 2.5, 4.4, 6.2, 10.0)


@dataclass(frozen=True)
class _Scale:
    """What a field of a style may be."""

    words: Mapping[str, float]
    least: float
    most: float


_SCALES = {
    "rate": _Scale({"very slow": 0.6, "slow": 0.8, "fast": 1.25, "very fast": 1.6}, 0.5, 2.0),
    "pitch": _Scale({"very low": -5.0, "low": -2.5, "high": 3.0, "very high": 6.0}, -6.0, 9.0),
    "volume": _Scale({"very soft": -12.0, "soft": -6.0, "loud": 3.0, "very loud": 6.0}, -12.0, 6.0),
}
_NEUTRAL = {"rate": 1.0, "pitch": 0.0, "volume": 0.0}
_NO_CHANGE = ("normal", "medium", "neutral", "default")


@dataclass(frozen=True)
class _Emotion:
    """What stands for an emotion."""

    changes: Mapping[str, float] = field(default_factory=dict)
    pitch_range: int | None = None
    whispers: bool = False


_EMOTIONS = {
    "neutral": _Emotion(),
    "cheerful": _Emotion({"rate": 1.1, "pitch": 1.5}, pitch_range=75),
    "happy": _Emotion({"rate": 1.1, "pitch": 1.5}, pitch_range=75),
    "sad": _Emotion({"rate": 0.85, "pitch": -1.0}, pitch_range=20),
    "whisper": _Emotion(whispers=True),
}


_RATES = (80, 450)  # words per minute, what espeak-ng can do
_NEAR, _FAR = 0.04, 0.15  # of a length: good enough, and not what was asked for
_ATTEMPTS = 4


@dataclass(frozen=True)
class Styled:
    """A voice that is to speak in a style."""

    voice: Voice  # its rate is a first guess
    rate: float  # how many times as fast as without the style
    unmet: list[str]  # what was asked for and cannot be done


def joined(earlier: Any, later: Any) -> tuple[dict[str, Any], list[str]]:
    """Return one style of a dialogue's and a turn's, which prevails, and what is no style."""
    both: dict[str, Any] = {}
    unmet = []
    for style in (earlier, later):
        if isinstance(style, dict):
            both |= style
        elif style is not None:
            unmet.append("a style that is no object")
    return both, unmet


def styled(voice: Voice, style: Mapping[str, Any]) -> Styled:
    """Give a voice a style.

    Args:
        voice: Speaks at 100 of volume.
        style: As a written dialogue has it; see above.
    """
    wishes = {name: value for name, value in style.items() if value is not None}
    emotion, unmet = _emotion(wishes.pop("emotion", "neutral"))
    changes = {**_NEUTRAL, **emotion.changes}
    for name, value in wishes.items():
        number = _number(name, value)
        if number is None:
            unmet.append(_short(name, value))
        elif name == "rate":
            changes[name] *= number
        else:
            changes[name] += number
    for name, scale in _SCALES.items():
        if changes[name] < scale.least:
            unmet.append(f"{name} under {scale.least:g}")
        elif changes[name] > scale.most:
            unmet.append(f"{name} over {scale.most:g}")
        changes[name] = min(max(changes[name], scale.least), scale.most)
    if emotion.whispers and changes["pitch"]:
        unmet.append("pitch of a whisper")
    return Styled(_changed(voice, changes, emotion), changes["rate"], unmet)


def speak_in_style(
    text: str,
    voice: Voice,
    style: Mapping[str, Any],
    speak: Callable[[str, Voice], Tensor] = speak_alone,
) -> tuple[Tensor, list[str]]:
    """Say ``text`` in a style.

    espeak-ng leaves pauses out when it hurries, so its rate is set by how long it speaks.

    Args:
        text: What is said.
        voice: Who says it.
        style: How.
        speak: The synthesizer.

    Returns:
        (num_samples,), and what was asked for and cannot be done.

    Raises:
        SynthesisError: If nothing was said.
    """
    wanted = styled(voice, style)
    if wanted.rate == 1:
        return speak(text, wanted.voice), wanted.unmet
    length = len(speak(text, replace(wanted.voice, rate=voice.rate))) / wanted.rate
    found, off = _of_length(text, wanted.voice, length, speak)
    return found, [*wanted.unmet, *(["rate off by over 15 %"] if off > _FAR else [])]


def _of_length(
    text: str, voice: Voice, length: float, speak: Callable[[str, Voice], Tensor]
) -> tuple[Tensor, float]:
    """Return what has nearly ``length`` samples, and by which share it has not."""
    rate, best = voice.rate, None
    for _ in range(_ATTEMPTS):
        samples = speak(text, replace(voice, rate=rate))
        off = abs(len(samples) / length - 1)
        if best is None or off < best[1]:
            best = samples, off
        changed = min(max(round(rate * len(samples) / length), _RATES[0]), _RATES[1])
        if off < _NEAR or changed == rate:
            break
        rate = changed
    assert best, "it is spoken at least once"
    return best


def _emotion(name: Any) -> tuple[_Emotion, list[str]]:
    found = _EMOTIONS.get(_word(name))
    return (found, []) if found else (_EMOTIONS["neutral"], [_short("emotion", name)])


def _number(name: str, value: Any) -> float | None:
    """Read a wish: a number, or a word for one; None if it is neither."""
    scale = _SCALES.get(name)
    if scale is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        is_usable = math.isfinite(value) and (name != "rate" or value > 0)
        return float(value) if is_usable else None
    word = _word(value)
    return _NEUTRAL[name] if word in _NO_CHANGE else scale.words.get(word)


def _word(value: Any) -> str:
    """Write a wish as it stands above; ``x-slow`` is what SSML calls very slow."""
    if not isinstance(value, str):
        return ""
    word = value.strip().lower()
    word = f"very {word.removeprefix('x-')}" if word.startswith("x-") else word
    return " ".join(word.replace("_", " ").replace("-", " ").split())


def _short(name: str, value: Any) -> str:
    shown = f"{name}: {value}"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _changed(voice: Voice, changes: Mapping[str, float], emotion: _Emotion) -> Voice:
    own = np.interp(voice.pitch, _PITCHES, _SEMITONES)
    pitch = np.interp(own + changes["pitch"], _SEMITONES, _PITCHES)
    name = f"{voice.name.partition('+')[0]}+{_WHISPER}" if emotion.whispers else voice.name
    pitch_range = voice.pitch_range if emotion.pitch_range is None else emotion.pitch_range
    return replace(
        voice,
        name=name,
        rate=round(voice.rate * changes["rate"]),
        pitch=round(float(pitch)),
        pitch_range=pitch_range,
        volume=round(voice.volume * 10 ** (changes["volume"] / 20)),
    )
