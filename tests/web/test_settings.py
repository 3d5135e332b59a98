"""What a client may ask for, and what it is told it gets."""

from dataclasses import replace
from typing import Any

import pytest

from web.errors import ClientError
from web.settings import Settings, update

START = Settings(model="nano", voice="nano", can_transcribe=True)


def ask(*wanted: dict[str, Any]) -> dict[str, Any]:
    settings = START
    for one in wanted:
        settings = update(settings, one)
    return settings.to_json()


def detection(*wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    found = ask(*({"audio": {"input": {"turn_detection": one}}} for one in wanted))
    return found["audio"]["input"]["turn_detection"]


def test_what_is_absent_stays() -> None:
    assert ask({}, {"audio": {}}, {"audio": {"input": {}}}) == START.to_json()
    both = ask({"instructions": "Be brief."}, {"output_modalities": ["text"]})
    assert both["instructions"] == "Be brief."
    assert both["output_modalities"] == ["text"]


def test_null_switches_off_and_a_part_merges() -> None:
    assert detection(None) is None
    changed = detection({"threshold": 0.8}, {"silence_duration_ms": 700})
    assert changed is not None
    assert (changed["threshold"], changed["silence_duration_ms"]) == (0.8, 700)
    assert changed["type"] == "server_vad"
    assert detection(None, {"threshold": 0.7}) == {**changed, "threshold": 0.7} | {
        "silence_duration_ms": 500
    }


def test_another_type_begins_with_its_own_defaults() -> None:
    semantic = detection({"create_response": False}, {"type": "semantic_vad", "eagerness": "low"})
    assert semantic == {
        "type": "semantic_vad",
        "eagerness": "low",
        "create_response": True,
        "interrupt_response": True,
    }


def test_what_clients_send_at_the_start_is_accepted() -> None:
    livekit = ask(
        {
            "type": "realtime",
            "model": "gpt-realtime",
            "voice": "marin",
            "instructions": "You are helpful.",
            "tool_choice": {"type": "function", "name": "x"},
            "tools": [{"type": "function", "name": "x", "parameters": {}}],
            "max_output_tokens": "inf",
            "tracing": None,
            "something_new": 5,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "noise_reduction": None,
                    "transcription": {"model": "gpt-4o-mini-transcribe", "delay": "low"},
                    "turn_detection": {"type": "semantic_vad", "eagerness": "medium"},
                },
                "output": {"format": {"type": "audio/pcm"}, "voice": "marin", "speed": 1.0},
            },
        }
    )
    assert livekit["model"] == "nano"
    assert livekit["audio"]["output"]["voice"] == "nano", "what it gets, not what it asked for"
    assert livekit["tool_choice"] == "auto", "an object makes one client stop"
    assert livekit["audio"]["input"]["transcription"] == {"model": "gpt-4o-mini-transcribe"}
    assert "something_new" not in livekit


def voice(asked: object) -> dict[str, Any]:
    return {"audio": {"output": {"voice": asked}}}


def test_a_voice_is_asked_for_by_name() -> None:
    start = replace(START, voices=("default", "ben"))
    for asked, given in (("ben", "ben"), ({"id": "ben"}, "ben"), ("nano", "nano"), (None, "nano")):
        assert update(start, voice(asked)).voice == given
    ben = update(start, voice("ben"))
    assert ben.to_json()["audio"]["output"]["voice"] == "ben"
    assert update(ben, {"instructions": "Go on."}).voice == "ben"
    assert update(ben, voice("marin")).voice == "ben", "OpenAI's: clients ask for it unasked"
    assert update(ben, voice("default")).voice == "default"


@pytest.mark.parametrize("asked", ["eve", "", 5, {"id": "eve"}, ["ben"]])
def test_an_unknown_voice_is_refused_and_the_known_are_listed(asked: object) -> None:
    with pytest.raises(ClientError, match=r"expected one of \['nano', 'ben'\]") as error:
        update(replace(START, voices=("ben",)), voice(asked))
    assert error.value.param == "session.audio.output.voice"


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"modalities": ["audio", "text"]}, "session.modalities"),
        ({"input_audio_format": "pcm16"}, "session.input_audio_format"),
        ({"output_modalities": ["audio", "text"]}, "session.output_modalities"),
        ({"instructions": 5}, "session.instructions"),
        ({"max_output_tokens": 0}, "session.max_output_tokens"),
        ({"max_output_tokens": True}, "session.max_output_tokens"),
        ({"tools": "x"}, "session.tools"),
        ({"audio": 5}, "session.audio"),
        ({"audio": {"input": {"format": {"type": "mp3"}}}}, "session.audio.input.format.type"),
        (
            {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
            "session.audio.output.format.rate",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "magic"}}}},
            "session.audio.input.turn_detection.type",
        ),
        (
            {"audio": {"input": {"turn_detection": {"threshold": float("nan")}}}},
            "session.audio.input.turn_detection.threshold",
        ),
        (
            {"audio": {"input": {"turn_detection": {"silence_duration_ms": -1}}}},
            "session.audio.input.turn_detection.silence_duration_ms",
        ),
        (
            {"audio": {"input": {"turn_detection": {"interrupt_response": "yes"}}}},
            "session.audio.input.turn_detection.interrupt_response",
        ),
    ],
)
def test_what_would_garble_the_conversation_is_refused(wanted: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientError) as error:
        update(START, wanted)
    assert error.value.param == param
