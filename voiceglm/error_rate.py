"""How far what was heard is from what was said, in lower case and without punctuation."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torchaudio.functional import edit_distance

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ErrorRate:
    """Edits that turn what was heard into what was said, and the length of the latter."""

    edits: int
    length: int

    @property
    def percent(self) -> float:
        """Insertions, deletions and substitutions per 100."""
        return 100.0 * self.edits / max(1, self.length)


def plain(text: str) -> str:
    """Strip case, punctuation and digits: what two transcripts are compared by, in any script."""
    return " ".join(re.sub(r"[^\w' ]|[0-9_]", " ", text.lower()).split())


def character_errors(rows: Iterable[Row], said: str = "said", heard: str = "heard") -> ErrorRate:
    """Sum the character errors of rows that hold two texts."""
    return _errors(rows, said, heard, lambda text: list(plain(text)))


def word_errors(rows: Iterable[Row], said: str = "said", heard: str = "heard") -> ErrorRate:
    """Sum the word errors of rows that hold two texts."""
    return _errors(rows, said, heard, lambda text: plain(text).split())


def _errors(
    rows: Iterable[Row], said: str, heard: str, units: Callable[[str], list[str]]
) -> ErrorRate:
    edits = length = 0
    for row in rows:
        wanted = units(row[said])
        edits += edit_distance(wanted, units(row[heard]))
        length += len(wanted)
    return ErrorRate(edits, length)
