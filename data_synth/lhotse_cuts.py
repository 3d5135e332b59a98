"""Cuts of Lhotse: where their recordings are, and what is said in them.

A cut is a JSON object a line, in ``cuts.jsonl`` or ``cuts.jsonl.gz``. Its recording is a file, or,
in a folder of Lhotse Shar, the sample of the same number in ``recording.000000.tar`` beside
``cuts.000000.jsonl.gz``. The format is plain enough to be read without the library, which would
bring ten packages along.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voiceglm.audio import probe_audio
from voiceglm.errors import AudioError
from voiceglm.manifest import Utterance

_LANGUAGES = {"english": "en", "chinese": "zh", "mandarin": "zh", "cmn": "zh"}
_KINDS = ("MonoCut", "MultiCut")
_SHAR = re.compile(r"(cuts|recording)\.(\d{6,})\.(jsonl(?:\.gz)?|tar)")


def is_cut(row: Mapping[str, Any]) -> bool:
    """Say whether a row of JSON lines is a cut rather than a line of a manifest."""
    return "path" not in row and ("recording" in row or str(row.get("type", "")).endswith("Cut"))


def shar_recordings(cuts: Path) -> Path | None:
    """Return the archive with the recordings of a file of cuts; None if that is not of Shar."""
    found = _SHAR.fullmatch(cuts.name)
    if not found or found[1] != "cuts":
        return None
    archive = cuts.with_name(f"recording.{found[2]}.tar")
    return archive if archive.is_file() else None


def is_shar_archive(path: Path) -> bool:
    """Say whether a tar file holds the recordings of cuts beside it."""
    found = _SHAR.fullmatch(path.name)
    if not found or found[3] != "tar":
        return False
    return any(path.with_name(f"cuts.{found[2]}.{end}").is_file() for end in ("jsonl.gz", "jsonl"))


def read_cut(cut: Mapping[str, Any], home: Path) -> Utterance | str:
    """Return the utterance of a cut whose recording is a file, or why there is none.

    Args:
        cut: A row.
        home: The folder of the list. A path that is not absolute is looked for there, then in the
            folders above: Lhotse writes paths as they were where it ran.
    """
    try:
        return _utterance(cut, home)
    except AudioError:
        return "recording cannot be read"
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OSError):
        return "not a cut"


def text_of(cut: Mapping[str, Any]) -> str | None:
    """Return what is said in a cut: the texts of its supervisions, in the order of time."""
    parts = sorted(cut.get("supervisions") or (), key=lambda one: float(one.get("start", 0)))
    texts = [one["text"].strip() for one in parts if isinstance(one.get("text"), str)]
    return " ".join(text for text in texts if text) or None


def language_of(name: object, otherwise: str = "en") -> str:
    """Return the two letters of a language: ``English``, ``en-GB`` and ``en`` are ``en``."""
    if not isinstance(name, str) or not name.strip():
        return otherwise
    tag = re.split(r"[-_ ]", name.strip().lower())[0]
    return _LANGUAGES.get(tag, tag)


def about(cut: Mapping[str, Any]) -> dict[str, str]:
    """Return who speaks, and in which language, as far as the first supervision says."""
    first = next(iter(cut.get("supervisions") or ()), {})
    speaker = first.get("speaker")
    return {
        "speaker": speaker if isinstance(speaker, str) else "",
        "language": language_of(first.get("language")),
    }


def bounds(cut: Mapping[str, Any], rate: int) -> tuple[int, int]:
    """Return the first sample of a cut and how many it has, at a rate in hertz."""
    start, seconds = float(cut["start"]), float(cut["duration"])
    if not (0 <= start < 1e7 and 0 < seconds < 1e7):
        raise ValueError("no time")
    return round(start * rate), round(seconds * rate)


def _utterance(cut: Mapping[str, Any], home: Path) -> Utterance | str:
    if cut.get("type", "MonoCut") not in _KINDS:
        return f"a {str(cut.get('type'))[:20]} has no recording of its own"
    recording = cut["recording"]
    changes = [change["name"] for change in recording.get("transforms") or ()]
    if unknown := [name for name in changes if name != "Resample"]:
        return f"its recording is to be changed ({unknown[0][:20]})"
    found = _source(recording["sources"], cut["channel"])
    if isinstance(found, str):
        return found
    name, channel = found
    path = _find(name, home)
    if not path.is_file():
        return "recording is missing"
    info = probe_audio(path)
    start, length = bounds(cut, info.sample_rate)
    length = min(length, info.num_samples - start) if info.is_exact else length
    if length <= 0:
        return "outside of its recording"
    who = about(cut)
    return Utterance(
        path,
        text_of(cut),
        start=start,
        num_samples=length,
        channel=channel,
        extra={"seconds": round(float(cut["duration"]), 3), "cut": str(cut["id"])},
        speaker=who["speaker"],
        language=who["language"],
    )


def _source(sources: list[Any], channel: Any) -> tuple[str, int | None] | str:
    """Return the file that has the channels of a cut, and which of it; None: all of them."""
    wanted = channel if isinstance(channel, list) else [channel]
    fits = [one for one in sources if set(wanted) <= set(one["channels"])]
    if not fits:
        return "its channels are not in one file"
    one = fits[0]
    if one["type"] != "file":
        return f"its recording is no file ({str(one['type'])[:20]})"
    if set(wanted) == set(one["channels"]):
        return one["source"], None
    return (one["source"], one["channels"].index(channel)) if len(wanted) == 1 else "some channels"


def _find(name: str, home: Path) -> Path:
    path = Path(name)
    if path.is_absolute():
        return path
    folders = (home, *home.resolve().parents)
    return next((folder / path for folder in folders if (folder / path).is_file()), home / path)
