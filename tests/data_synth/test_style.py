"""Styles: wishes become settings, and what is heard has changed as was asked."""

import math
from dataclasses import replace
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from torch import Tensor

from data_synth.style import joined, speak_in_style, styled
from data_synth.tts import ASSISTANT, SAMPLE_RATE, Espeak, Voice

SENTENCES = (
    "The capital of France is Paris.",
    "Seven plus six is thirteen.",
    "Five, six, seven, eight, nine.",
)


@pytest.fixture(scope="module")
def engine() -> Espeak:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    return Espeak()


def say(engine: Espeak, text: str, style: dict[str, Any]) -> Tensor:
    samples, unmet = speak_in_style(text, ASSISTANT, style, engine.speak)
    assert unmet == []
    return samples


def semitones(samples: Tensor) -> float:
    """Return the median F0, above 1 Hz."""
    hertz, *_ = librosa.pyin(samples.numpy(), fmin=70, fmax=500, sr=SAMPLE_RATE)
    return 12 * math.log2(float(np.nanmedian(hertz)))


def spread(samples: Tensor) -> float:
    """Return how far F0 moves, in semitones."""
    hertz, *_ = librosa.pyin(samples.numpy(), fmin=70, fmax=500, sr=SAMPLE_RATE)
    return float(np.nanstd(12 * np.log2(hertz)))


def level(samples: Tensor) -> float:
    """Return the level in decibels."""
    return 10 * math.log10(float(samples.square().mean()))


@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("rate", [0.6, "slow", 1.0, "fast", 1.6, 2.0])
def test_a_rate_changes_how_long_it_takes(engine: Espeak, text: str, rate: float | str) -> None:
    factor = {"slow": 0.8, "fast": 1.25}.get(str(rate), rate)
    assert isinstance(factor, float)
    plain, changed = len(say(engine, text, {})), len(say(engine, text, {"rate": rate}))
    assert changed == pytest.approx(plain / factor, rel=0.15)


def test_the_slowest_is_what_the_engine_can(engine: Espeak) -> None:
    plain, slow = (len(say(engine, SENTENCES[2], s)) for s in ({}, {"rate": 0.5}))
    assert slow == pytest.approx(2 * plain, rel=0.15)
    hasty = replace(ASSISTANT, rate=90)
    samples, unmet = speak_in_style(SENTENCES[0], hasty, {"rate": 0.5}, engine.speak)
    assert unmet == ["rate off by over 15 %"], "80 words a minute is the least it can do"
    assert len(samples) < 1.7 * len(engine.speak(SENTENCES[0], hasty))


@pytest.mark.parametrize(
    ("pitch", "asked"), [(-4, -4), ("low", -2.5), ("high", 3), (4, 4), ("very high", 6)]
)
def test_a_pitch_changes_the_median_f0(engine: Espeak, pitch: Any, asked: float) -> None:
    for text in SENTENCES[:2]:
        plain, changed = (semitones(say(engine, text, s)) for s in ({}, {"pitch": pitch}))
        assert changed - plain == pytest.approx(asked, abs=0.8)


@pytest.mark.parametrize(
    ("volume", "asked"), [("very soft", -12), (-6, -6), ("soft", -6), (3, 3), ("very loud", 6)]
)
def test_a_volume_changes_the_level(engine: Espeak, volume: Any, asked: float) -> None:
    for text in SENTENCES:
        plain, changed = (say(engine, text, s) for s in ({}, {"volume": volume}))
        assert level(changed) - level(plain) == pytest.approx(asked, abs=1.5)
        assert changed.abs().max() <= 1
        assert len(changed) == pytest.approx(len(plain), rel=0.05)


def test_emotions_differ_in_rate_pitch_and_liveliness(engine: Espeak) -> None:
    text = SENTENCES[0]
    sad, plain, cheerful = (
        say(engine, text, {"emotion": e}) for e in ("sad", "neutral", "cheerful")
    )
    assert len(sad) > 1.1 * len(plain) > 1.1 * 1.05 * len(cheerful)
    assert semitones(sad) + 1 < semitones(plain) < semitones(cheerful) - 1
    assert spread(sad) + 0.3 < spread(plain) < spread(cheerful) - 0.3


def test_a_whisper_has_no_pitch() -> None:
    # A pitch is found in noise now and then; spoken alone, the noise is the same each time.
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")

    def share_voiced(text: str, style: dict[str, Any]) -> float:
        samples, _ = speak_in_style(text, ASSISTANT, style)
        _, voiced, _ = librosa.pyin(samples.numpy(), fmin=70, fmax=500, sr=SAMPLE_RATE)
        return float(voiced.mean())

    for text in SENTENCES[:2]:
        assert share_voiced(text, {}) > 0.5
        assert share_voiced(text, {"emotion": "whisper"}) < 0.1


