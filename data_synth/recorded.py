"""Recordings of any source, row by row: manifests, Lhotse's cuts, Lhotse Shar and WebDataset.

    manifest.jsonl  cuts.jsonl.gz                  recordings on disk
    cuts.000000.jsonl.gz + recording.000000.tar    Lhotse Shar
    shard-000000.tar                               WebDataset: key.wav, key.txt or key.json

A row that cannot be used is a ``BadRow`` with the reason. Rows are numbered within their file, and
an archive is read from the middle, so that any range of rows costs what it holds.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from data_synth.intake import SUFFIXES as RECORDINGS
from data_synth.intake import one_line
from data_synth.lhotse_cuts import (
    about,
    bounds,
    is_cut,
    is_shar_archive,
    language_of,
    read_cut,
    shar_recordings,
    text_of,
)
from data_synth.sources import BLANK, BadRow, count_rows, find_named, json_rows
from data_synth.tar_samples import (
    Damage,
    Sample,
    Split,
    at_first_dot,
    at_last_dot,
    count_samples,
    only,
    scan_samples,
)
from voiceglm.audio import decode_audio
from voiceglm.errors import SourceError
from voiceglm.manifest import read_samples, utterance_of
from voiceglm.scripts import script

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".tar")
TEXTS = ("text", "transcript", "transcription", "sentence")
"""What the text may be called in a sample's JSON, the first that is there."""
_AUDIO = tuple(suffix.removeprefix(".") for suffix in RECORDINGS)


@dataclass(frozen=True)
class Recorded:
    """A row with a recording.

    Attributes:
        row: Its number.
        id: Its name.
        text: What is said; None where nobody wrote it down.
        language: Two letters.
        load: Gives (num_samples,) at a rate in hertz; raises AudioError.
    """

    row: int
    id: str
    text: str | None
    language: str
    load: Callable[[int], Tensor]


def find_recorded(paths: list[Path]) -> list[Path]:
    """Return the sources named, and those in the folders named, sorted.

    Raises:
        SourceError: If there is none, or one has an unknown end.
    """
    return [path for path in find_named(paths, SUFFIXES) if not is_shar_archive(path)]


def count_recorded(path: Path, every: int) -> tuple[int, list[int]]:
    """Count the rows of a source; see :func:`data_synth.sources.count_rows`."""
    if path.suffix == ".tar":
        return count_samples(path, at_first_dot, every)
    archive = shar_recordings(path)
    count, places = count_rows(path, every)
    if archive is None:
        return count, places
    _, places = count_samples(archive, at_last_dot, every)
    return count, places if len(places) == -(-count // every) else []


def companions(path: Path) -> list[Path]:
    """Return what else belongs to a source: the archive of Lhotse Shar."""
    archive = shar_recordings(path)
    return [archive] if archive else []


def read_recorded(
    path: Path, start: int, stop: int, place: int | None = None
) -> Iterator[Recorded | BadRow]:
    """Read the rows from ``start`` up to ``stop``; lines that are blank are none.

    Args:
        path: Of the source.
        start: First row.
        stop: The row behind the last.
        place: The byte at which ``start`` begins, if that is known; of Shar's, in its archive.

    Raises:
        SourceError: If the file is gone.
    """
    if not path.is_file():
        raise SourceError(f"no such file: {path}")
    if path.suffix == ".tar":
        rows = enumerate(_samples(path, at_first_dot, start, stop, place), start)
        yield from (_of_sample(number, sample) for number, sample in rows)
        return
    archive = shar_recordings(path)
    if archive:
        yield from _of_shar(path, archive, start, stop, place)
        return
    for number, row in json_rows(path, start, stop, place):
        if row != BLANK:
            yield _of_row(path, number, row)


def _samples(
    archive: Path, split: Split, start: int, stop: int, place: int | None
) -> Iterator[Sample | Damage]:
    skipped = start if place is None else 0
    return islice(scan_samples(archive, split, place or 0), skipped, skipped + stop - start)


def _of_row(path: Path, number: int, row: Mapping[str, Any] | str) -> Recorded | BadRow:
    """Read a line of a manifest, or a cut of Lhotse."""
    if isinstance(row, str):
        return BadRow(number, "not an utterance")
    found = read_cut(row, path.parent) if is_cut(row) else utterance_of(row, path.parent)
    if isinstance(found, str):
        return BadRow(number, found if is_cut(row) else "not an utterance")
    if found.path is None:
        return BadRow(number, "no recording")
    name = str(row["id"]) if is_cut(row) else f"{path.name}#{number + 1}"
    return Recorded(number, name, found.text, found.language, partial(read_samples, found))


def _of_sample(number: int, sample: Sample | Damage) -> Recorded | BadRow:
    """Read a sample of WebDataset."""
    if isinstance(sample, Damage):
        return BadRow(number, sample.reason)
    audio = only(sample.files, _AUDIO)
    if audio is None:
        return BadRow(number, "no recording")
    try:
        said = _said(sample)
    except UnicodeDecodeError:
        return BadRow(number, "not UTF-8")
    except (ValueError, RecursionError):
        return BadRow(number, "not JSON")
    text = next((said[name] for name in TEXTS if isinstance(said.get(name), str)), None)
    text = None if text is None else one_line(text)
    otherwise = "zh" if script(text or "") == "zh" else "en"
    language = language_of(said.get("language") or said.get("lang"), otherwise)
    load = partial(_decode, sample, audio)
    return Recorded(number, sample.key, text, language, load)


def _said(sample: Sample) -> Mapping[str, Any]:
    """Return what the JSON of a sample says, and its text file as ``text``."""
    about: dict[str, Any] = {}
    if name := only(sample.files, ("json",)):
        row = json.loads(sample.read(name).decode())
        about = row if isinstance(row, dict) else {}
    if name := only(sample.files, ("txt",)):
        about["text"] = sample.read(name).decode("utf-8-sig")
    return about


def _decode(sample: Sample, name: str, sample_rate: int) -> Tensor:
    return decode_audio(sample.read(name), sample_rate, what=f"{sample.archive} {sample.key}")


def _of_shar(
    path: Path, archive: Path, start: int, stop: int, place: int | None
) -> Iterator[Recorded | BadRow]:
    """Read cuts beside their recordings, which stand in the same order."""
    samples = _samples(archive, at_last_dot, start, stop, place)
    for number, row in json_rows(path, start, stop):
        sample = next(samples, None)
        if isinstance(row, str):
            yield BadRow(number, "not a cut")
        elif not isinstance(sample, Sample) or sample.key != str(row.get("id")):
            yield BadRow(number, "its recording is not in the archive")
        else:
            yield _of_cut(number, row, sample)


def _of_cut(number: int, cut: Mapping[str, Any], sample: Sample) -> Recorded | BadRow:
    audio = only(sample.files, _AUDIO)
    if audio is None:
        return BadRow(number, "no recording")
    try:
        bounds(cut, 1)
        text, language = text_of(cut), about(cut)["language"]
    except (KeyError, TypeError, ValueError, AttributeError):
        return BadRow(number, "not a cut")
    return Recorded(number, sample.key, text, language, partial(_cut_out, cut, sample, audio))


def _cut_out(cut: Mapping[str, Any], sample: Sample, name: str, sample_rate: int) -> Tensor:
    start, length = bounds(cut, sample_rate)
    return _decode(sample, name, sample_rate)[start : start + length]
