"""The command line: what each task writes where, and with which exit status."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

import voiceglm
from voiceglm.cli import TASKS, main

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_help_names_every_task(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert all(task in out for task in TASKS)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nope"],
        ["--nope"],
        ["encode"],
        ["decode", "ids.jsonl"],
        ["chat", "a.wav", "--text", "hello"],
        ["chat", "a.wav", "b.wav"],
        ["chat", "--seed", "x"],
        ["chat", "--threads", "0"],
        ["doctor", "--nope"],
    ],
)
def test_misuse_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: voiceglm" in captured.err


def test_chat_answers_a_file(speech: Path, asked: list, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", str(speech), "-o", "out.wav", "--json"]) == 0
    [report] = rows(capsys.readouterr().out)
    assert report["question"] == "what is two plus two"
    assert report["reply"] == "It is four."
    assert report["audio"] == "out.wav"
    assert report["end"] == "finished"
    assert report["audio_seconds"] == 1.0
    assert 0 <= report["first_audio_seconds"] <= report["total_seconds"]
    assert report["real_time_factor"] == pytest.approx(report["total_seconds"], abs=2e-3)
    assert soundfile.info("out.wav").frames == 22_050
    [question] = asked
    assert isinstance(question, torch.Tensor)
    assert question.shape == (16_000,)


def test_chat_answers_text_for_a_person(asked: list, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--text", "2 + 2?"]) == 0
    assert asked == ["2 + 2?"]
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "question  2 + 2?"
    assert out[1] == "reply     It is four."
    assert out[2] == "answer    answer.wav (1.00 s)"
    assert out[3].startswith("timing    first audio 0.")
    assert Path("answer.wav").is_file()


def test_chat_asks_the_bundled_question(
    asked: list, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voiceglm.commands.chat.QUESTION", speech)
    assert main(["chat"]) == 0
    [question] = asked
    assert isinstance(question, torch.Tensor)


def test_encode_writes_a_line_per_file(
    speech: Path, asked: list, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", str(speech), str(speech)]) == 0
    expected = {"path": str(speech), "ids": list(range(13))}
    assert rows(capsys.readouterr().out) == [expected, expected]


def test_transcribe_writes_a_line_per_file(
    speech: Path, asked: list, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(speech)]) == 0
    expected = {"path": str(speech), "text": "what is two plus two"}
    assert rows(capsys.readouterr().out) == [expected]


def test_decode_speaks_what_encode_wrote(asked: list, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"path": "x/a.wav", "ids": [1, 2]}, {"path": "y/a.wav", "ids": [3]}, [4, 5, 6]]
    Path("ids.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert main(["decode", "ids.jsonl", "-o", "out/new"]) == 0
    assert rows(capsys.readouterr().out) == [
        {"path": "out/new/a.wav", "seconds": 0.16},
        {"path": "out/new/a-00002.wav", "seconds": 0.08},
        {"path": "out/new/00003.wav", "seconds": 0.24},
    ]
    assert len(list(Path("out/new").iterdir())) == 3


def test_decode_reads_stdin_and_obeys_its_seed(
    asked: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        monkeypatch.setattr("sys.stdin", io.StringIO("[1, 2, 3]\n"))
        assert main(["decode", "-", "-o", folder, "--seed", seed]) == 0
    first, again, other = (Path(name, "00001.wav").read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_threads_are_obeyed(speech: Path, asked: list) -> None:
    try:
        assert main(["encode", str(speech), "--threads", "2"]) == 0
        assert torch.get_num_threads() == 2
        assert main(["encode", str(speech)]) == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


def test_an_interruption_is_130(
    speech: Path,
    asked: list,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("voiceglm.audio.save_audio", interrupt)
    assert main(["chat", str(speech)]) == 130
    assert capsys.readouterr().err == "voiceglm chat: interrupted\n"
    assert not Path("answer.wav").exists()


def test_a_missing_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch, speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "encode", ("no_such_package.cli", "nothing"))
    assert main(["encode", str(speech)]) == 1
    assert "the package no_such_package is not installed" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_stdout_is_one_line() -> None:
    command = [sys.executable, "-m", "voiceglm.cli", "doctor"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "voiceglm doctor: cannot write to stdout: No space left on device\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m voiceglm.cli doctor | head -n 0"
    done = subprocess.run(
        command, cwd=ROOT, shell=True, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_doctor_says_what_has_to_be_mended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from voiceglm import doctor

    monkeypatch.setattr(doctor, "NEEDED", ("torch", "no-such-package"))
    assert main(["doctor", "--json"]) == 1
    findings = {row["name"]: row for row in rows(capsys.readouterr().out)}
    assert findings["torch"]["state"] == "ok"
    assert findings["no-such-package"] == {
        "name": "no-such-package",
        "state": "bad",
        "detail": "not installed",
    }


def test_doctor_says_who_took_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from voiceglm import doctor

    (tmp_path / "webby").mkdir()
    (tmp_path / "webby" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "OURS", ("voiceglm", "webby", "not_there_at_all"))
    taken, missing = doctor.check_names()
    assert taken.state == missing.state == "bad"
    assert str(tmp_path / "webby" / "__init__.py") in taken.detail
    assert missing.detail.startswith("not found")


def test_doctor_compares_every_file(tmp_path: Path) -> None:
    from voiceglm.doctor import check_files
    from voiceglm.files import CHECKSUMS, checksums

    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    (tmp_path / CHECKSUMS).write_text(json.dumps(checksums(tmp_path)))
    assert [finding.state for finding in check_files(tmp_path)] == ["ok"]

    (tmp_path / "a").write_text("changed")
    (tmp_path / "b").unlink()
    (tmp_path / "d").touch()
    assert [(finding.name, finding.state, finding.detail) for finding in check_files(tmp_path)] == [
        ("nano a", "bad", "not what it should be"),
        ("nano b", "bad", "missing"),
        ("nano d", "note", "does not belong to the model"),
    ]
    (tmp_path / CHECKSUMS).write_text("{")
    assert "it is damaged" in check_files(tmp_path)[0].detail


def test_doctor_finds_the_bundled_model_whole(nano: Path) -> None:
    assert main(["doctor"]) == 0


def test_the_bundled_model_answers_the_bundled_question(
    nano: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", "--json"]) == 0
    [first] = rows(capsys.readouterr().out)
    sound = Path("answer.wav").read_bytes()
    assert first["end"] == "finished"
    assert first["reply"]
    assert main(["chat", "--json"]) == 0
    [second] = rows(capsys.readouterr().out)
    assert second["reply"] == first["reply"]
    assert Path("answer.wav").read_bytes() == sound, "the same seed gives the same answer"


def test_the_bundled_model_speaks_what_it_hears(
    nano: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from voiceglm.commands.chat import QUESTION

    assert main(["encode", str(QUESTION)]) == 0
    ids = capsys.readouterr().out
    Path("ids.jsonl").write_text(ids)
    assert main(["decode", "ids.jsonl", "-o", "spoken"]) == 0
    [row] = rows(capsys.readouterr().out)
    assert row["seconds"] == pytest.approx(len(json.loads(ids)["ids"]) / 12.5, abs=0.1)
    assert main(["transcribe", str(QUESTION)]) == 0
    [heard] = rows(capsys.readouterr().out)
    assert heard["text"]


def test_the_facade_gives_every_public_name() -> None:
    assert dir(voiceglm) == sorted(voiceglm.__all__)
    for name in ("VoiceGLMError", "TextDelta", "AudioDelta", "TurnEnd", "load_audio", "save_audio"):
        assert getattr(voiceglm, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = voiceglm.nope
