"""Lists of recordings: one JSON object a line.

    {"path": "pack_000.wav", "text": "Hello there.", "start": 44100, "num_samples": 30000,
     "speaker": "en-us+f2", "language": "en", ...}

``path`` is relative to the manifest. ``start`` and ``num_samples`` (in samples of the file) cut an
utterance out of a long file, so that thousands of short ones need not be thousands of files.
Further fields are kept in ``extra``.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from voiceglm.audio import resample
from voiceglm.errors import AudioError, ConfigError
from voiceglm.files import write_file


@dataclass(frozen=True)
class Utterance:
    """One recording and what is known of it."""

    path: Path
    text: str | None  # as spoken; None where nobody wrote it down
    start: int = 0  # first sample, at the file's own rate
    num_samples: int | None = None  # at the file's own rate; None: to the end
    speaker: str = ""
    language: str = "en"
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_manifest(path: str | Path) -> list[Utterance]:
    """Read every line of a manifest.

    Raises:
        ConfigError: If the file is missing or a line is not an utterance; the line is named.
    """
    path = Path(path)
    try:
        # splitlines() would also break at what Unicode calls a line's end, within a text.
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise ConfigError(f"cannot read the manifest {path}: {error.strerror}") from None
    return [_utterance(path, n, line) for n, line in enumerate(lines, start=1) if line.strip()]


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest, whole or not at all; paths become relative to it.

    Raises:
        OutputError: If the file cannot be written.
    """
    folder = Path(path).resolve().parent
    lines = (json.dumps(row, ensure_ascii=False) for row in _rows(utterances, folder))
    write_file(path, "".join(f"{line}\n" for line in lines).encode())


def read_samples(utterance: Utterance, sample_rate: int) -> Tensor:
    """Read an utterance as mono at ``sample_rate`` hertz: (num_samples,) float32.

    Raises:
        AudioError: If the file cannot be read.
    """
    frames = -1 if utterance.num_samples is None else utterance.num_samples
    try:
        data, rate = soundfile.read(
            utterance.path, frames=frames, start=utterance.start, dtype="float32", always_2d=True
        )
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"cannot read {utterance.path}: {error}") from None
    return resample(torch.from_numpy(data.mean(axis=1)), rate, sample_rate)


def _utterance(path: Path, number: int, line: str) -> Utterance:
    try:
        row = dict(json.loads(line))
        known = {name: row.pop(name) for name in _FIELDS if row.get(name) is not None}
        return Utterance(
            path=path.parent / known.pop("path"),
            text=known.pop("text", None),
            extra={name: value for name, value in row.items() if name not in _FIELDS},
            **known,
        )
    except (ValueError, TypeError, KeyError):
        raise ConfigError(f"{path} line {number} is not an utterance: {line[:80]!r}") from None


_FIELDS = ("path", "text", "start", "num_samples", "speaker", "language")


def _rows(utterances: Iterable[Utterance], folder: Path) -> Iterator[dict[str, Any]]:
    for utterance in utterances:
        yield {
            "path": os.path.relpath(utterance.path.resolve(), folder),
            "text": utterance.text,
            "start": utterance.start,
            "num_samples": utterance.num_samples,
            "speaker": utterance.speaker,
            "language": utterance.language,
            **utterance.extra,
        }
