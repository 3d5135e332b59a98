"""Text files read line by line, where a bad line is a finding and the next one is read.

Only a line feed ends a line. ``str.splitlines`` also breaks at U+2028, U+0085 and others, which may
stand inside a JSON string.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from voiceglm.errors import ConfigError

MAX_LINE_BYTES = 1 << 24
"""A longer line is skipped without being kept in memory: a file that is no text may have one."""


@dataclass(frozen=True)
class Line:
    """One line of a text file."""

    number: int  # from 1
    text: str  # without its end; empty where there is a problem
    problem: str = ""  # why it could not be read


def read_lines(path: str | Path, kind: str = "file") -> Iterator[Line]:
    """Give every line of a UTF-8 file, blank ones too, one at a time.

    Args:
        path: The file; a byte order mark at its start is left out.
        kind: What to call it in the message.

    Raises:
        ConfigError: If the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            for number, raw in enumerate(_raw_lines(file), start=1):
                yield _decode(number, raw)
    except OSError as error:
        raise ConfigError(f"cannot read the {kind} {path}: {error.strerror}") from None


def _raw_lines(file: BufferedReader) -> Iterator[bytes | None]:
    """Give each line with its end, None for one that is too long."""
    while raw := file.readline(MAX_LINE_BYTES + 1):
        yield raw if len(raw) <= MAX_LINE_BYTES else None
        while raw and not raw.endswith(b"\n"):
            raw = file.readline(MAX_LINE_BYTES + 1)


def _decode(number: int, raw: bytes | None) -> Line:
    if raw is None:
        return Line(number, "", f"longer than {MAX_LINE_BYTES:,} bytes")
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        return Line(number, "", "not UTF-8")
    return Line(number, text.rstrip("\r\n"))
