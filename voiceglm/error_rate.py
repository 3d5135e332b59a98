"""How far what was heard is from what was said, in lower case and without punctuation."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torchaudio.functional import edit_distance

from voiceglm.scripts import HAN

LATIN = "abcdefghijklmnopqrstuvwxyz' "

Row = Mapping[str, Any]

_BESIDE_HAN = re.compile(rf"(?<=[{HAN}]) | (?=[{HAN}])")
_NO_LETTER = re.compile(r"[^a-z0-9' ]")
_NO_WORD = re.compile(r"[^\w' ]|_")
_NO_CHARACTER = re.compile(rf"[^a-z0-9{HAN}]")


@dataclass(frozen=True)
class ErrorRate:
    """Edits that turn what was heard into what was said, and the length of the latter."""

    edits: int
    length: int

    @property
    def percent(self) -> float:
        """Insertions, deletions and substitutions per 100."""
        return 100.0 * self.edits / max(1, self.length)


def plain(text: str, language: str | None = "en") -> str:
    """Strip case, accents and punctuation: what two transcripts are compared by.

    Of Chinese (``zh``) the characters, letters and digits remain, without blanks: only writers who
    cut sentences into words put any. Of an unknown language (``None``) every letter does.
    """
    if language == "zh":
        return _NO_CHARACTER.sub("", unicodedata.normalize("NFKC", text).lower())
    if language is None:
        return " ".join(_NO_WORD.sub(" ", text.lower()).split())
    letters = unicodedata.normalize("NFKD", text.lower().replace("\u2019", "'"))
    unaccented = "".join(each for each in letters if not unicodedata.combining(each))
    return " ".join(_NO_LETTER.sub(" ", unaccented).split())


def spelled(text: str, alphabet: str) -> str:
    """Strip case and all that is not of an alphabet: what its recognizer could have written.

    Chinese has no spaces between its characters.
    """
    known = set(alphabet)
    kept = "".join(letter if letter in known else " " for letter in text.lower())
    return _BESIDE_HAN.sub("", " ".join(kept.split()))


def is_written_with(text: str, alphabet: str) -> bool:
    """Say whether most letters of a text are of an alphabet, so that its transcript can be read."""
    letters = [letter for letter in text.lower() if letter.isalpha()]
    known = set(alphabet)
    return 2 * sum(letter in known for letter in letters) > len(letters)


def character_errors(
    rows: Iterable[Row], said: str = "said", heard: str = "heard", *, language: str | None = "en"
) -> ErrorRate:
    """Sum the character errors of rows that hold two texts."""
    return _errors(rows, said, heard, lambda text: list(plain(text, language)))


def readable_errors(said: str, heard: str, alphabet: str) -> ErrorRate:
    """Return the character errors of what a recognizer read; of length 0 if it cannot read it.

    Args:
        said: What was to be spoken.
        heard: What was read back.
        alphabet: The recognizer's.
    """
    if not is_written_with(said, alphabet):
        return ErrorRate(0, 0)
    rows = [{"said": said, "heard": heard}]
    return _errors(rows, "said", "heard", lambda text: list(spelled(text, alphabet)))


def word_errors(
    rows: Iterable[Row],
    said: str = "said",
    heard: str = "heard",
    *,
    language: str | None = "en",
) -> ErrorRate:
    """Sum the word errors of rows that hold two texts."""
    return _errors(rows, said, heard, lambda text: plain(text, language).split())


def _errors(
    rows: Iterable[Row], said: str, heard: str, units: Callable[[str], list[str]]
) -> ErrorRate:
    edits = length = 0
    for row in rows:
        wanted = units(row[said])
        edits += edit_distance(wanted, units(row[heard]))
        length += len(wanted)
    return ErrorRate(edits, length)
