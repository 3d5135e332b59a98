"""Digits of people: only of those never trained on, alone and in a row, repeated and read."""

from pathlib import Path

import pytest
from torch import Tensor

from tests.voiceglm.evaluation.tiny import Ear, figure, reasons, record, rows, scripted
from voiceglm.errors import ConfigError
from voiceglm.evaluation.codes import OWN, REFERENCE
from voiceglm.evaluation.people import IN_A_ROW, SINGLE, measure


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """One recording of each speaker; nicolas is held out."""
    for name in ("2_nicolas_0", "3_george_0"):
        record(tmp_path / "digits" / f"{name}.wav", 0.5)
    return tmp_path / "digits"


def test_digits_are_repeated_and_read(digits: Path, tmp_path: Path) -> None:
    def answer(samples: Tensor) -> str:
        return "Two!" if len(samples) <= 8_000 else "two two three"

    asked = scripted(tmp_path, answer, ear=Ear("two two"), digits=digits)
    table = measure(asked)
    assert figure(table, "repeated rightly", SINGLE).value == 100.0
    assert figure(table, "repeated rightly", SINGLE).count == 1
    assert figure(table, "repeated rightly", IN_A_ROW).value == 0.0
    assert figure(table, "wrong words of the reply", IN_A_ROW).value == pytest.approx(100 / 3)
    assert figure(table, "wrong words", IN_A_ROW, REFERENCE).value == pytest.approx(100 / 3)
    assert figure(table, "read without an error", IN_A_ROW, OWN).count == 4
    kept = rows(tmp_path / "people" / "digits_in_a_row_people_never_trained_on.jsonl")
    assert {(row["said"], row["speaker"]) for row in kept} == {("two, two, two", "nicolas")}


def test_other_digits_are_drawn_by_another_seed(tmp_path: Path) -> None:
    for digit in range(10):
        record(tmp_path / "digits" / f"{digit}_nicolas_0.wav", 0.3)
    said = []
    for seed in (0, 1, 0):
        asked = scripted(tmp_path, lambda _: "", digits=tmp_path / "digits", seed=seed)
        measure(asked)
        kept = rows(tmp_path / "people" / "digits_in_a_row_people_never_trained_on.jsonl")
        said.append([row["said"] for row in kept])
    assert said[0] == said[2] != said[1]


def test_a_recording_that_cannot_be_heard_is_counted(digits: Path, tmp_path: Path) -> None:
    record(digits / "5_nicolas_0.wav", hertz=0.0)
    table = measure(scripted(tmp_path, lambda _: "Two.", digits=digits))
    assert figure(table, "repeated rightly", SINGLE).count == 1
    assert "1 of 2 recordings" in reasons(table)[SINGLE]


def test_without_digits_the_table_says_so(digits: Path, tmp_path: Path) -> None:
    table = measure(scripted(tmp_path, lambda _: ""))
    assert table.figures == []
    assert reasons(table) == {"digits": "none of people held out: give --digits"}
    (digits / "2_nicolas_0.wav").unlink()
    assert measure(scripted(tmp_path, lambda _: "", digits=digits)).figures == []
    (digits / "3_george_0.wav").unlink()
    with pytest.raises(ConfigError, match="holds no spoken digits"):
        measure(scripted(tmp_path, lambda _: "", digits=digits))
