"""``voiceglm synth speak``: espeak-ng in processes, killed or not; the command's arguments."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from data_synth.processes import children_of
from data_synth.speak import Line
from data_synth.synthesizers import EspeakProcesses, check_voices
from data_synth.tts import Espeak, Voice, held_out_voices, speak_alone, training_voices
from tests.speech_server import serving
from voiceglm.cli import main
from voiceglm.errors import ConfigError, SynthesisError
from voiceglm.manifest import read_manifest, read_samples

pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")

ROOT = Path(__file__).parent.parent.parent
SMALL_PACKS = """
import sys
import data_synth.speak
from voiceglm.cli import main
data_synth.speak.LINES_PER_PACK = 3
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"Line {n} costs ${n}.\n" for n in range(40)) + "caf\ufffd\n")
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name[0] != "."}


def begin(*argv: str | Path) -> subprocess.Popen[str]:
    """Begin a command with packs of three lines, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SMALL_PACKS, "synth", "speak", *map(str, argv)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=250)
    assert process.returncode == 0, err
    return json.loads(out)


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, whether or not somebody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(true: Callable[[], object], what: str) -> None:
    for _ in range(6_000):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what} never came")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(tmp_path: Path, texts: Path) -> None:
    report = finish(begin(texts, "-o", tmp_path / "whole"))
    assert (report["spoken"], report["left_out"]) == (40, 1)

    process = begin(texts, "-o", tmp_path / "set", "--workers", "2")
    wait_until(lambda: list(tmp_path.glob("set/pack_0002.jsonl")), "the third pack")
    helpers = children_of(process.pid)
    process.kill()
    process.wait()
    assert not (tmp_path / "set" / "manifest.jsonl").exists(), "it was killed in time"
    assert len(helpers) >= 2
    try:
        wait_until(lambda: all(map(is_gone, helpers)), "the end of the killed run's processes")
    finally:
        for pid in (pid for pid in helpers if not is_gone(pid)):
            os.kill(pid, signal.SIGKILL)

    stamp = (tmp_path / "set" / "pack_0000.wav").stat().st_mtime_ns
    finish(begin(texts, "-o", tmp_path / "set", "--workers", "2"))
    assert files(tmp_path / "set") == files(tmp_path / "whole"), "and one process or two are one"
    assert (tmp_path / "set" / "pack_0000.wav").stat().st_mtime_ns == stamp


def test_every_voice_is_the_same_to_the_bit_whatever_was_said_before() -> None:
    """In a process of its own: an engine that another test holds would not be unloaded."""
    voices = [Voice(name, rate=140) for name in [*training_voices()[:60], *training_voices("zh")]]
    lines = [Line(text, voice) for voice in voices for text in ("Sixty-six snakes.", "One.")]
    with closing(EspeakProcesses(1, 16_000)) as speaker:
        futures = [speaker.submit(line) for line in (*lines, *reversed(lines))]
        said = [future.result() for future in futures]
    for line, first, second in zip(lines, said, reversed(said), strict=False):
        assert isinstance(first, np.ndarray), line
        assert isinstance(second, np.ndarray), line
        assert np.array_equal(first, second), line


def test_a_process_that_dies_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(EspeakProcesses, "submit", lambda self, _: self._pool.submit(os._exit, 1))
    (tmp_path / "texts.txt").write_text("Hello.")
    assert main(["synth", "speak", f"{tmp_path}/texts.txt", "-o", f"{tmp_path}/set"]) == 1
    assert "the synthesizer died at line 1 or one near it" in capsys.readouterr().err


def test_it_speaks_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"text": "I have 5 cats.", "id": 1},
        {"text": "2024年5月3日，你好。", "language": "zh", "id": 2},
        {"text": "Hello.", "voice": "en+nobody", "id": 3},
        {"text": "Hello.", "voice": "en-us+f2", "id": 4},
    ]
    file, folder = tmp_path / "texts.jsonl", tmp_path / "set"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ["synth", "speak", str(file), "-o", str(folder), "--sample-rate", "16000"]
    assert main([*argv, "--voices", "held-out"]) == 0
    report = json.loads(capsys.readouterr().out)
    cats, chinese, hello = read_manifest(folder / "manifest.jsonl")
    assert (cats.text, cats.extra) == ("I have five cats.", {"id": 1, "written": "I have 5 cats."})
    assert cats.speaker in held_out_voices()
    assert (chinese.text, chinese.language) == ("二零二四年五月三日，你好。", "zh")
    assert chinese.speaker in held_out_voices("zh")
    assert chinese.speaker.startswith("cmn+")
    assert (hello.speaker, hello.extra) == ("en-us+f2", {"id": 4})
    seconds = [len(read_samples(u, 16_000)) / 16_000 for u in (cats, chinese, hello)]
    assert report == {
        "manifest": str(folder / "manifest.jsonl"),
        "spoken": 3,
        "left_out": 1,
        "seconds": round(sum(seconds), 1),
    }
    [left] = (folder / "left_out.jsonl").read_text().splitlines()
    assert json.loads(left)["reason"] == "espeak-ng has no voice 'en+nobody'"


def test_chinese_is_spoken_syllable_by_syllable() -> None:
    """A voice without Chinese says the same words for every character: "Chinese letter"."""
    said = [speak_alone(text, Voice("cmn")) for text in ("你", "你好你好你好", "三四五六七八")]
    assert len(said[1]) > 2 * len(said[0])
    assert len(said[1]) < 6 * 22_050
    assert not torch.equal(said[1][:20_000], said[2][:20_000])


@pytest.mark.parametrize("name", ["nowhere", "en+nobody", "", "en+../en"])
def test_a_voice_that_is_not_there_is_refused_before_anything_is_made(
    tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    argv = ["synth", "speak", str(texts), "-o", str(tmp_path / "set"), "--voices", "en", name]
    assert main(argv) == 1
    assert f"espeak-ng has no voice {name!r}" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    with pytest.raises(ConfigError):
        check_voices([name])
    with pytest.raises(SynthesisError, match="has no voice"):
        speak_alone("Hello.", Voice(name))


def test_every_voice_we_name_is_there() -> None:
    check_voices([*training_voices(), *held_out_voices(), *training_voices("zh")])
    assert not set(training_voices("zh")) & set(held_out_voices("zh"))
    assert Espeak().has_voice("de")


def test_an_endpoint_gets_the_key_of_the_environment(
    tmp_path: Path,
    texts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with serving() as (url, speaker):
        argv = ["synth", "speak", str(texts), "-o", str(tmp_path / "set"), "--endpoint", url]
        assert main([*argv, "--workers", "7", "--model", "tts-9", "--no-normalize"]) == 0
    assert speaker.keys == {"Bearer secret"}
    assert {(r["model"], r["voice"]) for r in speaker.requests} == {("tts-9", "alloy")}
    assert "Line 7 costs $7." in speaker.attempts
    assert json.loads(capsys.readouterr().out)["spoken"] == 40
    assert "secret" not in "".join(map(str, files(tmp_path / "set").values()))


def test_codes_are_written_too(
    tmp_path: Path, nano: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("Hello there.\nGood morning.\n")
    with serving() as (url, _):
        argv = ["synth", "speak", f"{tmp_path}/texts.txt", "-o", f"{tmp_path}/set"]
        argv += ["--endpoint", url]
        assert main(argv) == 0
        assert main([*argv, "--codes", "nano"]) == 0
        assert main([*argv, "--codes", str(nano)]) == 1, "codes of another model are in the way"
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[1])["codes"] == f"{tmp_path}/set/codes.jsonl"
    assert "codes was nano, is" in captured.err
    for utterance in read_manifest(tmp_path / "set" / "codes.jsonl"):
        frames = (utterance.num_samples or 0) / 22_050 * 12.5
        assert abs(len(utterance.extra["codes"]) - frames) <= 1


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--voices", "training", "--endpoint", "http://127.0.0.1:9"], "--voices training are"),
        (["--endpoint", "nowhere"], "is no address"),
        (["--language", "de"], "add --no-normalize"),
        (["--codes", "nobody"], "nobody"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path,
    texts: Path,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    message: str,
) -> None:
    assert main(["synth", "speak", str(texts), "-o", str(tmp_path / "set"), *extra]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("argv", [[], ["nope"], ["speak"], ["speak", "a.txt"], ["speak", "--nope"]])
def test_misuse_is_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["synth", *argv])
    assert caught.value.code == 2


def test_help_of_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["synth", "speak", "--help"])
    assert caught.value.code == 0
    assert "usage: voiceglm synth speak" in capsys.readouterr().out
