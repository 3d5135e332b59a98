"""Every row of a file is read once, whatever part of it is asked for; bad ones are told apart."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from data_synth import sources
from data_synth.sources import BadRow, Columns, Document, count_rows, find_files, read_rows
from voiceglm.errors import SourceError

ROWS: list[dict[str, Any]] = [
    {"id": f"d{n}", "text": f"text {n} 你好", "language": "en", "score": n} for n in range(25)
]


def written(path: Path, lines: list[bytes]) -> Path:
    data = b"".join(line + b"\n" for line in lines)
    if path.name.endswith(".gz"):
        data = gzip.compress(data)
    elif path.name.endswith(".zst"):
        half = len(data) // 2
        data = zstd(data[:half]) + zstd(data[half:])
    path.write_bytes(data)
    return path


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def a_file(folder: Path, suffix: str) -> Path:
    path = folder / f"texts{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=7)
        return path
    return written(path, [json.dumps(row, ensure_ascii=False).encode() for row in ROWS])


@pytest.mark.parametrize("suffix", sources.SUFFIXES)
def test_any_part_of_a_file(tmp_path: Path, suffix: str) -> None:
    path = a_file(tmp_path, suffix)
    count, places = count_rows(path, 4)
    assert count == 25
    assert bool(places) == (suffix == ".jsonl")
    expected = [Document(n, row["id"], row["text"], "en") for n, row in enumerate(ROWS)]
    assert list(read_rows(path, 0, 25, Columns())) == expected
    for number, start in enumerate(range(0, 25, 4)):
        stop = min(start + 4, 25)
        place = places[number] if places else None
        assert list(read_rows(path, start, stop, Columns(), place)) == expected[start:stop]


def test_bad_rows(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}',
        b'{"text": "caf\xe9"}',
        b'{"text": "torn',
        b"[1, 2]",
        b'{"txt": "misnamed"}',
        b'{"text": 5}',
        b"",
        b'{"text": "half \\ud83d"}',
        b"[" * 100_000,
        b'{"text": "good", "id": 7, "language": 3}',
    ]
    path = written(tmp_path / "texts.jsonl", lines)
    found = list(read_rows(path, 0, len(lines), Columns()))
    reasons = {row.row: row.reason for row in found if isinstance(row, BadRow)}
    assert reasons == {
        1: "not UTF-8",
        2: "not JSON",
        3: "not a JSON object",
        4: "no text",
        5: "text is no string",
        6: "empty or endless line",
        7: "half of a character",
        8: "not JSON",
    }
    assert found[0] == Document(0, "texts.jsonl#0", "good", None)
    assert found[9] == Document(9, "7", "good", None)


def test_an_endless_line_costs_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE", 50)
    lines = [b'{"text": "a"}', b'{"text": "' + b"x" * 200 + b'"}', b'{"text": "b"}']
    path = written(tmp_path / "texts.jsonl", lines)
    first, second, third = read_rows(path, 0, 3, Columns())
    assert isinstance(first, Document)
    assert second == BadRow(1, "empty or endless line")
    assert isinstance(third, Document)
    assert third.text == "b"


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_a_file_that_is_damaged_in_the_middle(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"texts{suffix}"
    noise = [json.dumps({"text": f"{n**7}"}).encode() for n in range(20_000)]
    written(path, noise)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = list(read_rows(path, 0, 20_000, Columns()))
    assert [row.row for row in found] == list(range(20_000))
    assert isinstance(found[0], Document)
    assert isinstance(found[-1], BadRow)
    assert found[-1].reason.startswith("unreadable: ") or found[-1].reason.startswith("empty")
    with pytest.raises(SourceError, match="cannot read"):
        count_rows(path, 10)


def test_a_page_of_parquet_that_is_damaged(tmp_path: Path) -> None:
    path = a_file(tmp_path, ".parquet")
    group = parquet.read_metadata(path).row_group(1).column(1)
    data = bytearray(path.read_bytes())
    start = group.dictionary_page_offset or group.data_page_offset
    data[start : start + group.total_compressed_size] = bytes(group.total_compressed_size)
    path.write_bytes(data)
    found = list(read_rows(path, 0, 25, Columns()))
    assert [row.row for row in found] == list(range(25))
    bad = [row.row for row in found if isinstance(row, BadRow)]
    assert bad == list(range(7, 14)), "that group and no other"


def test_columns_have_other_names(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    parquet.write_table(pa.table({"content": ["a b c"], "url": ["u"]}), path)
    with pytest.raises(SourceError, match=r"no column 'text'; it has content, url"):
        list(read_rows(path, 0, 1, Columns()))
    (row,) = read_rows(path, 0, 1, Columns(text="content", id="url"))
    assert row == Document(0, "u", "a b c", None)


def test_what_is_found(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    wanted = [a_file(tmp_path / "in", suffix) for suffix in (".jsonl", ".parquet")]
    (tmp_path / "in" / "notes.txt").write_text("x")
    (tmp_path / "in" / ".hidden.jsonl").write_text("x")
    assert find_files([tmp_path]) == wanted
    assert find_files([wanted[1], wanted[0]]) == [wanted[1], wanted[0]], "in the order given"
    for bad, reason in ((tmp_path / "no", "no such"), (tmp_path / "in" / "notes.txt", "ends in")):
        with pytest.raises(SourceError, match=reason):
            find_files([bad])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="nothing to read"):
        find_files([tmp_path / "empty"])
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match="cannot read"):
        count_rows(broken, 10)
