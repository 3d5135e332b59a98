"""Results that are whole or absent: written beside their final name, then renamed."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voiceglm.errors import OutputError

CHECKSUMS = "checksums.json"


def check_place(path: Path) -> None:
    """Refuse a file name that cannot be written, before work is spent on its content.

    Raises:
        OutputError: If the folder is missing or closed to us, or the name is a folder's.
    """
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder, expected a file name")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: the folder {path.parent} is not writable")


def write_file(path: str | Path, data: bytes) -> None:
    """Write a whole file or nothing; an older file of that name stays until the last moment.

    Raises:
        OutputError: If the disk is full, or the folder is missing or not writable.
    """
    path = Path(path)
    check_place(path)
    draft = _beside(path)
    try:
        draft.write_bytes(data)
        _sync(draft)
        draft.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {_reason(error)}") from None
    finally:
        draft.unlink(missing_ok=True)


def write_json_lines(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, all of them or nothing; see :func:`write_file`.

    Raises:
        OutputError: If the file cannot be written.
    """
    lines = (f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    write_file(path, "".join(lines).encode())


@contextmanager
def new_folder(folder: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Fill a draft folder that takes its final name only if the block ends well.

    Args:
        folder: The final name. It may exist if it is empty, or if ``replace`` is set.
        replace: Put the new folder in the place of an old one.

    Yields:
        The draft, an empty folder beside the final one.

    Raises:
        OutputError: If the folder is in the way, or cannot be written; nothing is left behind.
    """
    folder = Path(folder)
    check_folder_place(folder, replace=replace)
    draft = _beside(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        yield draft
        for path in draft.rglob("*"):
            if path.is_file():
                _sync(path)
        _take_name(draft, folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {_reason(error)}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_folder_place(folder: Path, *, replace: bool = False) -> None:
    """Refuse a folder name that is taken, before work is spent on its content.

    Raises:
        OutputError: If a file, or a folder that is not empty, has that name.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file, expected a folder")
    if folder.is_dir() and any(folder.iterdir()) and not replace:
        raise OutputError(f"{folder} exists already; name another folder or remove it first")


def checksums(folder: str | Path) -> dict[str, str]:
    """Return the SHA-256 of every file under a folder by its relative path, but the list's own.

    Saved as ``checksums.json`` it is what ``voiceglm doctor`` compares with.
    """
    folder = Path(folder)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CHECKSUMS
    }


def write_checksums(folder: Path) -> None:
    """Write ``checksums.json`` of what a folder holds.

    Raises:
        OutputError: If it cannot be written.
    """
    write_file(folder / CHECKSUMS, json.dumps(checksums(folder), indent=1).encode())


def _sync(path: Path) -> None:
    """Wait until a file is on the disk; some file systems say that they are full only here."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _take_name(draft: Path, folder: Path) -> None:
    if not folder.is_dir():
        draft.rename(folder)
        return
    old = _beside(folder, "old")
    folder.rename(old)
    try:
        draft.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, kind: str = "tmp") -> Path:
    """Return a sibling name of this process: a rename within one folder is atomic."""
    path = path.absolute()
    return path.with_name(f".{path.name}.{os.getpid()}.{kind}")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
