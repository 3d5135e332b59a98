"""The timings: every part is there, and a long reply is timed chunk by chunk."""

import json
from pathlib import Path

import pytest
import torch

from decoder.config import DecoderConfig, EstimatorConfig, FlowConfig, VocoderConfig
from decoder.config import EncoderConfig as TokenEncoderConfig
from tokenizer.config import EncoderConfig, QuantizerConfig, TokenizerConfig
from voiceglm.bench import Spread, bench, random_chat
from voiceglm.chat import VoiceChat
from voiceglm.cli import main
from voiceglm.language_model import LanguageModelConfig
from voiceglm.vocabulary import Vocabulary

PARTS = ("last_block", "prefill", "first_ids", "flow", "vocoder", "total")


@pytest.fixture(scope="module")
def chat() -> VoiceChat:
    """The released networks, some sizes smaller."""
    return random_chat(
        LanguageModelConfig(
            hidden_size=32, num_layers=1, num_heads=2, num_key_value_heads=1, intermediate_size=32
        ),
        TokenizerConfig(
            encoder=EncoderConfig(
                width=32,
                num_heads=2,
                feedforward_width=32,
                num_layers=1,
                pool_after=1,
                quantize_after=1,
            ),
            quantizer=QuantizerConfig(codebook_size=64),
        ),
        DecoderConfig(
            flow=FlowConfig(
                num_codes=64,
                num_steps=1,
                encoder=TokenEncoderConfig(dim=16, num_heads=2, hidden_dim=16, num_layers=1),
                estimator=EstimatorConfig(
                    channels=(16, 16), num_blocks=1, num_mid_blocks=1, num_heads=2, head_dim=8
                ),
            ),
            vocoder=VocoderConfig(base_channels=16, f0_channels=8),
        ),
        Vocabulary(300, 64, 320, 384),
    )


def test_every_part_is_timed(chat: VoiceChat) -> None:
    found = bench(chat, 0.1 * torch.randn(48_000), repeats=2, reply_seconds=10.0)
    assert tuple(found.parts_ms) == PARTS
    assert all(0 < spread.p50 <= spread.p95 for spread in found.parts_ms.values())
    assert found.ids_per_second.p50 > 1
    assert len(found.chunks_ms) == 5, "10, 20, 30, 30, 30 of 125 codes"
    assert found.real_time_factors.keys() == {"tokenizer", "decoder", "whole_loop"}
    assert found.real_time_factors["whole_loop"].p50 > 0
    assert list(found.memory_mb.values()) == sorted(found.memory_mb.values())
    assert found.memory_mb["models"] > 1
    assert chat.history == (), "the conversation is not used"


def test_a_spread_is_of_the_values() -> None:
    assert Spread.of([3.0, 1.0, 2.0], scale=10.0) == Spread(20.0, 29.0)


def test_the_command(
    tmp_path: Path,
    chat: VoiceChat,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("voiceglm.bench.random_chat", lambda **_: chat)
    path = tmp_path / "bench.json"
    command = ["bench", "--random-weights", "--repeats", "2", "--reply-seconds", "3"]
    assert main([*command, "-o", str(path)]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*PARTS, "/s", "of real time"))
    written = json.loads(path.read_text())
    assert written["parts_ms"].keys() == set(PARTS)
    assert written["model"] == "random, released sizes"
    assert written["commit"]
