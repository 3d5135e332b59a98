"""Which writing a text is in: what a regular expression needs to match it, as character classes."""

import re
from typing import Literal

Language = Literal["en", "zh"]
"""What there are rules for."""

HAN = r"\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Characters of Chinese, radicals and the sign that repeats one included."""

HAN_MARKS = r"\u3001-\u3003\u3008-\u301f\uff01-\uff0f\uff1a-\uff1f"
"""Chinese punctuation."""

WIDE = r"\u3000-\u303f\uff00-\uffef"
"""Chinese punctuation, and letters and digits as wide as a character of Chinese."""

SYLLABLES = rf"{HAN}\u3040-\u30ff\uac00-\ud7a3"
"""Characters that are a syllable or more: Chinese, Japanese and Korean."""

is_han = re.compile(f"[{HAN}]").match
"""Says of a character whether it is Chinese."""

_LATIN_END = "\u0250"
_LOOKED_AT = 20_000  # characters


def script(text: str) -> str | None:
    """Tell the language of a text by its letters: ``zh``, ``en``, ``other``; None without any."""
    han = latin = other = 0
    for letter in text[:_LOOKED_AT]:
        if not letter.isalpha():
            continue
        if letter < _LATIN_END:
            latin += 1
        elif is_han(letter):
            han += 1
        else:
            other += 1
    total = han * 3 + latin + other  # one character of Chinese says what three letters do
    if not total:
        return None
    if other > 0.3 * total:
        return "other"
    return "zh" if han * 3 > latin else "en"


def nearest(language: str | None) -> Language:
    """Return whose rules hold for a language: Chinese ones for Chinese, English ones for others."""
    return "zh" if language == "zh" else "en"
