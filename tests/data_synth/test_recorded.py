"""Recordings out of Lhotse's and WebDataset's files: any range of them, and damage."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from data_synth.recorded import Recorded, count_recorded, find_recorded, read_recorded
from data_synth.shards import read_shard
from data_synth.sources import BadRow
from data_synth.statistics import status
from tests.data_synth import speech_archives as made
from tests.data_synth.tiny import corpus_of, make, planned, tiny_config, tiny_model
from voiceglm.errors import SourceError

COUNT = 7
EVERY = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def source(folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "webdataset":
        return made.webdataset(folder / "shard-000000.tar", COUNT)
    if kind == "shar":
        return made.lhotse_shar(folder, COUNT)
    return made.lhotse_cuts(folder / ("cuts.jsonl" if kind == "cuts" else "cuts.jsonl.gz"), COUNT)


KINDS = ("webdataset", "shar", "cuts", "cuts.gz")


def rows_of(path: Path) -> list[Recorded | BadRow]:
    return list(read_recorded(path, 0, count_recorded(path, EVERY)[0]))


def good(found: list[Recorded | BadRow]) -> list[Recorded]:
    return [row for row in found if isinstance(row, Recorded)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_them(tmp_path: Path, kind: str) -> None:
    found = good(rows_of(source(tmp_path / "a", kind)))
    assert [row.text for row in found] == [f"number {n}" for n in range(COUNT)]
    assert {row.language for row in found} == {"en"}
    for number, row in enumerate(found):
        length = 0.5 + 0.1 * number if kind == "webdataset" else 2.0
        expected = made.noise(number, length)
        expected = expected if kind == "webdataset" else expected[8_000:24_000]
        assert np.abs(row.load(made.RATE).numpy() - expected).max() < 1e-4
        assert len(row.load(8_000)) == len(expected) // 2
    expected_id = "part/003" if kind == "webdataset" else "cut-3_sp1.3"
    assert found[3].id == expected_id


@pytest.mark.parametrize("kind", KINDS)
def test_any_range_is_part_of_the_whole(tmp_path: Path, kind: str) -> None:
    path = source(tmp_path / "a", kind)
    count, places = count_recorded(path, EVERY)
    assert count == COUNT
    whole = [(row.row, row.id) for row in good(rows_of(path))]
    assert whole == [(n, name) for n, (_, name) in enumerate(whole)]
    for start in range(0, COUNT, EVERY):
        part = slice(start, start + EVERY)
        here = places[start // EVERY] if places else None
        for place in {here, None}:
            found = list(read_recorded(path, start, min(start + EVERY, COUNT), place))
            assert [(row.row, row.id) for row in good(found)] == whole[part]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_whoever_makes_which_shard(tmp_path: Path, model: Path, kind: str) -> None:
    path = source(tmp_path / "a", kind)
    corpora = []
    for backwards in (False, True):
        folder = tmp_path / f"corpus-{backwards}"
        planned(folder, [path], tiny_config(model, kind="asr", documents_per_shard=EVERY))
        make(folder, backwards=backwards)
        corpora.append(corpus_of(folder))
    assert corpora[0] == corpora[1]
    assert sum(len(read_shard(folder, n)) for n in range(4)) == COUNT


def test_every_layout_gives_the_ids_that_a_manifest_gives(tmp_path: Path, model: Path) -> None:
    found = {}
    for kind in ("shar", "cuts"):
        path = source(tmp_path / kind / "a", kind)
        folder = tmp_path / kind / "corpus"
        planned(folder, [path], tiny_config(model, kind="tts"))
        make(folder)
        found[kind] = [row.ids for row in read_shard(folder, 0)]
    home = tmp_path / "plain"
    home.mkdir()
    rows = []
    for number in range(COUNT):
        soundfile.write(home / f"{number}.wav", made.noise(number, 2.0)[8_000:24_000], made.RATE)
        rows.append({"path": f"{number}.wav", "text": f"number {number}"})
    planned(
        tmp_path / "p", [made.write_lines(home / "m.jsonl", rows)], tiny_config(model, kind="tts")
    )
    make(tmp_path / "p")
    assert found["cuts"] == [row.ids for row in read_shard(tmp_path / "p", 0)]
    assert found["shar"] == found["cuts"]


def test_bad_samples_are_counted_and_stop_nothing(tmp_path: Path, model: Path) -> None:
    sound = made.audio_bytes(made.noise(0))
    files = [
        ("a.flac", sound), ("a.txt", b"good"),
        ("b.flac", sound[: len(sound) // 2]), ("b.txt", b"half a recording"),
        ("c.txt", b"no recording"),
        ("d.flac", sound),
        ("e.flac", sound), ("e.txt", b"\xff\xfe"),
        ("f.flac", sound), ("f.json", b"{torn"),
        ("g.flac", b"no audio"), ("g.json", b'{"transcript": "none"}'),
        ("h.mp3", made.audio_bytes(made.noise(1), "MP3")), ("h.json", b'{"sentence": "good"}'),
    ]  # fmt: skip
    path = made.tar(tmp_path / "x.tar", files)
    folder = tmp_path / "corpus"
    plan = planned(folder, [path], tiny_config(model, kind="asr", documents_per_shard=3))
    make(folder)
    found = status(folder, plan)
    assert found.counts["rows"] == 2
    assert found.counts["documents"] == 8
    assert found.left_out == {
        "unreadable recording": 2, "no recording": 1, "no text": 1, "not UTF-8": 1, "not JSON": 1,
    }  # fmt: skip


@pytest.mark.parametrize("where", ["in a file", "in a header", "at the end", "broken header"])
def test_a_truncated_or_damaged_archive_gives_what_it_has(tmp_path: Path, where: str) -> None:
    path = made.webdataset(tmp_path / "x.tar", COUNT)
    data = bytearray(path.read_bytes())
    samples = count_recorded(path, 1)[1]
    if where == "broken header":
        data[samples[4] : samples[4] + 512] = b"x" * 512
    else:
        end = len(bytes(data).rstrip(b"\0"))
        cut = {"in a file": 800, "in a header": 100, "at the end": 0}[where] + samples[4]
        data = data[:cut] if where != "at the end" else data[: -(-end // 512) * 512]
    path.write_bytes(data)
    count, places = count_recorded(path, 1)
    found = rows_of(path)
    whole = COUNT if where == "at the end" else 4
    assert count == len(found) == whole + 1
    assert [row.text for row in good(found)] == [f"number {n}" for n in range(whole)]
    assert isinstance(found[-1], BadRow)
    assert found[-1].reason == f"the archive is {'damaged' if 'broken' in where else 'cut off'}"
    for number, place in enumerate(places):
        assert [type(row) for row in read_recorded(path, number, number + 1, place)] == [
            type(found[number])
        ]


def test_cuts_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    home = tmp_path / "lists"
    home.mkdir()
    made.lhotse_cuts(home / "good.jsonl", 2)
    soundfile.write(tmp_path / "wavs" / "both.wav", made.noise(9, 1.5, channels=2), made.RATE)
    (tmp_path / "wavs" / "broken.wav").write_bytes(b"no audio")
    both = [{"type": "file", "channels": [0, 1], "source": "wavs/both.wav"}]
    right = made.cut(5, "", channel=1)
    right["recording"] |= {"sources": both}
    changed = made.cut(6, "wavs/0.wav")
    changed["recording"] |= {"transforms": [{"name": "Speed", "kwargs": {"factor": 1.1}}]}
    rows: list[dict[str, Any] | str] = [
        right,
        {**right, "channel": [0, 1], "type": "MultiCut", "supervisions": []},
        changed,
        made.cut(7, "wavs/none.wav"),
        made.cut(8, "wavs/broken.wav"),
        made.cut(9, "wavs/0.wav", start=7),
        made.cut(10, "wavs/0.wav", duration=None),
        made.cut(11, "gs://bucket/x", "url"),
        {"id": "m", "tracks": [], "type": "MixedCut"},
        "{torn",
    ]
    found = rows_of(made.write_lines(home / "cuts.jsonl.gz", rows))
    sound = made.noise(9, 1.5, channels=2)[8_000:]
    first, second = good(found)
    assert np.abs(first.load(made.RATE).numpy() - sound[:, 1]).max() < 1e-4
    assert np.abs(second.load(made.RATE).numpy() - sound.mean(axis=1)).max() < 1e-4
    assert second.text is None
    assert Counter(row.reason for row in found if isinstance(row, BadRow)) == {
        "its recording is to be changed (Speed)": 1,
        "recording is missing": 1,
        "recording cannot be read": 1,
        "outside of its recording": 1,
        "not a cut": 1,
        "its recording is no file (url)": 1,
        "a MixedCut has no recording of its own": 1,
        "not an utterance": 1,
    }


def test_shar_belongs_together(tmp_path: Path, model: Path) -> None:
    cuts = made.lhotse_shar(tmp_path, COUNT)
    assert find_recorded([tmp_path]) == [cuts], "its archive is no source by itself"
    folder = tmp_path / "out" / "corpus"
    folder.parent.mkdir()
    planned(folder, [cuts], tiny_config(model, kind="speech", documents_per_shard=EVERY))
    archive = tmp_path / "recording.000000.tar"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:60_000])
    with pytest.raises(SourceError, match="has changed since the plan was made"):
        make(folder)
    missing = [row.reason for row in rows_of(cuts) if isinstance(row, BadRow)]
    assert missing == ["its recording is not in the archive"] * len(missing)
    assert 0 < len(missing) < COUNT
    archive.write_bytes(whole)
    make(folder)
    assert sum(len(read_shard(folder, n)) for n in range(4)) == COUNT


def test_what_is_no_archive_is_refused(tmp_path: Path, model: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(SourceError, match=r"cannot read .*x\.tar"):
        count_recorded(tmp_path / "x.tar", EVERY)
    good_one = made.webdataset(tmp_path / "y.tar", 2)
    plan = planned(tmp_path / "c", [tmp_path], tiny_config(model, kind="speech"))
    assert [source.path for source in plan.sources] == [str(good_one)]
    assert list(plan.unreadable) == [str(tmp_path / "x.tar")]


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "0.wav", made.noise(0), made.RATE)
    row = json.dumps({"path": "0.wav", "text": "hello"})
    (tmp_path / "m.jsonl").write_bytes(b"\xef\xbb\xbf" + f"{row}\n\n{row}\n".encode())
    assert [row.text for row in good(rows_of(tmp_path / "m.jsonl"))] == ["hello", "hello"]
    assert len(rows_of(tmp_path / "m.jsonl")) == 2, "a blank line is none"
