"""The settings of a run, kept in its folder: who goes on with it later must have the same."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_synth.lock import LOCK, locked
from voiceglm.errors import OutputError
from voiceglm.files import write_file

SETTINGS = "settings.json"
_LONG = 60  # characters of a value; of a longer one the beginning is shown


@contextmanager
def claimed(folder: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Begin a run in a folder, or go on with one of the same settings, and keep others out.

    Args:
        folder: Of the run; made if it is missing.
        settings: What JSON can hold; kept as ``settings.json``.

    Raises:
        ConfigError: If somebody else is at work in the folder.
        OutputError: If the folder holds another run or something else, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_taken = not all(_may_go(path) for path in folder.iterdir())
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from None
    if is_taken and not (folder / SETTINGS).exists():
        raise OutputError(f"{folder} exists already; name another folder or remove it first")
    with locked(folder):
        for draft in folder.glob(".*.tmp"):  # of a run that was killed
            draft.unlink(missing_ok=True)
        if not any(folder.glob("pack_*")):  # nothing is lost if it becomes another run's
            (folder / SETTINGS).unlink(missing_ok=True)
        agree(folder / SETTINGS, settings)
        yield


def agree(path: Path, settings: Mapping[str, Any]) -> None:
    """Keep settings in a file, or compare them with those it has.

    Raises:
        OutputError: If they differ, saying in what, or the file cannot be read or written.
    """
    if not path.exists():
        write_file(path, (json.dumps(settings, indent=1, ensure_ascii=False) + "\n").encode())
        return
    try:
        there = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise OutputError(f"cannot read {path}: {error}") from None
    if there != settings:
        told = "; ".join(
            "with other texts" if name == "texts" else f"{name} was {before}, is {now}"
            for name, before, now in differences(there, settings)
        )
        raise OutputError(f"{path.parent} was begun otherwise ({told}); name another folder")


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], where: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Give every setting that differs: its name, what it was, and what it is."""
    for name in {**old, **new}:
        before, now = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from differences(before, now, f"{where}{name}.")
        elif before != now:
            yield f"{where}{name}", _shown(before), _shown(now)


def _may_go(path: Path) -> bool:
    """Say whether a file is nothing but the lock, or a draft, of a run that was killed."""
    return path.name == LOCK or (path.name.startswith(".") and path.suffix == ".tmp")


def _shown(value: Any) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"{text[:12]}..." if len(text) > _LONG else text
