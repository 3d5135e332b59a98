"""Recordings in the layouts of Lhotse and WebDataset, written by hand, as those libraries write."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16_000


def noise(number: int, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    """Return (num_samples,) or (num_samples, channels), another for each number."""
    shape = (round(seconds * RATE), channels) if channels > 1 else round(seconds * RATE)
    return np.random.default_rng(number).uniform(-0.5, 0.5, shape)


def audio_bytes(samples: np.ndarray, kind: str = "FLAC") -> bytes:
    data = io.BytesIO()
    soundfile.write(data, samples, RATE, format=kind)
    return data.getvalue()


def tar(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def webdataset(path: Path, count: int) -> Path:
    """Write samples of 0.5 s and more; text in ``.txt`` or in ``.json``."""
    files: list[tuple[str, bytes]] = []
    for number in range(count):
        about = {"text": f"number {number}", "language": "English"}
        said = (
            ("txt", b"number %d\n" % number) if number % 2 else ("json", json.dumps(about).encode())
        )
        sound = audio_bytes(noise(number, 0.5 + 0.1 * number), "WAV" if number % 3 else "FLAC")
        files.append((f"part/{number:03d}.{'wav' if number % 3 else 'flac'}", sound))
        files.append((f"part/{number:03d}.{said[0]}", said[1]))
    return tar(path, files)


def cut(number: int, source: str, kind: str = "file", **changes: Any) -> dict[str, Any]:
    """Return a cut of 1 s that begins at 0.5 s."""
    said = {"id": f"s{number}", "start": 0, "duration": 1, "channel": 0, "text": f"number {number}"}
    recording = {
        "id": f"r{number}",
        "sources": [{"type": kind, "channels": [0], "source": source}],
        "sampling_rate": RATE,
        "num_samples": 2 * RATE,
        "duration": 2.0,
        "channel_ids": [0],
    }
    return {
        "id": f"cut-{number}_sp1.{number}",
        "start": 0.5 if kind == "file" else 0,
        "duration": 1.0,
        "channel": 0,
        "supervisions": [{**said, "language": "English", "speaker": "anna"}],
        "recording": recording,
        "type": "MonoCut",
        **changes,
    }


def write_lines(path: Path, rows: Iterable[dict[str, Any] | str]) -> Path:
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def lhotse_cuts(path: Path, count: int, home: Path | None = None) -> Path:
    """Write cuts and the recordings they are of, relative to ``home``, or the folder above."""
    folder = (home or path.parent.parent) / "wavs"
    folder.mkdir(exist_ok=True)
    for number in range(count):
        soundfile.write(folder / f"{number}.wav", noise(number, 2.0), RATE)
    return write_lines(path, (cut(number, f"wavs/{number}.wav") for number in range(count)))


def lhotse_shar(folder: Path, count: int) -> Path:
    """Write one shard of Lhotse Shar; return its list of cuts."""
    files: list[tuple[str, bytes]] = []
    for number in range(count):
        row = cut(number, "", "shar")
        files.append((f"{row['id']}.flac", audio_bytes(noise(number, 2.0)[8_000:24_000])))
        files.append((f"{row['id']}.json", json.dumps(row["recording"]).encode()))
    tar(folder / "recording.000000.tar", files)
    cuts = (cut(number, "", "shar") for number in range(count))
    return write_lines(folder / "cuts.000000.jsonl.gz", cuts)
