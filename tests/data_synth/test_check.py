"""What a check finds: every fault by its name, the same for any number of workers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from data_synth.check import ERRORS, WARNINGS, Checked, Limits, check_manifest, count_kinds
from data_synth.check_report import plain, report, report_json
from tests.data_synth.corpora_files import RATE, record, tone, truncate
from voiceglm.errors import ConfigError

TEXT = "eight letters"


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE))


def write(folder: Path, *rows: Mapping[str, Any] | str) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path = folder / "m.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def checked(folder: Path, *rows: Mapping[str, Any] | str, **limits: Any) -> list[Checked]:
    return check_manifest(write(folder, *rows), Limits(**limits))


def kinds(one: Checked) -> list[str]:
    return [finding.kind for finding in one.findings]


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    """A row without any fault: one second, 13 codes."""
    record(tmp_path / "good.wav", tone(1.0))
    return {"path": "good.wav", "text": TEXT, "codes": list(range(13))}


def test_a_good_utterance_has_no_findings(tmp_path: Path, good: dict) -> None:
    [one] = checked(tmp_path, good)
    assert one.findings == ()
    assert one.sound
    assert (one.sound.sample_rate, one.sound.seconds) == (RATE, 1.0)
    assert one.sound.level_dbfs == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.1)
    assert one.sound.peak_dbfs == pytest.approx(20 * np.log10(0.3), abs=0.1)
    assert (one.sound.silence, one.sound.clipped, one.sound.num_invalid) == (0.0, 0.0, 0)
    assert (one.letters, one.num_codes, one.path) == (12, 13, "good.wav")


SOUNDS: dict[str, tuple[np.ndarray, int, list[str]]] = {
    "silent": (silence(1.0), RATE, ["silent"]),
    "short": (tone(0.2), RATE, ["too short", "many letters a second"]),
    "8 kHz": (tone(1.0, 8_000), 8_000, ["low sample rate"]),
    "long": (tone(31.0), RATE, ["long", "few letters a second"]),
    "clipped": (np.clip(10 * tone(1.0), -1, 1), RATE, ["clipped"]),
    "quiet": (0.01 * tone(1.0), RATE, ["quiet"]),
    "NaN": (np.where(np.arange(RATE) == 99, np.nan, tone(1.0)), RATE, ["invalid samples"]),
    "late": (np.concatenate([silence(1.2), tone(1.2)]), RATE, ["silence at the start"]),
    "early": (np.concatenate([tone(1.2), silence(1.2)]), RATE, ["silence at the end"]),
    "gaps": (
        np.concatenate([silence(0.9), tone(0.5), silence(0.9)]),
        RATE,
        ["mostly silence"],
    ),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_how_it_sounds(tmp_path: Path, name: str) -> None:
    samples, rate, expected = SOUNDS[name]
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    [one] = checked(tmp_path, {"path": "a.wav", "text": TEXT})
    assert kinds(one) == expected


def test_where_silence_lies_is_measured(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", np.concatenate([silence(0.5), tone(1.0), silence(0.25)]))
    [one] = checked(tmp_path, {"path": "a.wav"})
    assert one.sound
    assert one.sound.leading_silence == pytest.approx(0.5, abs=0.02)
    assert one.sound.trailing_silence == pytest.approx(0.25, abs=0.02)
    assert one.sound.silence == pytest.approx(0.75 / 1.75, abs=0.02)
    assert one.sound.speech_seconds == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["empty transcript"]),
        (" ... ", ["empty transcript"]),
        ("a bell\x07 rings", ["control characters"]),
        ("two\nlines here", ["control characters"]),
        ("Gr\ufffd\ufffde und so", ["damaged characters"]),
        ("half \ud800 character", ["damaged characters"]),
        ("a <unk> word", ["markup"]),
        ("[laughter] oh well", ["markup"]),
        ("fish &amp; chips", ["markup"]),
        ("**bold** words", ["markup"]),
        ("ab", ["few letters a second"]),
        ("much too much " * 3, ["many letters a second"]),
        ("你好世界", []),
        ("甚至出现交易几乎停滞的情况", ["many letters a second"]),
    ],
)
def test_what_it_says(tmp_path: Path, good: dict, text: str, expected: list[str]) -> None:
    [one] = checked(tmp_path, {**good, "text": text})
    assert kinds(one) == expected


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([1] * 12, []),
        ([1] * 13, []),
        ([1] * 11, ["wrong number of codes"]),
        ([1] * 14, ["wrong number of codes"]),
        ([], ["wrong number of codes"]),
        ([1_023] * 13, []),
        ([1_024] * 13, ["codes out of range"]),
        ([-1] * 13, ["codes out of range"]),
        ([1.0] * 13, ["codes out of range"]),
        ("codes", ["codes out of range"]),
    ],
)
def test_whether_codes_fit(tmp_path: Path, good: dict, codes: Any, expected: list[str]) -> None:
    [one] = checked(tmp_path, {**good, "codes": codes})
    assert kinds(one) == expected
    [wide] = checked(tmp_path, {**good, "codes": [16_383] * 13}, codebook_size=16_384)
    assert not wide.findings


def test_files_that_cannot_be_measured(tmp_path: Path, good: dict) -> None:
    truncate(record(tmp_path / "cut.wav"))
    truncate(record(tmp_path / "cut.flac", np.random.default_rng(0).uniform(-0.5, 0.5, RATE)))
    (tmp_path / "text.wav").write_text("no sound")
    rows = [
        {"path": "missing.wav"},
        {"path": "x" * 300},
        {"path": "cut.wav"},
        {"path": "cut.flac"},
        {"path": "text.wav"},
        {"path": "."},
        {"path": "good.wav", "start": RATE},
        {"path": "good.wav", "start": 1, "num_samples": RATE},
        {"path": "good.wav", "start": 2**63 - 1},
        {"path": "good.wav", "num_samples": 0},
        {"path": "good.wav", "channel": 1},
        "nonsense",
        good,
    ]
    found = checked(tmp_path, *rows)
    assert [kinds(one) for one in found] == [
        ["missing file"],
        ["unreadable file"],
        ["unreadable file"],
        ["unreadable file"],
        ["unreadable file"],
        ["unreadable file"],
        ["outside of the file"],
        ["outside of the file"],
        ["outside of the file"],
        ["outside of the file"],
        ["outside of the file"],
        ["not an utterance"],
        [],
    ]
    assert found[0].findings[0].detail == "no such file: missing.wav"
    assert found[-2].findings[0].detail == "'nonsense'"


def test_an_mp3_is_as_long_as_what_is_read(tmp_path: Path) -> None:
    record(tmp_path / "a.mp3", tone(1.0))
    [one] = checked(tmp_path, {"path": "a.mp3", "text": TEXT})
    assert one.findings == ()
    assert one.sound
    assert one.sound.seconds == pytest.approx(1.0, abs=0.15)
    [more] = checked(tmp_path, {"path": "a.mp3", "num_samples": 5 * RATE})
    assert kinds(more) == ["truncated file"]


def test_a_channel_is_measured_by_itself(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", np.stack([tone(1.0), silence(1.0)], axis=1))
    rows = [{"path": "a.wav", "channel": channel} for channel in (0, 1)]
    found = checked(tmp_path, *rows)
    assert [kinds(one) for one in found] == [[], ["silent"]]


def test_what_is_said_twice_is_found_on_the_later_line(tmp_path: Path, good: dict) -> None:
    record(tmp_path / "other.wav", tone(1.0))
    rows = [
        good,
        {**good, "path": f"../{tmp_path.name}/good.wav", "text": "something else"},
        {**good, "path": "other.wav", "text": TEXT.upper()},
        {"role": "system", "text": TEXT, "dialogue": "a", "turn": 0},
        {"role": "system", "text": TEXT, "dialogue": "a", "turn": 0},
        {"role": "system", "text": TEXT, "dialogue": "b", "turn": 0},
    ]
    found = checked(tmp_path, *rows)
    assert [kinds(one) for one in found] == [
        [],
        ["same recording twice"],
        ["same text twice"],
        [],
        ["same turn twice"],
        [],
    ]
    assert found[1].findings[0].detail == "as line 1"


def test_limits_are_obeyed(tmp_path: Path, good: dict) -> None:
    [one] = checked(tmp_path, good, max_seconds=0.9, max_letters_per_second=5.0)
    assert kinds(one) == ["long", "many letters a second"]


def test_any_number_of_workers_finds_the_same(tmp_path: Path, good: dict) -> None:
    rows: list[Mapping[str, Any] | str] = []
    for number in range(40):
        samples = tone(0.2 + 0.02 * number)
        record(tmp_path / f"{number}.wav", samples)
        rows.append({"path": f"{number}.wav", "text": f"number {number % 7}", "speaker": "x"})
    path = write(tmp_path, *rows, "nonsense", {"path": "missing.wav"}, good)
    one, three = (check_manifest(path, Limits(), workers=count) for count in (1, 3))
    assert one == three
    assert [found.line for found in one] == list(range(1, 44))
    assert report(path, one) == report(path, three)


def test_an_empty_or_missing_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("\n\n")
    with pytest.raises(ConfigError, match=r"m\.jsonl is empty"):
        check_manifest(tmp_path / "m.jsonl", Limits())
    with pytest.raises(ConfigError, match="cannot read the manifest"):
        check_manifest(tmp_path / "none.jsonl", Limits())


def test_the_report_is_for_a_person(tmp_path: Path, good: dict) -> None:
    rows = [{**good, "speaker": "Ann"}, {"path": "missing.wav", "text": "\x1b[2J"}, "nonsense"]
    path = write(tmp_path, *rows, {**good, "path": "gone.wav", "text": "a <b>"})
    found = check_manifest(path, Limits())
    text = report(path, found)
    lines = text.splitlines()
    assert lines[1].split() == ["utterances", "4,", "0.00", "hours,", "1", "named", "speakers"]
    assert "rates        16,000 Hz (1)" in lines
    table = [line for line in lines if line.startswith(("error", "warning"))]
    assert [line.split("  ")[0].split()[0] for line in table] == ["error"] * 3 + ["warning"]
    missing = next(line for line in table if "missing file" in line)
    assert missing.split()[:5] == ["error", "missing", "file", "2", "50.00%"]
    assert "line 2: " in missing
    assert lines[-1] == "4 errors and 1 warning in 4 utterances"
    assert text.replace("\n", "").isprintable()


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert plain("Grüße\x1b[2J\u202e \ud800\n") == r"Grüße\x1b[2J\u202e \ud800\n"


def test_the_figures_are_json_that_anything_reads(tmp_path: Path, good: dict) -> None:
    limits = Limits(max_seconds=20.0)
    path = write(tmp_path, good, {**good, "path": "missing.wav"}, "nonsense")
    found = check_manifest(path, limits)
    content = json.loads(report_json(path, found, limits))
    assert content["limits"]["max_seconds"] == 20.0
    assert content["counts"] == {"missing file": 1, "not an utterance": 1, "same text twice": 1}
    first, second, _ = content["utterances"]
    assert first["sound"]["sample_rate"] == RATE
    assert second["sound"] is None
    assert second["findings"][0]["kind"] == "missing file"


def test_every_finding_has_a_place_in_the_report(tmp_path: Path) -> None:
    """A kind that is in neither list would be counted by nobody."""
    import ast
    import inspect

    import data_synth.check
    import data_synth.measure

    calls = [
        node
        for module in (data_synth.check, data_synth.measure)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    names = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id in ("Finding", "FaultError")
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(names) > 20
    assert names <= {*ERRORS, *WARNINGS}
    assert not set(ERRORS) & set(WARNINGS)
    assert count_kinds([]) == {}
