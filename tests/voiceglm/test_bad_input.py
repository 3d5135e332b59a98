"""Whatever a command is given: it works, or one clear line, exit 1 and nothing left behind."""

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voiceglm.cli import main

TASKS = ["chat", "encode", "transcribe"]


def hum(seconds: float, sample_rate: int) -> np.ndarray:
    """Return something that is not silent: (num_samples,)."""
    return np.resize([0.5, 0.5, -0.5, -0.5], round(seconds * sample_rate))


def truncated(path: Path) -> None:
    soundfile.write(path, hum(1.0, 16_000), 16_000)
    path.write_bytes(path.read_bytes()[:9_000])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "empty": (lambda path: path.touch(), "is empty (0 bytes)"),
    "truncated": (truncated, "is truncated"),
    "header only": (lambda path: soundfile.write(path, np.zeros(0), 16_000), "holds no samples"),
    "silent": (lambda path: soundfile.write(path, np.zeros(16_000), 16_000), "is silent"),
    "too short": (
        lambda path: soundfile.write(path, hum(0.09, 16_000), 16_000),
        "is too short: 90 ms, expected at least 100 ms",
    ),
    "too long": (
        lambda path: soundfile.write(path, hum(601, 4_000), 4_000),
        "is too long: 601 s, expected at most 600 s",
    ),
    "NaN": (
        lambda path: soundfile.write(path, np.full(16_000, math.nan), 16_000, subtype="FLOAT"),
        "not numbers",
    ),
    "text": (lambda path: path.write_text("hello, I am a WAV file\n"), "is not audio"),
    "noise": (lambda path: path.write_bytes(bytes(range(256)) * 40), "is not audio"),
    "RIFF only": (lambda path: path.write_bytes(b"RIFF\xff\xff\xff\xffWAVE"), "is not audio"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
}
GOOD: dict[str, Callable[[Path], object]] = {
    "stereo": lambda path: soundfile.write(path, np.stack([hum(1, 16_000)] * 2, 1), 16_000),
    "six channels": lambda path: soundfile.write(path, np.stack([hum(1, 16_000)] * 6, 1), 16_000),
    "8 bit": lambda path: soundfile.write(path, hum(1, 16_000), 16_000, subtype="PCM_U8"),
    "8 kHz": lambda path: soundfile.write(path, hum(1, 8_000), 8_000),
    "192 kHz": lambda path: soundfile.write(path, hum(1, 192_000), 192_000),
    "44.1 kHz, 24 bit": lambda path: soundfile.write(
        path, hum(1, 44_100), 44_100, subtype="PCM_24"
    ),
    "100 ms": lambda path: soundfile.write(path, hum(0.1, 16_000), 16_000),
    "ten minutes": lambda path: soundfile.write(path, hum(600, 4_000), 4_000),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command that must fail by one line on stderr, with nothing on stdout."""
    before = set(Path().rglob("*"))
    capsys.readouterr()
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"voiceglm {argv[0]}: ")
    assert captured.err.count("\n") == 1, "one line"
    assert message in captured.err
    assert set(Path().rglob("*")) == before, "nothing left behind"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", BAD)
def test_bad_audio_is_one_line(
    task: str, kind: str, asked: list, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = BAD[kind]
    make(Path("bad.wav"))
    refused([task, "bad.wav"], message, capsys)
    assert not asked


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", GOOD)
def test_odd_audio_works(
    task: str, kind: str, asked: list, capsys: pytest.CaptureFixture[str]
) -> None:
    GOOD[kind](Path("odd.wav"))
    assert main([task, "odd.wav"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("nope/answer.wav", "there is no folder nope"),
        (".", "it is a folder"),
        ("speech.wav/answer.wav", "there is no folder"),
    ],
)
def test_chat_checks_its_output_before_it_works(
    output: str, message: str, speech: Path, asked: list, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(["chat", str(speech), "-o", output], message, capsys)
    assert not asked


def test_chat_refuses_an_empty_question(asked: list, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["chat", "--text", "  "], "--text is empty", capsys)


def test_chat_on_a_full_disk_leaves_nothing(
    speech: Path,
    asked: list,
    full_disk: Callable[[], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with full_disk():
        refused(["chat", str(speech)], "cannot write answer.wav", capsys)
    Path("answer.wav").write_bytes(b"older")
    with full_disk():
        refused(["chat", str(speech)], "cannot write answer.wav", capsys)
    assert Path("answer.wav").read_bytes() == b"older"


def test_decode_on_a_full_disk_leaves_nothing(
    asked: list,
    full_disk: Callable[[], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("ids.jsonl").write_text("[1]\n[2]\n")
    with full_disk():
        refused(["decode", "ids.jsonl", "-o", "out"], "cannot write", capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"hello\n", "line 1 is not JSON"),
        (b"[1]\n{}\n", "line 2 holds no ids"),
        (b'{"ids": []}\n', "line 1 holds no ids"),
        (b'{"ids": "12"}\n', "line 1 holds no ids"),
        (b'{"ids": [1, 2.5]}\n', "line 1 holds no ids"),
        (b'{"ids": [true]}\n', "line 1 holds no ids"),
        (b"3\n", "line 1 holds no ids"),
        (b"[1]\n\n[1, 64]\n", "line 3 holds the id 64, expected 0 to 63"),
        (b"[-1]\n", "line 1 holds the id -1, expected 0 to 63"),
        (b"\xff\xfe\n", "is not text"),
        (b"[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_decode_refuses_what_is_no_ids(
    content: bytes, message: str, asked: list, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ids.jsonl").write_bytes(content)
    refused(["decode", "ids.jsonl", "-o", "out"], message, capsys)


def test_decode_needs_a_file_and_a_new_folder(
    asked: list, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(["decode", "nope.jsonl", "-o", "out"], "no such file: nope.jsonl", capsys)
    refused(["decode", ".", "-o", "out"], "is a folder", capsys)
    Path("ids.jsonl").write_text("[1]\n")
    refused(["decode", "ids.jsonl", "-o", "ids.jsonl"], "it is a file, expected a folder", capsys)
    Path("taken").mkdir()
    assert main(["decode", "ids.jsonl", "-o", "taken"]) == 0, "an empty folder may be filled"
    capsys.readouterr()
    refused(["decode", "ids.jsonl", "-o", "taken"], "exists already", capsys)


def test_a_name_in_ids_cannot_leave_the_folder(
    asked: list, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"path": "../../evil.wav", "ids": [1]},
        {"path": "..", "ids": [1]},
        {"path": "/", "ids": [1]},
    ]
    Path("ids.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["decode", "ids.jsonl", "-o", "out"]) == 0
    assert all(path.parent == Path("out") for path in Path().rglob("*.wav"))
    assert len(list(Path("out").iterdir())) == 3


MODEL_TASKS = [
    ["chat", "--text", "hello"],
    ["encode", "speech.wav"],
    ["transcribe", "speech.wav"],
    ["decode", "ids.jsonl", "-o", "out"],
]


@pytest.mark.parametrize("argv", MODEL_TASKS, ids=lambda argv: argv[0])
def test_an_unknown_model_is_one_line(
    argv: list[str], speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ids.jsonl").write_text("[1]\n")
    refused([*argv, "--model", "nanno"], "no model called 'nanno'", capsys)
    refused([*argv, "--model", "speech.wav"], "is a file, expected a model's folder", capsys)
    Path("empty").mkdir()
    refused([*argv, "--model", "empty"], "is missing", capsys)


@pytest.mark.parametrize("damage", ["missing", "half", "noise"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("argv", MODEL_TASKS, ids=lambda argv: argv[0])
def test_a_damaged_model_is_one_line(
    argv: list[str],
    name: str,
    damage: str,
    nano: Path,
    speech: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("ids.jsonl").write_text("[1]\n")
    for path in nano.rglob("*"):
        copy = Path("model") / path.relative_to(nano)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        elif path.name != name or damage != "missing":
            data = path.read_bytes()
            broken = {"half": data[: len(data) // 2], "noise": data[::-1], "missing": b""}[damage]
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(broken if path.name == name else data)
    refused([*argv, "--model", "model"], name, capsys)
