"""Lists of recordings: one JSON object a line, described in ``docs/data.md``.

    {"path": "pack_000.wav", "text": "Hello there.", "start": 44100, "num_samples": 30000,
     "speaker": "en-us+f2", "language": "en", ...}

``path`` is relative to the manifest. ``start`` and ``num_samples`` (in samples of the file) cut an
utterance out of a long file, so that thousands of short ones need not be thousands of files, and
``channel`` takes one side of a stereo call. A turn of a dialogue has a ``role``; one that was
written, not said, has a ``text`` and no ``path``. Further fields are kept in ``extra``.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from voiceglm.audio import read_stretch, resample
from voiceglm.errors import AudioError, ConfigError
from voiceglm.files import write_json_lines
from voiceglm.lines import Line, read_lines

ROLES = ("user", "assistant", "system")


@dataclass(frozen=True)
class Utterance:
    """One recording, or one written turn of a dialogue, and what is known of it."""

    path: Path | None  # None: written, not said
    text: str | None  # as spoken; None where nobody wrote it down
    start: int = 0  # first sample, at the file's own rate
    num_samples: int | None = None  # at the file's own rate; None: to the end
    speaker: str = ""
    language: str = "en"
    channel: int | None = None  # of the file, from 0; None: the mean of all of them
    role: str = ""  # one of ROLES in a dialogue
    dialogue: str = ""  # which dialogue it is a turn of
    turn: int | None = None  # its place in that dialogue, from 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recording(self) -> Path:
        """The file it is in.

        Raises:
            AudioError: If there is none, because it is a written turn.
        """
        if self.path is None:
            raise AudioError(f"a written turn has no recording to read: {self.text!r}")
        return self.path


@dataclass(frozen=True)
class BadLine:
    """A line of a manifest that is not an utterance."""

    where: str  # the file and the line
    reason: str

    def __str__(self) -> str:
        return f"{self.where} is not an utterance: {self.reason}"


def read_manifest(path: str | Path) -> list[Utterance]:
    """Read every line of a manifest.

    Raises:
        ConfigError: If the file is missing or a line is not an utterance; the line is named.
    """
    utterances = []
    for _, row in scan_manifest(path):
        if isinstance(row, BadLine):
            raise ConfigError(str(row))
        utterances.append(row)
    return utterances


def scan_manifest(path: str | Path) -> Iterator[tuple[int, Utterance | BadLine]]:
    """Give every line of a manifest that is not blank, with its number, good or bad.

    Raises:
        ConfigError: If the file cannot be read.
    """
    path = Path(path)
    for line in read_lines(path, "manifest"):
        if line.problem or line.text.strip():
            yield line.number, _utterance(path, line)


def utterance_of(row: Mapping[str, Any], folder: Path) -> Utterance | str:
    """Return the utterance of a line's object, or why it is none.

    Args:
        row: The object.
        folder: Of the manifest.
    """
    known = {name: row[name] for name in _FIELDS if row.get(name) is not None}
    if problem := _problem(known):
        return problem
    name = known.pop("path", None)
    return Utterance(
        path=None if name is None else folder / name,
        text=known.pop("text", None),
        extra={name: value for name, value in row.items() if name not in _FIELDS},
        **known,
    )


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest, whole or not at all; paths become relative to it.

    Raises:
        OutputError: If the file cannot be written.
    """
    folder = Path(path).resolve().parent
    write_json_lines(path, (_row(one, folder) for one in utterances))


def read_samples(utterance: Utterance, sample_rate: int) -> Tensor:
    """Read an utterance as mono at ``sample_rate`` hertz: (num_samples,) float32.

    Raises:
        AudioError: If the file cannot be read, lacks the channel, or there is none.
    """
    path = utterance.recording
    frames = -1 if utterance.num_samples is None else utterance.num_samples
    try:
        found = read_stretch(path, utterance.start, frames)
        data, rate = found or soundfile.read(
            path, frames=frames, start=utterance.start, dtype="float32", always_2d=True
        )
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"cannot read {path}: {error}") from None
    return resample(torch.from_numpy(one_channel(data, utterance)), rate, sample_rate)


def one_channel(data: np.ndarray, utterance: Utterance) -> np.ndarray:
    """Return what an utterance takes of its file's channels: (num_samples, C) -> (num_samples,).

    Raises:
        AudioError: If the file lacks the channel.
    """
    if utterance.channel is None:
        return data.mean(axis=1)
    if utterance.channel >= data.shape[1]:
        raise AudioError(
            f"{utterance.path} has no channel {utterance.channel}: it has {data.shape[1]}, "
            "counted from 0"
        )
    return np.ascontiguousarray(data[:, utterance.channel])


_FIELDS: dict[str, type] = {
    "path": str,
    "text": str,
    "start": int,
    "num_samples": int,
    "speaker": str,
    "language": str,
    "channel": int,
    "role": str,
    "dialogue": str,
    "turn": int,
}
_ALWAYS_WRITTEN = ("path", "text", "start", "num_samples", "speaker", "language")
_LARGEST = 2**63 - 1  # what a file position can be


def _utterance(path: Path, line: Line) -> Utterance | BadLine:
    where = f"{path} line {line.number}"
    if line.problem:
        return BadLine(where, f"it is {line.problem}")
    try:
        row = json.loads(line.text)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        return BadLine(where, repr(line.text[:80]))
    found = utterance_of(row, path.parent)
    return BadLine(where, f"{found}, in {line.text[:80]!r}") if isinstance(found, str) else found


def _problem(row: Mapping[str, Any]) -> str:
    """Say what is wrong with the fields that have a meaning; nothing if they are right."""
    for name, value in row.items():
        kind = _FIELDS[name]
        if type(value) is not kind:
            expected = "text" if kind is str else "a whole number"
            return f"{name} must be {expected}"
        if kind is int and not 0 <= value <= _LARGEST:
            return f"{name} must be at least 0 and fit into 64 bits"
    if row.get("role") not in (None, *ROLES):
        return f"role must be one of {', '.join(ROLES)}"
    if "path" in row:
        return "" if _is_path(row["path"]) else "path is no file name"
    return "" if row.get("role") and row.get("text") else "it has no path, nor role and text"


def _is_path(name: str) -> bool:
    try:
        return bool(name) and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half a character, as "\ud800" in JSON
        return False


def _row(utterance: Utterance, folder: Path) -> dict[str, Any]:
    path = utterance.path
    row = {name: getattr(utterance, name) for name in _FIELDS}
    row["path"] = None if path is None else os.path.relpath(path.resolve(), folder)
    written = {n: v for n, v in row.items() if n in _ALWAYS_WRITTEN or v not in (None, "")}
    return {**written, **utterance.extra}
