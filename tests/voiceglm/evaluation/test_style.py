"""Style: what is asked for is heard in the audio, and ignoring it is not rewarded."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.voiceglm.evaluation.tiny import Ear, figure, record, rows, scripted
from voiceglm.audio import load_audio
from voiceglm.evaluation.prosody import Prosody, Spoken, changes, is_as_asked, prosody
from voiceglm.evaluation.style import (
    MEASURED,
    MODEL,
    SYNTHESIZER,
    Trial,
    measure,
    style_rows,
    trials,
)
from voiceglm.manifest import Utterance
from voiceglm.style import ACCENTS, RATES, Style

RATE = 16_000


def tone(folder: Path, seconds: float = 1.0, hertz: float = 200.0) -> Tensor:
    return load_audio(record(folder / "tone.wav", seconds, hertz), RATE)


def measured(samples: Tensor, text: str = "some words", language: str = "en") -> Prosody:
    found = prosody(Spoken(text, samples, RATE, language))
    assert found is not None
    return found


def test_changes_are_measured_in_their_units(tmp_path: Path) -> None:
    one = tone(tmp_path)
    before = measured(one)
    assert changes(before, measured(2 * one))["level"] == pytest.approx(6.02, abs=0.01)
    higher = changes(before, measured(tone(tmp_path, hertz=300.0)))
    assert higher["pitch"] == pytest.approx(7.02, abs=0.2)
    assert higher["rate"] == pytest.approx(1.0, abs=0.02)
    faster = changes(before, measured(tone(tmp_path, 0.5)))
    assert faster["rate"] == pytest.approx(2.0, rel=0.05)
    noise = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    breathy = changes(before, measured(noise))
    assert breathy["voiced"] is not None
    assert breathy["voiced"] < -0.5


def test_characters_are_the_letters_of_chinese(tmp_path: Path) -> None:
    one = tone(tmp_path)
    assert measured(one, "四五。", "zh").rate == pytest.approx(measured(one, "ab").rate)


def test_lively_speech_has_a_wide_range(tmp_path: Path) -> None:
    times = torch.arange(2 * RATE) / RATE
    for semitones in (2.0, 6.0):
        swing = semitones / 2 * torch.sin(2 * torch.pi * times)
        phase = 2 * torch.pi * (200 * 2 ** (swing / 12)).cumsum(0) / RATE
        voiced = sum(torch.sin(n * phase) / n for n in range(1, 6))
        assert isinstance(voiced, Tensor)
        assert measured(0.2 * voiced).range == pytest.approx(semitones * 0.95, rel=0.2)


def test_pauses_make_speech_no_softer(tmp_path: Path) -> None:
    one = tone(tmp_path)
    paused = torch.cat([one, torch.zeros(2 * RATE), one])
    assert changes(measured(one), measured(paused))["level"] == pytest.approx(0.0, abs=0.1)


def test_what_surrounds_speech_is_no_part_of_it(tmp_path: Path) -> None:
    one = tone(tmp_path)
    framed = torch.cat([torch.zeros(RATE), one, 1e-4 * torch.ones(RATE)])
    assert measured(framed).rate == pytest.approx(measured(one).rate)
    assert measured(0.05 * one).rate == pytest.approx(measured(one).rate), "soft or not"


def test_silence_has_no_style(tmp_path: Path) -> None:
    for silence in (torch.zeros(0), torch.zeros(RATE)):
        assert prosody(Spoken("some words", silence, RATE)) is None
    assert prosody(Spoken("...", tone(tmp_path), RATE)) is None


@pytest.mark.parametrize(
    ("wish", "changed", "right"),
    [
        ("fast_1", {"rate": 1.15 * 1.149}, True),
        ("fast_1", {"rate": 1.15 * 1.151}, False),
        ("slow_3", {"rate": 0.62 * 0.86}, True),
        ("slow_3", {"rate": 1.0}, False),
        ("slow_1", {"rate": 1.0}, False),
        ("slow_1", {"rate": 0.9}, True),
        ("fast_1", {"rate": 1.05}, False),
        ("fast_1", {"rate": 0.0}, False),
        ("high", {"pitch": 0.5}, True),
        ("high", {"pitch": 0.49}, False),
        ("low", {"pitch": 3.0}, False),
        ("low", {"pitch": -3.0}, True),
        ("low", {"pitch": None}, False),
        ("soft", {"level": -1.0}, True),
        ("soft", {"level": -0.9}, False),
        ("loud", {"level": -6.0}, False),
        ("whisper", {"voiced": -0.1}, True),
        ("whisper", {"voiced": -0.09}, False),
        ("cheerful", {"pitch": 0.6, "range": 0.1}, True),
        ("cheerful", {"pitch": 0.6, "range": -0.1}, False),
        ("cheerful", {"pitch": 0.0, "range": 2.0}, False),
        ("sad", {"pitch": -0.6, "range": -0.1}, True),
        ("sad", {"pitch": -0.6, "range": 0.1}, False),
    ],
)
def test_a_change_is_right_as_asked(wish: str, changed: dict[str, Any], right: bool) -> None:
    assert is_as_asked(wish, changed) == right


def asked(count: int, language: str = "en") -> list[Utterance]:
    return [Utterance(Path("x.wav"), f"{n}?", language=language) for n in range(count)]


def test_every_style_is_asked_for_in_every_language() -> None:
    planned = trials([*asked(40), *asked(40, "zh")], seed=0)
    assert [trial.number for trial in planned] == list(range(80))
    assert {trial.name for trial in planned} == {*MEASURED, *ACCENTS}
    for trial in planned:
        one, other = trial.questions
        assert one.text != other.text
        assert one.language == other.language == trial.language
    chinese = {trial.name for trial in planned if trial.language == "zh"}
    assert chinese == {*MEASURED, "cantonese"}


def test_what_ignores_wishes_is_never_right(tmp_path: Path) -> None:
    same = Spoken("some words", tone(tmp_path), RATE)
    made = list(style_rows(lambda _, __: [same, same], trials(asked(15), seed=0)))
    assert not any(row["right"] or row["kept"] or row["chosen"] for row in made)
    unmeasured = [row for row in made if row["right"] is None]
    assert {row["wish"] for row in unmeasured} == {"british", "scottish"}


def test_a_style_is_kept_only_if_the_second_reply_has_it_too(tmp_path: Path) -> None:
    plain = tone(tmp_path)

    def say(trial: Trial, is_told: bool) -> list[Spoken]:
        style = trial.style if is_told else Style()
        first = tone(tmp_path, 1 / style.speed)
        return [Spoken("some words", first, RATE, style=style), Spoken("some words", plain, RATE)]

    planned = [trial for trial in trials(asked(15), seed=0) if trial.name in ("slow_3", "fast_3")]
    for row in style_rows(say, planned):
        assert row["right"]
        assert row["first"]["rate"] == pytest.approx(RATES[row["wish"]], rel=0.1)
        assert not row["kept"]
        assert not row["chosen"], "the model forgot it, too"


def test_the_synthesizer_is_right_and_a_stubborn_model_is_not(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    subject = scripted(tmp_path, lambda samples: "Always this.", ear=Ear(), num_questions=120)
    table = measure(subject)
    assert figure(table, "styles right", SYNTHESIZER).value >= 80
    assert figure(table, "styles right", MODEL).value == 0
    assert figure(table, "styles right", MODEL).column == "instruction accuracy"
    kept = rows(tmp_path / "style" / "the_model_asked_aloud.jsonl")
    assert Counter(row["language"] for row in kept) == {"en": 15, "zh": 15}
    slow = figure(table, "slow_3, 0.62 asked", SYNTHESIZER)
    assert slow.value == pytest.approx(0.62, rel=0.15)
