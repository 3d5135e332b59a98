"""Samples in tar archives: files of one key that follow one another, as WebDataset has them.

Only headers are read to find them. Python's own ``tarfile`` reads an archive, but its silence about
damage is not shared: where a header is broken, or a file is cut off, the rest is lost and that is
said.
"""

import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from voiceglm.errors import SourceError

_BLOCK = 512  # bytes; an archive ends with two such blocks of zeros
UNREADABLE = (tarfile.TarError, OSError, EOFError, ValueError)


@dataclass(frozen=True)
class Sample:
    """Files of one key.

    Attributes:
        archive: It is in.
        key: What their names begin with.
        place: Byte at which the first of them begins.
        files: First byte and size of each, by the end of its name.
    """

    archive: Path
    key: str
    place: int
    files: dict[str, tuple[int, int]] = field(default_factory=dict)

    def read(self, end: str) -> bytes:
        """Return the content of one of the files.

        Raises:
            OSError: If the archive cannot be read.
        """
        start, size = self.files[end]
        with self.archive.open("rb") as file:
            file.seek(start)
            return file.read(size)


@dataclass(frozen=True)
class Damage:
    """Where an archive cannot be read any further."""

    place: int
    reason: str


Split = Callable[[str], tuple[str, str]]
"""Gives the key of a file's name, and its end."""


def at_first_dot(name: str) -> tuple[str, str]:
    """Split as WebDataset does: ``a/b.left.wav`` is ``left.wav`` of ``a/b``."""
    folder, slash, base = name.rpartition("/")
    stem, _, end = base.partition(".")
    return folder + slash + stem, end.lower()


def at_last_dot(name: str) -> tuple[str, str]:
    """Split as Lhotse does, whose ids may have dots: ``b_1.1.flac`` is ``flac`` of ``b_1.1``."""
    stem, _, end = name.rpartition(".")
    return stem, end.lower()


def scan_samples(archive: Path, split: Split, place: int = 0) -> Iterator[Sample | Damage]:
    """Give every sample from a place on; last of all the damage, if there is any.

    Args:
        archive: A tar file, not compressed.
        split: Tells the key of a file.
        place: Byte at which a sample begins.

    Raises:
        SourceError: If it is no archive, or cannot be read.
    """
    sample: Sample | None = None
    for found in _files(archive, place):
        if isinstance(found, Damage):
            if sample:
                yield sample
            yield found
            return
        key, end = split(found.name)
        if sample and sample.key != key:
            yield sample
            sample = None
        sample = sample or Sample(archive, key, found.offset)
        sample.files[end] = (found.offset_data, found.size)
    if sample:
        yield sample


def count_samples(archive: Path, split: Split, every: int) -> tuple[int, list[int]]:
    """Count samples, damage being one, and say at which byte one in so many begins.

    Raises:
        SourceError: If it is no archive, or cannot be read.
    """
    number, places = 0, []
    for found in scan_samples(archive, split):
        if number % every == 0:
            places.append(found.place)
        number += 1
    return number, places


def _files(path: Path, place: int) -> Iterator[tarfile.TarInfo | Damage]:
    try:
        with path.open("rb") as file:
            yield from _read_headers(file, place)
    except UNREADABLE as error:
        raise SourceError(f"cannot read {path}: {error}") from None


def _read_headers(file: BinaryIO, place: int) -> Iterator[tarfile.TarInfo | Damage]:
    size = os.fstat(file.fileno()).st_size
    file.seek(place)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while info := _next(archive):
            # Or it would keep all of them.
            archive.members = []  # pyright: ignore[reportAttributeAccessIssue]
            if info.offset_data + info.size > size:
                yield Damage(info.offset, "the archive is cut off")
                return
            if info.isreg():
                yield info
        file.seek(archive.offset)
        end = file.read(_BLOCK)
        if len(end) < _BLOCK:
            yield Damage(archive.offset, "the archive is cut off")
        elif any(end):
            yield Damage(archive.offset, "the archive is damaged")


def _next(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except tarfile.ReadError:  # what follows is told by where it stopped
        return None


def only(files: Mapping[str, object], ends: tuple[str, ...]) -> str | None:
    """Return the first of a sample's files with one of these ends, ``left.wav`` for ``wav`` too."""
    return next((name for name in files if name.rpartition(".")[2] in ends), None)
