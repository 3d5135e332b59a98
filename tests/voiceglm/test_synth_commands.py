"""``voiceglm synth``: a family of tasks, corpora to manifests, manifests to reports."""

import json
from pathlib import Path

import pytest

from tests.data_synth import corpora_files as made
from voiceglm.cli import main
from voiceglm.commands.synth import TASKS
from voiceglm.manifest import read_manifest


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def fails(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a task that must fail by one line, and return it."""
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_help_names_every_task_of_the_family(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["synth", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "usage: voiceglm synth" in out
    assert all(task in out for task in TASKS)


@pytest.mark.parametrize(
    "argv",
    [
        ["synth"],
        ["synth", "nope"],
        ["synth", "--nope"],
        ["synth", "check"],
        ["synth", "check", "a", "b"],
        ["synth", "check", "a", "--workers", "0"],
        ["synth", "manifest", "a"],
        ["synth", "dialogues", "a"],
        ["synth", "dialogues", "a", "-o", "b", "--views", "one"],
        ["synth", "world", "-o", "a", "--documents", "1", "--dialogues", "1"],
        ["synth", "manifest", "a", "-o", "b", "--layout", "vctk"],
    ],
)
def test_misuse_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: voiceglm synth")


def test_a_corpus_becomes_a_manifest_and_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.ljspeech(tmp_path / "LJ")
    assert main(["synth", "manifest", "LJ", "-o", "lj.jsonl"]) == 0
    assert len(read_manifest("lj.jsonl")) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "layout       ljspeech",
        "utterances   3, 0.00 hours, 1 named speakers",
        "transcripts  3",
        "left out     9",
    ]
    assert "           1 transcript is empty: metadata.csv line 7" in lines
    assert len(lines) == 4 + 8


def test_a_dialogue_becomes_a_manifest_that_passes_its_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    sides = np.stack([made.tone(3.0), np.roll(made.tone(3.0)[::-1], 9)], axis=1)
    made.record(Path("calls/one.wav"), sides)
    turns = [{"channel": c, "start": c, "end": c + 1.5, "text": f"Turn {c}."} for c in (0, 1)]
    Path("calls/one.json").write_text(json.dumps(turns))
    assert main(["synth", "manifest", "calls", "-o", "calls.jsonl", "--language", "de"]) == 0
    assert "layout       dialogues" in capsys.readouterr().out
    assert {u.language for u in read_manifest("calls.jsonl")} == {"de"}
    assert main(["synth", "check", "calls.jsonl", "--workers", "1"]) == 0
    assert "roles        user (1), assistant (1)" in capsys.readouterr().out


def test_nothing_usable_is_one_line_and_no_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("LJ").mkdir()
    Path("LJ/metadata.csv").write_text("a|b\nc|d\n")
    message = fails(["synth", "manifest", "LJ", "-o", "lj.jsonl"], capsys)
    assert message.startswith("voiceglm synth manifest: LJ gave no utterance as ljspeech")
    assert "recording is missing: 2" in message
    assert not Path("lj.jsonl").exists()
    assert "no such folder" in fails(["synth", "manifest", "no", "-o", "lj.jsonl"], capsys)
    assert "there is no folder" in fails(["synth", "manifest", "LJ", "-o", "no/lj.jsonl"], capsys)


def test_a_check_says_by_its_status_whether_there_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.record(Path("a.wav"), made.tone(1.0))
    Path("m.jsonl").write_text('{"path": "a.wav", "text": "a <b>"}\n')
    assert main(["synth", "check", "m.jsonl", "--json", "m.json"]) == 0, "a warning is no error"
    assert "0 errors and 2 warnings" in capsys.readouterr().out
    assert json.loads(Path("m.json").read_text())["counts"] == {
        "markup": 1,
        "few letters a second": 1,
    }
    with Path("m.jsonl").open("a") as file:
        file.write('{"path": "b.wav"}\nnonsense\n')
    assert main(["synth", "check", "m.jsonl", "--workers", "2"]) == 1
    captured = capsys.readouterr()
    assert "2 errors and 2 warnings in 3 utterances" in captured.out
    assert captured.err == "", "no progress bar where nobody looks"


def test_limits_are_set_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    made.record(Path("a.wav"), made.tone(1.0))
    Path("m.jsonl").write_text('{"path": "a.wav"}\n')
    argv = ["synth", "check", "m.jsonl", "--workers", "1", "--set"]
    assert main([*argv, "max_seconds=0.5"]) == 0
    assert "warning  long " in capsys.readouterr().out
    message = fails([*argv, "max_second=1"], capsys)
    assert "did you mean max_seconds?" in message


def test_bad_places_are_refused_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.jsonl").write_text('{"path": "a.wav"}\n')
    assert "there is no folder" in fails(
        ["synth", "check", "m.jsonl", "--json", "no/m.json"], capsys
    )
    assert "cannot read the manifest" in fails(["synth", "check", "no.jsonl"], capsys)


def test_the_world_writes_dialogues_that_can_be_spoken(
    nano: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    assert main(["synth", "world", "--dialogues", "3", "-o", "d.jsonl"]) == 0
    with Path("d.jsonl").open("a") as file:
        file.write("{\n")
    argv = ["synth", "dialogues", "d.jsonl", "-o", "spoken", "--views", "two", "--workers", "1"]
    assert main(argv) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "dialogues    3"
    assert lines[2:] == ["left out     1", "           1 not JSON", "styles unmet 0"]
    assert captured.err == "", "no progress bar where nobody looks"
    rows = [json.loads(line) for line in Path("spoken/rows.jsonl").read_text().splitlines()]
    assert [row["learn"] for row in rows] == ["text", "speech"] * 3
    message = fails([*argv, "--seed", "1"], capsys)
    assert message == (
        "voiceglm synth dialogues: spoken was begun otherwise (seed was 0, is 1);"
        " name another folder\n"
    )


def test_the_world_writes_documents_unless_it_is_asked_for_dialogues() -> None:
    assert main(["synth", "world", "--documents", "3", "-o", "a.jsonl"]) == 0
    assert main(["synth", "world", "--dialogues", "-o", "b.jsonl"]) == 0
    assert [len(Path(name).read_text().splitlines()) for name in ("a.jsonl", "b.jsonl")] == [
        3,
        1000,
    ]
    assert "turns" in json.loads(Path("b.jsonl").read_text().splitlines()[0])
    assert "text" in json.loads(Path("a.jsonl").read_text().splitlines()[0])
