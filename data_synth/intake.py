"""What every converter does with a row: take it in as an utterance, or count why it could not.

One bad row, file or folder never stops a conversion.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from data_synth.transcripts import has_control_characters
from voiceglm.audio import AudioInfo, probe_audio
from voiceglm.errors import AudioError, ConfigError
from voiceglm.lines import Line, read_lines
from voiceglm.manifest import Utterance

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
"""Endings of recordings, the preferred one first where two files have the same stem."""

MAX_TEXT_CHARS = 20_000
"""Longer than an hour of speech: no transcript of an utterance."""

_TOO_MUCH_TEXT = f"transcript has over {MAX_TEXT_CHARS:,} characters"
_NUM_EXAMPLES = 3


class Intake:
    """Takes the rows of one source in and counts those it cannot.

    Args:
        source: The folder, or the one list in it, that is read; places are told relative to it.

    Attributes:
        rejected: How many rows were left out, by reason.
        examples: The first places of each reason.
    """

    def __init__(self, source: Path) -> None:
        self.root = source.parent if source.is_file() else source
        self.rejected: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def reject(self, reason: str, where: str) -> None:
        """Count a row that is left out."""
        self.rejected[reason] += 1
        places = self.examples.setdefault(reason, [])
        if len(places) < _NUM_EXAMPLES:
            places.append(where)

    def place(self, path: Path, line: int | None = None) -> str:
        """Return how a file, or a line of it, is called in the report."""
        name = path.relative_to(self.root).as_posix()
        return name if line is None else f"{name} line {line}"

    def lines(self, path: Path) -> Iterator[Line]:
        """Give the lines of a text file that are not blank; bad ones are counted."""
        try:
            for line in read_lines(path):
                if line.problem:
                    self.reject(f"line is {line.problem}", self.place(path, line.number))
                elif line.text.strip():
                    yield line
        except ConfigError as error:
            self.reject("list cannot be read", str(error))

    def text(self, path: Path) -> str | None:
        """Read a small text file as one line; None, and counted, if that fails."""
        size = path.stat().st_size
        if size > 4 * MAX_TEXT_CHARS:  # bytes; a character of UTF-8 has at most four
            self.reject(_TOO_MUCH_TEXT, self.place(path))
            return None
        before = self.rejected.total()
        text = " ".join(line.text for line in self.lines(path))
        return text if self.rejected.total() == before else None

    def folders(self, folder: Path) -> Iterator[tuple[Path, list[str]]]:
        """Give a folder and all below it with their sorted file names, always in one order.

        Hidden files are left out: archives made on a Mac hold a ``._x.wav`` for every ``x.wav``.
        """

        def failed(error: OSError) -> None:
            self.reject("folder cannot be read", f"{error.filename}: {error.strerror}")

        for home, below, names in os.walk(folder, onerror=failed):
            below[:] = sorted(name for name in below if not name.startswith("."))
            yield Path(home), sorted(name for name in names if not name.startswith("."))

    def probe(self, path: Path) -> AudioInfo | None:
        """Read a recording's header; None, and counted, if that fails."""
        try:
            os.fspath(path).encode()
            return probe_audio(path)
        except UnicodeEncodeError:
            self.reject("file name is not UTF-8", ascii(path.name))
        except AudioError as error:
            missing = not os.path.lexists(path)
            reason = "recording is missing" if missing else "recording cannot be read"
            self.reject(reason, self.place(path) if missing else str(error))
        return None

    def clip(self, path: Path, text: str | None, where: str, **about: Any) -> Iterator[Utterance]:
        """Give a whole recording as an utterance, or nothing, and count why.

        Args:
            path: The recording.
            text: What is said; None where nobody wrote it down.
            where: Which row this is, for the report.
            about: Further fields of the utterance.
        """
        text = None if text is None else one_line(text)
        if not self.accepts_text(text, where):
            return
        if (info := self.probe(path)) is None:
            return
        extra = {"seconds": round(info.seconds, 3), **about.pop("extra", {})}
        length = info.num_samples if info.is_exact else None
        yield Utterance(path, text, num_samples=length, extra=extra, **about)

    def accepts_text(self, text: str | None, where: str) -> bool:
        """Say whether a transcript can be used; count it if not. None can: nobody wrote it."""
        reason = "" if text is None else _text_problem(text)
        if reason:
            self.reject(reason, where)
        return not reason


def find_recording(folder: Path, name: str) -> Path:
    """Return the file that a list calls ``name``, with or without its ending.

    Returns:
        A file of the same stem if there is none of that name. The first choice if there is none at
        all, so that the report has something to call it.
    """
    exact = folder / name
    if exact.suffix.lower() in SUFFIXES and os.path.isfile(exact):
        return exact
    stem = exact.with_suffix("") if exact.suffix.lower() in SUFFIXES else exact
    choices = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    # os.path, because Path.is_file() raises where a name is too long for a file
    return next((choice for choice in choices if os.path.isfile(choice)), choices[0])


def is_inside(name: str) -> bool:
    """Say whether a list names a file inside its own corpus, and not somewhere else."""
    parts = Path(name).parts
    return bool(parts) and not Path(name).is_absolute() and ".." not in parts and "\0" not in name


def recordings(names: Iterable[str]) -> list[str]:
    """Return the names that are recordings' by their ending."""
    return [name for name in names if name.lower().endswith(SUFFIXES)]


def one_line(text: str) -> str:
    """Join the lines of a text by blanks; other control characters stay, to be seen."""
    return re.sub(r"[ \t\r\n]+", " ", text).strip()


def _text_problem(text: str) -> str:
    if not text:
        return "transcript is empty"
    if len(text) > MAX_TEXT_CHARS:
        return _TOO_MUCH_TEXT
    return "control characters in the transcript" if has_control_characters(text) else ""
