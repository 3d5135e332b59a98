"""A tiny model that can be measured, chats that follow a script, recordings."""

import functools
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from tests.data_synth.tiny import tiny_model
from tokenizer.model import SpeechTokenizer
from voiceglm.chat import VoiceChat
from voiceglm.evaluation.subject import Settings, Subject
from voiceglm.events import AudioDelta, Event, TextDelta, TurnEnd
from voiceglm.language_model import VoiceLM

RATE = 16_000


class Hum:
    """A decoder that hums one code after the other, each in its own pitch."""

    sample_rate = 22_050
    num_codes = 20

    def decode(self, ids: Sequence[int], *, generator: torch.Generator | None = None) -> Tensor:
        times = torch.arange(1_764) / self.sample_rate
        tones = [0.3 * torch.sin(2 * torch.pi * (100 + 20 * code) * times) for code in ids]
        noise = 0.01 * torch.randn(len(tones) * 1_764, generator=generator)
        return torch.cat([*tones, torch.zeros(0)]) + noise

    def start(self, *, generator: torch.Generator | None = None) -> Any:
        raise AssertionError("this decoder is asked for whole utterances only")


class Ear:
    """A recognizer that always hears the same."""

    def __init__(self, text: str = "the cat"):
        self.text = text

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        assert sample_rate == RATE
        return self.text


class Script:
    """A chat that answers by a function of how long the question is, and hums for a second."""

    def __init__(self, answer: Callable[[Tensor], str]):
        self.answer = answer

    def reply(self, question: Tensor, *, seed: int = 0, aloud: bool = True) -> Iterator[Event]:
        yield TextDelta(self.answer(question), (1,))
        if aloud:
            yield AudioDelta(Hum().decode([5] * 13), 22_050)
        yield TurnEnd("finished")


class Scripted(Subject):
    """A subject whose conversations follow a script."""

    answer: Callable[[Tensor], str]

    def open_chat(self) -> Any:
        return Script(self.answer)


@functools.cache
def models() -> tuple[SpeechTokenizer, VoiceLM]:
    """Return the tiny tokenizer and language model, with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        home = tiny_model(Path(folder))
        return (
            SpeechTokenizer.from_pretrained(home / "tokenizer"),
            VoiceLM.from_pretrained(home / "language_model"),
        )


def subject(output: Path, *, ear: Ear | None = None, **settings: Any) -> Subject:
    """Return the tiny model as a subject that writes under ``output``."""
    tokenizer, model = models()
    chat = VoiceChat(tokenizer, model, Hum())
    asked = Settings(
        **{
            "output": output,
            "run": output / "no run",
            "num_questions": 4,
            "num_readings": 3,
            "num_pairs": 3,
            **settings,
        }
    )
    return Subject(chat, asked, ear, "an ear" if ear else "none")


def scripted(
    output: Path, answer: Callable[[Tensor], str], *, ear: Ear | None = None, **settings: Any
) -> Subject:
    """Return a subject whose replies are scripted."""
    plain = subject(output, ear=ear, **settings)
    made = Scripted(plain.chat, plain.settings, ear, plain.recognizer_name)
    object.__setattr__(made, "answer", answer)
    return made


def record(path: Path, seconds: float = 0.6, hertz: float = 220.0) -> Path:
    """Write a harmonic tone that fades in and out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * hertz * n * times) / n for n in range(1, 6))
    soundfile.write(path, 0.2 * tone * np.hanning(len(times)), RATE)
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def figure(table: Any, what: str, set_: str | None = None, system: str | None = None) -> Any:
    """Return the one figure of that name."""
    found = [
        each
        for each in table.figures
        if each.what == what and set_ in (None, each.set) and system in (None, each.system)
    ]
    assert len(found) == 1, [each.what for each in found]
    return found[0]


def reasons(table: Any) -> dict[str, str]:
    """Return why each left-out thing was left out."""
    return {skipped.what: skipped.reason for skipped in table.skipped}
