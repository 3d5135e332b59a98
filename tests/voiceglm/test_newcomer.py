"""The first hour of a newcomer: the commands of docs/training.md, as they stand there."""

import re
import shlex
from pathlib import Path

import pytest

from data_synth.tts import SAMPLE_RATE, Espeak, Voice, held_out_voices
from voiceglm.audio import load_audio, save_audio
from voiceglm.cli import main

DOCS = Path(__file__).parents[2] / "docs" / "training.md"
TEXTS = (
    "What is the capital of France?",
    "Paris is the capital of France.",
    "The sky is blue.",
    "Count from one to five.",
    "A dog is an animal.",
)


def commands() -> list[list[str]]:
    section = DOCS.read_text(encoding="utf-8").split("## From twenty recordings")[1]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [shlex.split(line) for line in block[1].splitlines()]


def test_from_recordings_to_a_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_voice").mkdir()
    synthesizer, voice = Espeak(), held_out_voices()[0]
    for number in range(20):
        said = Voice(voice, rate=140 + number, pitch=50, pitch_range=50)
        path = tmp_path / "my_voice" / f"{number:02}.wav"
        text = TEXTS[number % len(TEXTS)]
        save_audio(path, synthesizer.speak(text, said), SAMPLE_RATE)
        path.with_suffix(".txt").write_text(text)
    monkeypatch.chdir(tmp_path)
    found = commands()
    assert [command[1] for command in found[-3:]] == ["synth", "lm", "chat"]
    for command in found:
        assert command[0] == "voiceglm"
        assert main(command[1:]) == 0, command
    said = capsys.readouterr().out
    assert re.search(r"\n0 errors and \d+ warnings in 20 utterances", said)
    assert re.search(r"reply +\w+", said)
    samples = load_audio("answer.wav", 16_000)
    assert len(samples) > 0.3 * 16_000
    assert float(samples.abs().max()) > 0.05, "the voice was not silenced"
