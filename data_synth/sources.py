"""Written documents from files: rows of Parquet and of JSON lines, plain or compressed.

A row that cannot be used is a :class:`BadRow` with the reason, never an exception: one bad document
does not stop a run. Rows are numbered within their file, so that any range of them can be read.
"""

import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow
from pyarrow import parquet

from voiceglm.errors import SourceError

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst")
BATCH = 256  # rows that are read at once
MAX_LINE = 64 << 20  # bytes
BLANK = "empty or endless line"

_ORDER_MARK = b"\xef\xbb\xbf"  # that some editors put before the first line
_UNREADABLE = (OSError, EOFError, ValueError, pyarrow.ArrowException)
Row = Mapping[str, Any] | str  # or why there is none


@dataclass(frozen=True)
class Columns:
    """What the fields of a row are called; the defaults are those of FineWeb-Edu.

    Attributes:
        text: The document; a row without it is no document.
        id: Its name; by default the file's name and the row's number.
        language: Two letters, as in ``en`` and ``zh``; by default told from the script.
    """

    text: str = "text"
    id: str = "id"
    language: str = "language"


@dataclass(frozen=True)
class Document:
    """One row."""

    row: int
    id: str
    text: str
    language: str | None


@dataclass(frozen=True)
class BadRow:
    """A row that is no document."""

    row: int
    reason: str


def find_files(paths: list[Path]) -> list[Path]:
    """Return the documents' files named, and those in the folders named; see `find_named`."""
    return find_named(paths, SUFFIXES)


