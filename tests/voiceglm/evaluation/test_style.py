"""Style: what is asked for is heard in the audio, and ignoring it is not rewarded."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.voiceglm.evaluation.tiny import Ear, figure, record, rows, scripted
from voiceglm.audio import load_audio
from voiceglm.evaluation.nano_world import questions
from voiceglm.evaluation.style import (
    MODEL,
    SYNTHESIZER,
    WISHES,
    Spoken,
    Wish,
    is_right,
    measure,
    measured_change,
    style_rows,
)
from voiceglm.manifest import Utterance

RATE = 16_000
BY_NAME = {f"{wish.name}: {wish.word}": wish for wish in WISHES}


def tone(folder: Path, seconds: float = 1.0, hertz: float = 200.0) -> Tensor:
    return load_audio(record(folder / "tone.wav", seconds, hertz), RATE)


def change(name: str, before: Tensor, after: Tensor) -> float | None:
    said = (Spoken("some words", samples, RATE) for samples in (before, after))
    return measured_change(BY_NAME[name], *said)


def test_changes_are_measured_in_their_units(tmp_path: Path) -> None:
    one = tone(tmp_path)
    louder = change("volume: loud", one, 2 * one)
    assert louder == pytest.approx(6.02, abs=0.01)
    higher = change("pitch: high", one, tone(tmp_path, hertz=300.0))
    assert higher == pytest.approx(7.02, abs=0.2)
    faster = change("rate: fast", one, tone(tmp_path, 0.5))
    assert faster == pytest.approx(2.0, rel=0.05)


def test_pauses_make_speech_no_softer(tmp_path: Path) -> None:
    one = tone(tmp_path)
    paused = torch.cat([one, torch.zeros(2 * RATE), one])
    assert change("volume: soft", one, paused) == pytest.approx(0.0, abs=0.1)


def test_silence_has_no_style(tmp_path: Path) -> None:
    one = tone(tmp_path)
    for wish in ("volume: loud", "pitch: high", "rate: fast"):
        for silence in (torch.zeros(0), torch.zeros(RATE)):
            assert change(wish, one, silence) is None
            assert change(wish, silence, one) is None


@pytest.mark.parametrize(
    ("wish", "value", "right"),
    [
        ("rate: fast", 1.25 * 1.149, True),
        ("rate: fast", 1.25 * 1.151, False),
        ("rate: very slow", 0.6 * 0.86, True),
        ("rate: very slow", 1.0, False),
        ("pitch: high", 0.5, True),
        ("pitch: high", 0.49, False),
        ("pitch: low", 3.0, False),
        ("pitch: very low", -3.0, True),
        ("volume: soft", -1.0, True),
        ("volume: soft", -0.9, False),
        ("volume: loud", -6.0, False),
        ("volume: loud", None, False),
    ],
)
def test_a_change_is_right_as_asked(wish: str, value: float | None, right: bool) -> None:
    assert is_right(BY_NAME[wish], value) is right


def test_what_ignores_wishes_is_never_right(tmp_path: Path) -> None:
    same = Spoken("some words", tone(tmp_path), RATE)

    def say(wish: Wish | None, question: Utterance) -> Spoken:
        return same

    made = style_rows(say, [Utterance(tmp_path / "x.wav", "?")] * len(WISHES))
    assert {row["wish"] for row in made} == set(BY_NAME)
    assert not any(row["right"] for row in made)


def test_the_synthesizer_is_right_and_a_stubborn_model_is_not(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    asked = scripted(tmp_path, lambda samples: "Always this.", ear=Ear(), num_questions=12)
    table = measure(asked)
    assert figure(table, "styles right", SYNTHESIZER).value >= 90
    assert figure(table, "styles right", MODEL).value == 0
    assert figure(table, "styles right", MODEL).column == "instruction accuracy"
    kept = rows(tmp_path / "style" / "the_model_asked_aloud.jsonl")
    assert len(kept) == len(questions(asked)) == 12
