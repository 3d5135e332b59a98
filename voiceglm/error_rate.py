"""How far what was heard is from what was said, in lower case and without punctuation."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torchaudio.functional import edit_distance

Row = Mapping[str, Any]

_CHINESE = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_NO_LETTER = re.compile(r"[^a-z0-9' ]")
_NO_CHARACTER = re.compile(f"[^a-z0-9{_CHINESE}]")


@dataclass(frozen=True)
class ErrorRate:
    """Edits that turn what was heard into what was said, and the length of the latter."""

    edits: int
    length: int

    @property
    def percent(self) -> float:
        """Insertions, deletions and substitutions per 100."""
        return 100.0 * self.edits / max(1, self.length)


def plain(text: str, language: str = "en") -> str:
    """Strip case, accents and punctuation: what two transcripts are compared by.

    Of Chinese (``zh``) the characters, letters and digits remain, without blanks: only writers who
    cut sentences into words put any.
    """
    if language == "zh":
        return _NO_CHARACTER.sub("", unicodedata.normalize("NFKC", text).lower())
    letters = unicodedata.normalize("NFKD", text.lower().replace("\u2019", "'"))
    unaccented = "".join(each for each in letters if not unicodedata.combining(each))
    return " ".join(_NO_LETTER.sub(" ", unaccented).split())


def character_errors(
    rows: Iterable[Row], said: str = "said", heard: str = "heard", *, language: str = "en"
) -> ErrorRate:
    """Sum the character errors of rows that hold two texts."""
    return _errors(rows, said, heard, lambda text: list(plain(text, language)))


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