def find_named(paths: list[Path], suffixes: Sequence[str]) -> list[Path]:
    """Return the files named, and those with one of these ends in the folders named, sorted.

    Raises:
        SourceError: If there is none, or one has an unknown end.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (each for each in path.rglob("*") if each.is_file())
            found += sorted(each for each in inside if _suffix(each, suffixes))
        elif not path.is_file():
            raise SourceError(f"no such file or folder: {path}")
        elif not _suffix(path, suffixes):
            raise SourceError(f"{path} ends in none of {', '.join(suffixes)}")
        else:
            found.append(path)
    if not found:
        raise SourceError(f"nothing to read: no {', '.join(suffixes)} in {paths[0]}")
    return found


def count_rows(path: Path, every: int) -> tuple[int, list[int]]:
    """Count the rows of a file.

    Args:
        path: The file.
        every: One row in so many is marked.

    Returns:
        How many rows, and at which byte each marked one begins; nothing where that cannot be used.

    Raises:
        SourceError: If it cannot be read.
    """
    try:
        if _suffix(path) == ".parquet":
            return parquet.read_metadata(path).num_rows, []
        with _open(path) as file:
            number, places = _count_lines(file, every)
    except _UNREADABLE as error:
        raise SourceError(f"cannot read {path}: {_first_line(error)}") from None
    return number, places if _suffix(path) == ".jsonl" else []


def check_columns(path: Path, columns: Columns) -> None:
    """Refuse a file of Parquet without a column for the text, before any work.

    Raises:
        SourceError: If it has none, or cannot be read; the columns it has are named.
    """
    if _suffix(path) != ".parquet":
        return  # every row of JSON lines has columns of its own
    try:
        known = parquet.read_schema(path).names
    except _UNREADABLE as error:
        raise SourceError(f"cannot read {path}: {_first_line(error)}") from None
    if columns.text not in known:
        raise SourceError(f"{path} has no column {columns.text!r}; it has {', '.join(known[:8])}")


def read_rows(
    path: Path, start: int, stop: int, columns: Columns, place: int | None = None
) -> Iterator[Document | BadRow]:
    """Read the rows from ``start`` up to ``stop``, every one of them once.

    Args:
        path: The file.
        start: First row.
        stop: The row behind the last.
        columns: What the fields are called.
        place: The byte at which ``start`` begins, if that is known.

    Raises:
        SourceError: If the file is gone, or its Parquet has no column for the text.
    """
    if not path.is_file():
        raise SourceError(f"no such file: {path}")
    check_columns(path, columns)
    if _suffix(path) == ".parquet":
        rows = _parquet_rows(path, start, stop, columns)
    else:
        rows = json_rows(path, start, stop, place)
    for number, row in rows:
        if isinstance(row, str):
            yield BadRow(number, row)
        else:
            yield _document(path, number, row, columns)


def json_rows(
    path: Path, start: int, stop: int, place: int | None = None
) -> Iterator[tuple[int, Row]]:
    """Read lines from ``start`` up to ``stop`` as objects, each with its number.

    Args:
        path: JSON lines, plain or compressed.
        start: First line.
        stop: The line behind the last.
        place: The byte at which ``start`` begins, if that is known.

    Yields:
        Each object, or in words why there is none.
    """
    number = first = 0 if place is None else start
    try:
        with _open(path) as file:
            if place:
                file.seek(place)
            for _ in range(first, start):
                _line(file)
            for number in range(start, stop):
                line = _line(file)
                yield number, _json_row(line if number else line.removeprefix(_ORDER_MARK))
        return
    except _UNREADABLE as error:  # such as a compressed file that is damaged in the middle
        reason = f"unreadable: {_first_line(error)}"
    for rest in range(max(number, start), stop):
        yield rest, reason


def _document(
    path: Path, number: int, row: Mapping[str, Any], columns: Columns
) -> Document | BadRow:
    text = row.get(columns.text)
    if text is None:
        return BadRow(number, "no text")
    if not isinstance(text, str):
        return BadRow(number, "text is no string")
    try:
        text.encode()
    except UnicodeEncodeError:
        return BadRow(number, "half of a character")
    name, language = row.get(columns.id), row.get(columns.language)
    return Document(
        number,
        str(name) if name is not None else f"{path.name}#{number}",
        text,
        language if isinstance(language, str) and language else None,
    )


def _count_lines(file: IO[bytes], every: int) -> tuple[int, list[int]]:
    number, place = 0, 0
    places = []
    for line in file:
        if number % every == 0:
            places.append(place)
        place += len(line)
        number += 1
    return number, places


def _line(file: IO[bytes]) -> bytes:
    """Read a line; of one that is too long nothing but its end."""
    line = part = file.readline(MAX_LINE)
    while len(part) == MAX_LINE and not part.endswith(b"\n"):
        line, part = b"", file.readline(MAX_LINE)
    return line


def _json_row(line: bytes) -> Row:
    if not line.strip():
        return BLANK
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError):
        return "not JSON"
    return row if isinstance(row, dict) else "not a JSON object"


def _parquet_rows(path: Path, start: int, stop: int, columns: Columns) -> Iterator[tuple[int, Row]]:
    try:
        file = parquet.ParquetFile(path)
    except _UNREADABLE as error:
        raise SourceError(f"cannot read {path}: {_first_line(error)}") from None
    with file:
        known = file.schema_arrow.names
        wanted = [name for name in (columns.text, columns.id, columns.language) if name in known]
        begins = 0
        for group in range(file.num_row_groups):
            ends = begins + file.metadata.row_group(group).num_rows
            if begins < stop and ends > start:
                inside = range(max(begins, start), min(ends, stop))
                yield from _group_rows(file, group, begins, inside, wanted)
            begins = ends


def _group_rows(
    file: parquet.ParquetFile, group: int, begins: int, inside: range, wanted: list[str]
) -> Iterator[tuple[int, Row]]:
    behind = inside.start  # of those that were read
    batches = file.iter_batches(BATCH, row_groups=[group], columns=wanted)
    rows = (row for batch in batches for row in batch.to_pylist())
    try:
        for number, row in enumerate(rows, start=begins):
            if number in inside:
                behind = number + 1
                yield number, row
        return
    except _UNREADABLE as error:  # a damaged page, or text that is not UTF-8
        reason = f"unreadable: {_first_line(error)}"
    for rest in range(behind, inside.stop):
        yield rest, reason


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    suffix = _suffix(path)
    if suffix == ".jsonl.gz":
        with gzip.open(path, "rb") as file:
            yield file  # type: ignore[misc]  it is one
    elif suffix == ".jsonl.zst":
        with pyarrow.input_stream(str(path), compression="zstd") as stream:
            yield io.BufferedReader(stream)  # type: ignore[arg-type]  it reads like one
    else:
        with path.open("rb") as file:
            yield file


def _suffix(path: Path, suffixes: Sequence[str] = SUFFIXES) -> str:
    """Return the known end of a name; nothing if it has none."""
    if path.name.startswith("."):
        return ""
    return next((suffix for suffix in suffixes if path.name.endswith(suffix)), "")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
