"""Finished shards on disk: whole or absent, the same bytes whoever makes them.

    corpus/00003.parquet   rows of ids (``SCHEMA``), zstd, bytes of equal rank side by side
    training/00003.ds      the same ids end to end, uint32, for datatrove's DatatroveFolderDataset
    training/00003.ds.index   uint64, where each row ends
    done/00003.json        what was counted, and a SHA-256 of each file; written last

A shard is finished when its file under ``done/`` is there, and nobody reads it before.
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from voiceglm.errors import OutputError, SourceError
from voiceglm.files import write_file
from voiceglm.vocabulary import Vocabulary

CORPUS, TRAINING, DONE = "corpus", "training", "done"
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
        pa.field("num_text", pa.int32(), nullable=False),
        pa.field("num_speech", pa.int32(), nullable=False),
        pa.field("spans", pa.list_(pa.list_(pa.int32(), 2)), nullable=False),
    ]
)


@dataclass(frozen=True)
class CorpusRow:
    """A document, or a part of a long one, as ids.

    Attributes:
        id: Of the document.
        part: Number of the part, from 0.
        language: Two letters.
        ids: As the language model reads them, opening and end included.
        spans: Where in ``ids`` speech begins, and the place behind its last id.
    """

    id: str
    part: int
    language: str
    ids: list[int]
    spans: list[tuple[int, int]]

    @property
    def num_speech(self) -> int:
        """Speech ids."""
        return sum(end - start for start, end in self.spans)


def speech_spans(ids: Sequence[int], vocabulary: Vocabulary) -> list[tuple[int, int]]:
    """Return where speech begins among ids, and the place behind its last, stretch by stretch."""
    found: list[tuple[int, int]] = []
    for place, id_ in enumerate(ids):
        if not vocabulary.is_speech(id_):
            continue
        if found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
    return found


def tally(
    rows: Sequence[CorpusRow], count: Counter[str], left_out: Counter[str]
) -> dict[str, dict[str, int]]:
    """Return what the mark of a shard says of its rows, and of what came before them."""
    count["rows"] = len(rows)
    count["ids"] = sum(len(row.ids) for row in rows)
    count["speech_ids"] = sum(row.num_speech for row in rows)
    counts = {"counts": count, "left_out": left_out}
    return {name: dict(sorted(each.items())) for name, each in counts.items()}


def shard_name(number: int) -> str:
    """Return what the files of a shard are called."""
    return f"{number:05d}"


def write_shard(
    folder: Path,
    number: int,
    rows: Sequence[CorpusRow],
    counts: Mapping[str, Any],
    metadata: Mapping[str, str],
    *,
    training_view: bool,
) -> None:
    """Write a shard, its mark last.

    Args:
        folder: Of the synthesis.
        number: Of the shard.
        rows: In order.
        counts: What the mark says of it.
        metadata: Where the rows come from; kept in the Parquet file.
        training_view: Also write the ``.ds`` file.

    Raises:
        OutputError: If the disk is full or closed to us; the shard is not marked then.
    """
    name = shard_name(number)
    files = {f"{CORPUS}/{name}.parquet": _parquet(rows, metadata)}
    if training_view:
        ends = np.cumsum([len(row.ids) for row in rows], dtype=np.uint64)
        ids = [np.array(row.ids, dtype="<u4") for row in rows]
        flat = np.concatenate(ids) if ids else np.zeros(0, "<u4")
        files[f"{TRAINING}/{name}.ds"] = flat.tobytes()
        files[f"{TRAINING}/{name}.ds.index"] = ends.astype("<u8").tobytes()
    for path, data in files.items():
        _make(folder / path)
        write_file(folder / path, data)
    sums = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    mark = json.dumps({**counts, "files": sums}, ensure_ascii=False, indent=1)
    path = folder / DONE / f"{name}.json"
    _make(path)
    write_file(path, f"{mark}\n".encode())


def is_finished(folder: Path, number: int) -> bool:
    """Say whether a shard is marked."""
    return (folder / DONE / f"{shard_name(number)}.json").is_file()


def finished(folder: Path, num_shards: int) -> list[int]:
    """Return the numbers of the shards that are marked."""
    names = {path.stem for path in (folder / DONE).glob("*.json")}
    return [number for number in range(num_shards) if shard_name(number) in names]


def read_mark(folder: Path, number: int) -> dict[str, Any]:
    """Return what was counted of a finished shard.

    Raises:
        SourceError: If it is not finished, or its mark is damaged.
    """
    path = folder / DONE / f"{shard_name(number)}.json"
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} is no mark of a finished shard: {error}") from None


def damaged(folder: Path, number: int) -> list[str]:
    """Return the files of a finished shard that are missing or not what its mark says."""
    return [
        name
        for name, digest in read_mark(folder, number)["files"].items()
        if not (folder / name).is_file()
        or hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest
    ]


def read_shard(folder: Path, number: int) -> list[CorpusRow]:
    """Read the rows of a finished shard.

    Raises:
        SourceError: If it is not finished, or cannot be read.
    """
    read_mark(folder, number)
    path = folder / CORPUS / f"{shard_name(number)}.parquet"
    try:
        rows = parquet.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"cannot read {path}: {error}") from None
    return [
        CorpusRow(
            row["id"], row["part"], row["language"], row["ids"], [(a, b) for a, b in row["spans"]]
        )
        for row in rows
    ]


def remove_drafts(folder: Path) -> int:
    """Remove what killed workers left half written; return how many files."""
    drafts = [path for part in (CORPUS, TRAINING, DONE) for path in (folder / part).glob(".*.tmp")]
    for path in drafts:
        path.unlink(missing_ok=True)
    return len(drafts)


def _parquet(rows: Sequence[CorpusRow], metadata: Mapping[str, str]) -> bytes:
    table = pa.table(
        {
            "id": [row.id for row in rows],
            "part": [row.part for row in rows],
            "language": [row.language for row in rows],
            "ids": [row.ids for row in rows],
            "num_text": [len(row.ids) - row.num_speech for row in rows],
            "num_speech": [row.num_speech for row in rows],
            "spans": [row.spans for row in rows],
        },
        schema=SCHEMA.with_metadata(dict(metadata)),
    )
    data = io.BytesIO()
    parquet.write_table(
        table,
        data,
        compression="zstd",
        use_dictionary=["language"],  # pyright: ignore[reportArgumentType]  a list is as good
        column_encoding={"ids.list.element": "BYTE_STREAM_SPLIT"},
    )
    return data.getvalue()


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {path.parent}: {error.strerror}") from None
