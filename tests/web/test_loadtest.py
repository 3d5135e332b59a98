"""Simulated callers measure what a listener would have had to wait for."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.web.conftest import QUESTION, run, serving
from voiceglm.audio import load_audio
from voiceglm.chat import VoiceChat
from voiceglm.cli import main
from web.caller import Question
from web.codec import PCM
from web.loadtest import load_test, spread
from web.player import Player
from web.server import ServerOptions


def test_a_player_starts_with_a_lead_and_counts_what_is_missing() -> None:
    player = Player(lead=0.1)
    player.push(0.06, now=1.0)
    assert not player.is_playing(1.0)
    player.push(0.06, now=1.05)
    assert player.is_playing(1.1)
    player.push(0.1, now=1.10)  # until 1.27
    assert player.underruns == 0
    player.push(0.1, now=1.30)
    assert player.underruns == 1
    assert player.gap == pytest.approx(0.03)
    assert player.clear(1.35) == pytest.approx(1.35 - 1.05 - 0.03)
    assert not player.is_playing(1.35)
    player.push(0.05, now=2.0)
    player.end(now=2.1)
    assert player.is_playing(2.11), "what is shorter than the lead sounds in the end"


def test_the_true_end_of_speech_is_found() -> None:
    tone = 0.5 * np.sin(np.arange(24_000) / 10).astype(np.float32)
    silence = np.zeros(12_000, dtype=np.float32)
    question = Question.of(np.concatenate([silence, tone, silence, silence]))
    assert question.begins == pytest.approx(0.5, abs=0.011)
    assert question.ends == pytest.approx(1.5, abs=0.011)


def test_a_spread() -> None:
    assert spread([]) is None
    assert spread(range(101)) == {"count": 101, "p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_two_callers_one_of_whose_questions_interrupt(models: VoiceChat) -> None:
    question = Question.of(load_audio(QUESTION, PCM.rate).numpy())

    async def work() -> None:
        async with serving(models, ServerOptions(max_sessions=2)) as server:
            url = f"ws://127.0.0.1:{server.port}/v1/realtime"
            found = await load_test(url, [question], callers=2, turns=2, interrupt_every=2)
            figures = found.to_json()
            assert figures["ok_percent"] == 100
            assert figures["turns"] == 4
            times = figures["milliseconds"]
            assert times["end of speech to first audio"]["count"] == 4
            assert times["barge-in to speech_started"]["count"] == 2
            stopped = times["end of speech to speech_stopped"]["p50"]
            assert 0 < stopped <= times["end of speech to first audio"]["p50"]
            assert all(turn["audio"] > 0.1 for turn in figures["raw"]["turns"])
            assert all(turn["said"] for turn in figures["raw"]["turns"])
            assert figures["raw"]["server"][0]["resident_mb"] > 100

            full = await load_test(url, [question], callers=3, turns=1)
            trouble = full.to_json()
            assert trouble["ok_percent"] < 100
            assert trouble["trouble"] == ["session_limit_reached"]

    run(work)


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    url = "ws://127.0.0.1:9/v1/realtime"
    assert main(["loadtest", "--url", url, "--turns", "1", "-o", str(path)]) == 1
    out = capsys.readouterr().out
    assert "0.0 % ok" in out
    assert "trouble: " in out
    assert json.loads(path.read_text())["turns"] == 1
