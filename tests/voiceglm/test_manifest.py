"""Lists of recordings: read, written, cut, refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from voiceglm.audio import resample
from voiceglm.errors import AudioError, ConfigError
from voiceglm.manifest import (
    BadLine,
    Utterance,
    read_manifest,
    read_samples,
    scan_manifest,
    write_manifest,
)


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
    "line",
    [
        "hello",
        "[1]",
        '[["path", "a.wav"]]',
        "3",
        '{"text": "no path"}',
        '{"text": "", "role": "user"}',
        '{"path": 3}',
        '{"path": ""}',
        '{"path": "a\\u0000.wav"}',
        '{"path": "\\ud800.wav"}',
        '{"path": "a.wav"',
        '{"path": "a.wav", "start": "1"}',
        '{"path": "a.wav", "start": -1}',
        '{"path": "a.wav", "num_samples": 1.5}',
        '{"path": "a.wav", "channel": true}',
        '{"path": "a.wav", "turn": 99999999999999999999}',
        '{"path": "a.wav", "role": "robot"}',
        "[" * 100_000,
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"path": "a.wav"}}\n{line}\n')
    with pytest.raises(ConfigError, match=r"m\.jsonl line 2 is not an utterance: ") as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


def test_a_bad_line_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"path": "a.wav", "start": -1}\n')
    with pytest.raises(ConfigError, match="start must be at least 0 and fit into 64 bits, in "):
        read_manifest(path)
    path.write_bytes(b'{"path": "\xff.wav"}\n')
    with pytest.raises(ConfigError, match="line 1 is not an utterance: it is not UTF-8"):
        read_manifest(path)


def test_a_scan_goes_on_behind_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"path": "a.wav"}\n\nnonsense\n{"path": "b.wav"}\n')
    rows = list(scan_manifest(path))
    assert [number for number, _ in rows] == [1, 3, 4]
    assert isinstance(rows[1][1], BadLine)
    assert rows[2][1] == Utterance(tmp_path / "b.wav", None)


def test_a_text_may_hold_what_elsewhere_ends_a_line(tmp_path: Path) -> None:
    odd = Utterance(tmp_path / "a.wav", "one\u2028two\x85three\x1c\r")
    write_manifest(tmp_path / "m.jsonl", [odd])
    assert read_manifest(tmp_path / "m.jsonl") == [odd]


def test_a_dialogue_is_kept(tmp_path: Path) -> None:
    call = tmp_path / "call.wav"
    turns = [
        Utterance(None, "Be brief.", role="system", dialogue="call", turn=0),
        Utterance(call, None, num_samples=5, channel=0, role="user", dialogue="call", turn=1),
        Utterance(call, "Hi.", start=5, channel=1, role="assistant", dialogue="call", turn=2),
    ]
    write_manifest(tmp_path / "m.jsonl", turns)
    assert read_manifest(tmp_path / "m.jsonl") == turns
    first, second, _ = map(json.loads, (tmp_path / "m.jsonl").read_text().splitlines())
    assert first["path"] is None
    assert (second["channel"], second["turn"]) == (0, 1)


def test_fields_of_dialogues_are_left_out_where_there_is_none(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [Utterance(tmp_path / "a.wav", None)])
    assert (tmp_path / "m.jsonl").read_text() == (
        '{"path": "a.wav", "text": null, "start": 0, "num_samples": null, "speaker": "", '
        '"language": "en"}\n'
    )


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


def test_one_channel_is_taken(pack: tuple[Path, np.ndarray]) -> None:
    path, samples = pack
    for channel in (0, 1):
        cut = Utterance(path, "side", start=3_000, num_samples=1_000, channel=channel)
        expected = torch.from_numpy(samples[3_000:4_000, channel].copy())
        assert torch.equal(read_samples(cut, 8_000), expected)
    with pytest.raises(AudioError, match=r"pack\.wav has no channel 2: it has 2"):
        read_samples(Utterance(path, "none", channel=2), 8_000)


def test_a_written_turn_has_nothing_to_read() -> None:
    with pytest.raises(AudioError, match=r"a written turn has no recording to read: 'Be brief\.'"):
        read_samples(Utterance(None, "Be brief.", role="system"), 8_000)


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
