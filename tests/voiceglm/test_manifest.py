"""Lists of recordings: read, written, cut, refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from voiceglm.audio import resample
from voiceglm.errors import AudioError, ConfigError
from voiceglm.manifest import Utterance, read_manifest, read_samples, write_manifest


@pytest.fixture
def pack(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A stereo file of two seconds at 8 kHz, and what is in it."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (16_000, 2)).astype(np.float32)
    path = tmp_path / "audio" / "pack.wav"
    path.parent.mkdir()
    soundfile.write(path, samples, 8_000, subtype="FLOAT")
    return path, samples


def test_a_text_may_hold_what_unicode_calls_the_end_of_a_line(tmp_path: Path) -> None:
    utterances = [Utterance(tmp_path / "a.wav", "one\u2028two\x85three\x1dfour")]
    write_manifest(tmp_path / "m.jsonl", utterances)
    assert read_manifest(tmp_path / "m.jsonl") == utterances


def test_what_is_written_is_read(tmp_path: Path) -> None:
    utterances = [
        Utterance(tmp_path / "audio" / "a.wav", "Grüße, 你好"),
        Utterance(
            tmp_path / "b.wav",
            None,
            start=5,
            num_samples=10,
            speaker="Ann",
            language="de",
            extra={"codes": [1, 2], "answer": "Four."},
        ),
    ]
    write_manifest(tmp_path / "m.jsonl", utterances)
    assert read_manifest(tmp_path / "m.jsonl") == utterances
    assert json.loads((tmp_path / "m.jsonl").read_text().splitlines()[0])["path"] == "audio/a.wav"


def test_a_folder_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    write_manifest(tmp_path / "old" / "m.jsonl", [Utterance(tmp_path / "old" / "a.wav", "a")])
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_manifest(tmp_path / "new" / "m.jsonl")[0].path == tmp_path / "new" / "a.wav"


def test_defaults_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('\n{"path": "a.wav", "text": null, "num_samples": null, "seconds": 2.5}\n\n')
    (utterance,) = read_manifest(path)
    assert utterance == Utterance(tmp_path / "a.wav", None, extra={"seconds": 2.5})
    assert utterance.language == "en"


@pytest.mark.parametrize(
    "line", ["hello", "[1]", "3", '{"text": "no path"}', '{"path": 3}', '{"path": "a.wav"']
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"path": "a.wav"}}\n{line}\n')
    with pytest.raises(ConfigError, match=r"m\.jsonl line 2 is not an utterance: ") as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the manifest .*: No such file"):
        read_manifest(tmp_path / "m.jsonl")


def test_an_utterance_is_cut_out_of_its_file(pack: tuple[Path, np.ndarray]) -> None:
    path, samples = pack
    mono = torch.from_numpy(samples.mean(1))
    assert torch.equal(read_samples(Utterance(path, "all"), 8_000), mono)
    cut = Utterance(path, "cut", start=3_000, num_samples=1_000)
    assert torch.equal(read_samples(cut, 8_000), mono[3_000:4_000])
    rest = Utterance(path, "rest", start=15_000)
    assert torch.equal(read_samples(rest, 8_000), mono[15_000:])


def test_any_rate_is_returned(pack: tuple[Path, np.ndarray]) -> None:
    cut = Utterance(pack[0], "cut", start=3_000, num_samples=4_000)
    found = read_samples(cut, 16_000)
    assert found.shape == (8_000,)
    assert torch.equal(found, resample(read_samples(cut, 8_000), 8_000, 16_000))


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    for name in ("missing.wav", "text.wav"):
        with pytest.raises(AudioError, match=rf"cannot read .*{name}"):
            read_samples(Utterance(tmp_path / name, "a"), 16_000)
