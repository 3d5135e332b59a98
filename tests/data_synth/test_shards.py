"""Shards are whole or absent, and other people's readers read them."""

import struct
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from data_synth import shards
from data_synth.shards import CorpusRow, damaged, finished, read_mark, read_shard, write_shard
from voiceglm.errors import OutputError, SourceError

ROWS = [
    CorpusRow("a", 0, "en", [5, 6, 70_000, 70_001, 7], [(2, 4)]),
    CorpusRow("a", 1, "zh", [8], []),
    CorpusRow("b", 0, "en", [70_002, 1, 70_003], [(0, 1), (2, 3)]),
]


def write(folder: Path, number: int = 3, *, training_view: bool = True) -> None:
    write_shard(
        folder, number, ROWS, {"counts": {"ids": 9}}, {"plan": "x"}, training_view=training_view
    )


def test_rows_come_back(tmp_path: Path) -> None:
    write(tmp_path)
    assert read_shard(tmp_path, 3) == ROWS
    assert finished(tmp_path, 10) == [3]
    assert read_mark(tmp_path, 3)["counts"] == {"ids": 9}
    assert damaged(tmp_path, 3) == []
    with pytest.raises(SourceError, match="no mark of a finished shard"):
        read_shard(tmp_path, 4)


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    write(tmp_path)
    file = parquet.ParquetFile(tmp_path / "corpus" / "00003.parquet")
    assert file.schema_arrow.metadata[b"plan"] == b"x"
    ids = file.metadata.row_group(0).column(3)
    assert ids.path_in_schema == "ids.list.element"
    assert ids.compression == "ZSTD"
    assert "BYTE_STREAM_SPLIT" in ids.encodings
    table = file.read().to_pydict()
    assert table["num_text"] == [3, 1, 1]
    assert table["num_speech"] == [2, 0, 2]


def test_datatrove_reads_the_training_view(tmp_path: Path) -> None:
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile
    from datatrove.utils.dataset import DatatroveFolderDataset

    write(tmp_path)
    theirs = TokenizedFile(str(tmp_path / "theirs"), "00003.ds", token_size=4)
    for row in ROWS:
        theirs.write(row.ids, None)
    theirs.close()
    for name in ("00003.ds", "00003.ds.index"):
        ours = (tmp_path / "training" / name).read_bytes()
        assert ours == (tmp_path / "theirs" / name).read_bytes()
    ends = struct.unpack("<3Q", (tmp_path / "training" / "00003.ds.index").read_bytes())
    assert ends == (5, 6, 9)
    dataset = DatatroveFolderDataset(str(tmp_path / "training"), seq_len=8, token_size=4)
    flat = np.concatenate([row.ids for row in ROWS])
    assert dataset[0]["input_ids"].tolist() == flat.tolist()


def test_the_view_is_optional(tmp_path: Path) -> None:
    write(tmp_path, training_view=False)
    assert not (tmp_path / "training").exists()
    assert read_shard(tmp_path, 3) == ROWS


def test_nothing_is_marked_before_it_is_whole(tmp_path: Path, full_disk) -> None:
    with full_disk(), pytest.raises(OutputError, match="cannot write"):
        write(tmp_path)
    assert finished(tmp_path, 10) == []
    assert not list(tmp_path.rglob("*.tmp"))
    write(tmp_path)
    assert damaged(tmp_path, 3) == []


def test_damage_is_found(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "corpus" / "00003.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    (tmp_path / "training" / "00003.ds").unlink()
    assert damaged(tmp_path, 3) == ["corpus/00003.parquet", "training/00003.ds"]


def test_drafts_of_the_dead_are_removed(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "corpus" / ".00004.parquet.123.tmp").write_bytes(b"half")
    assert shards.remove_drafts(tmp_path) == 1
    assert read_shard(tmp_path, 3) == ROWS