def test_a_style_leaves_the_next_sentence_alone(engine: Espeak) -> None:
    plain = say(engine, SENTENCES[0], {})
    say(engine, SENTENCES[0], {"volume": -12, "pitch": 6, "rate": 1.5, "emotion": "sad"})
    again = say(engine, SENTENCES[0], {})
    assert level(again) == pytest.approx(level(plain), abs=0.3)
    assert semitones(again) == pytest.approx(semitones(plain), abs=0.3)


def test_no_style_is_the_voice_itself() -> None:
    for style in ({}, {"rate": None}, {"rate": "normal", "pitch": "medium", "emotion": "neutral"}):
        found = styled(ASSISTANT, style)
        assert (found.voice, found.rate, found.unmet) == (ASSISTANT, 1.0, [])


def test_words_in_any_dress() -> None:
    for word in ("very slow", "Very-Slow", "x-slow", " very_slow "):
        assert styled(ASSISTANT, {"rate": word}).rate == 0.6


def test_wishes_add_up() -> None:
    found = styled(ASSISTANT, {"emotion": "cheerful", "rate": 1.2, "pitch": 2, "volume": -6})
    assert found.rate == pytest.approx(1.32)
    assert found.voice.pitch_range > ASSISTANT.pitch_range
    assert found.voice.pitch > styled(ASSISTANT, {"pitch": 2}).voice.pitch
    assert found.voice.volume == 50


@pytest.mark.parametrize(
    ("style", "unmet"),
    [
        ({"dialect": "Scots"}, ["dialect: Scots"]),
        ({"emotion": "angry"}, ["emotion: angry"]),
        ({"emotion": ["sad"]}, ["emotion: ['sad']"]),
        ({"rate": "zippy"}, ["rate: zippy"]),
        ({"rate": True, "pitch": {}}, ["rate: True", "pitch: {}"]),
        ({"rate": float("nan"), "volume": float("inf")}, ["rate: nan", "volume: inf"]),
        ({"rate": 0}, ["rate: 0"]),
        ({"rate": -1}, ["rate: -1"]),
        ({"text": "x" * 100}, [f"text: {'x' * 51}..."]),
    ],
)
def test_what_cannot_be_done_is_named_and_changes_nothing(
    style: dict[str, Any], unmet: list[str]
) -> None:
    found = styled(ASSISTANT, style)
    assert (found.voice, found.rate, found.unmet) == (ASSISTANT, 1.0, unmet)


@pytest.mark.parametrize(
    ("style", "nearest", "unmet"),
    [
        ({"rate": 3}, {"rate": 2.0}, "rate over 2"),
        ({"rate": 0.1}, {"rate": 0.5}, "rate under 0.5"),
        ({"rate": 0.5, "emotion": "sad"}, {"rate": 0.5 / 0.85, "emotion": "sad"}, "rate under 0.5"),
        ({"pitch": 24}, {"pitch": 9}, "pitch over 9"),
        ({"volume": -40}, {"volume": -12}, "volume under -12"),
    ],
)
def test_too_much_is_done_as_far_as_it_goes(
    style: dict[str, Any], nearest: dict[str, Any], unmet: str
) -> None:
    found = styled(ASSISTANT, style)
    assert found.unmet == [unmet]
    assert found.voice == styled(ASSISTANT, nearest).voice


def test_a_whisper_cannot_have_a_pitch_too() -> None:
    found = styled(ASSISTANT, {"emotion": "whisper", "pitch": "high"})
    assert found.unmet == ["pitch of a whisper"]
    assert found.voice.name == "en-us+whisperf"


def test_a_turn_prevails_over_its_dialogue() -> None:
    assert joined({"rate": 2, "pitch": 1}, {"rate": 1}) == ({"rate": 1, "pitch": 1}, [])
    assert joined(None, {"rate": 1}) == ({"rate": 1}, [])
    assert joined("fast", {"rate": 1}) == ({"rate": 1}, ["a style that is no object"])


def test_the_rate_is_found_for_an_engine_that_hurries() -> None:
    def speak(text: str, voice: Voice) -> Tensor:
        return torch.zeros(round(len(text) * (160 / voice.rate) ** 1.4))

    for rate in (0.6, 1.6):
        samples, unmet = speak_in_style("x" * 100_000, Voice("x", rate=160), {"rate": rate}, speak)
        assert len(samples) == pytest.approx(100_000 / rate, rel=0.05)
        assert unmet == []
