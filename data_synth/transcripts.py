"""Whether a transcript can be what was said."""

import re
import unicodedata

from voiceglm.scripts import SYLLABLES

_MARKUP = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\{[^{}]*\}|&#?\w+;|https?://|\*\*|__")
_SYLLABLES = re.compile(f"[{SYLLABLES}]")
_LETTERS_PER_SYLLABLE = 3


def is_damaged(text: str) -> bool:
    """Say whether a text was once decoded wrongly: U+FFFD, or half of a surrogate pair."""
    return any(c == "\ufffd" or unicodedata.category(c) == "Cs" for c in text)


def has_control_characters(text: str) -> bool:
    """Say whether a text holds control characters, a tab and a line break included."""
    return any(unicodedata.category(character) == "Cc" for character in text)


def markup(text: str) -> str:
    """Return the first piece of a text that nobody says, such as ``<br>`` or ``[laughter]``."""
    found = _MARKUP.search(text)
    return found[0] if found else ""


def count_letters(text: str) -> int:
    """Count letters and digits; one that is a syllable, as in Chinese, counts three times."""
    return sum(_LETTERS_PER_SYLLABLE if _SYLLABLES.match(c) else 1 for c in text if c.isalnum())
