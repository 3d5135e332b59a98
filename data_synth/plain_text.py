"""Text as it is found to plain text: no markup, no invisible characters, one line.

What is left are letters of any script, ASCII digits, punctuation and symbols; reading digits and
symbols is the next step's. Every pattern here looks at a character a bounded number of times, so
that a document of a megabyte, whatever it holds, takes its time in proportion.
"""

import html
import re
import unicodedata
from functools import cache

from ftfy import is_bad

from voiceglm.scripts import HAN

KEPT = "，！？：；（）…"
"""Chinese punctuation that NFKC would make ASCII, and the ellipsis it would make three stops."""

_MOST_MARKS = 6  # combining marks on one letter
_MISREAD = ("锟斤拷", "烫烫烫", "屯屯屯", "ï»¿")
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"


def encoding_trouble(text: str) -> str | None:
    """Say why a text cannot be what was written, or None: it was read in a wrong encoding.

    Args:
        text: A line or a document.
    """
    if "\ufffd" in text:
        return "a character was lost (U+FFFD)"
    if "\0" in text:
        return "it holds zero bytes; is it UTF-16?"
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        return "it holds half a character (a lone surrogate)"
    if any(sign in text for sign in _MISREAD) or is_bad(text):
        return "it was read in a wrong encoding (mojibake)"
    return None


def plain_text(text: str) -> str:
    """Remove markup and what cannot be seen, and join lines.

    A paragraph, a heading and an item of a list end with a full stop if they end without one.
    """
    for _ in range(2):  # pages often escape twice
        text = html.unescape(text)
    text = text.replace("\r\n", "\n").translate(_CHARACTERS)
    text = _replaced(text, _TAGS)
    text = _replaced(text, _SPACES)
    text = _replaced(text, _MARKDOWN)
    text = _replaced(text, _NUMBERS)
    text = _nfkc(text)
    text = _replaced(text, _LINES)
    return _PARAGRAPH.sub(_end_paragraph, text).replace("\n", " ")


class _Characters(dict[int, str | None]):
    """What becomes of a character, worked out when it is first met."""

    def __missing__(self, code: int) -> str | None:
        self[code] = found = _character(chr(code))
        return found


def _character(c: str) -> str | None:
    """Return what stands for a character; None: nothing, the word goes on."""
    category = unicodedata.category(c)
    if c in "\t\x0b\x0c\x1c\x1d\x1e\x1f" or category == "Zs":
        return " "
    if c in "\r\n\x85\u2028\u2029":
        return "\n"
    if category == "Nd":
        return str(unicodedata.digit(c))
    if c in "ʼ´":
        return "'"
    if category in ("Cc", "Cf", "Cs", "Co", "Cn") or _is_variation(c):
        return None
    if c in "™℠®©" or (category == "Sk" and c not in "^`"):
        return " "
    return _DASHES.get(c, c)


_DASHES = {"−": "-", "‐": "-", "‑": "-", "‒": "–", "―": "—", "⁃": "-", "⁄": "/", "∕": "/"}
_CHARACTERS = _Characters()


def _is_variation(c: str) -> bool:
    return "\ufe00" <= c <= "\ufe0f" or "\U000e0100" <= c <= "\U000e01ef"


_Replacement = tuple[re.Pattern[str], str]


def _table(*rows: tuple[str, str]) -> list[_Replacement]:
    return [(re.compile(pattern, re.MULTILINE), text) for pattern, text in rows]


def _replaced(text: str, table: list[_Replacement]) -> str:
    for pattern, replacement in table:
        text = pattern.sub(replacement, text)
    return text


_TAGS = _table(
    (r"(?s)<!--(?:(?!-->|<!--).)*+-->", " "),
    (r"(?i)<(script|style)\b[^<>]*+>[^<]*+(?:<(?!/?(?:script|style)\b)[^<]*+)*+</\1\s?>", " "),
    (
        r"(?i)</?(?:p|br|div|li|ul|ol|h[1-6]|tr|table|section|article|header|footer|blockquote)\b"
        r"[^<>]*+>",
        "\n\n",
    ),
    (r"(?i)</?t[dh]\b[^<>]*+>", " "),
    (r"<(?!https?:)[/!?]?[A-Za-z][^<>]*+>", ""),
)

_SPACES = _table((r" {2,}", " "), (r" ?\n ?", "\n"))

_MARKDOWN = _table(
    (r"^```[^\n]*+\n(?:.*+\n)*?```[^\n]*+$", "\n"),
    (r"^\[[^\]\n]{1,60}\]: [^\n]*+$", ""),
    (r"!?\[([^\[\]\n]*+)\]\([^()\n]*+\)", r"\1"),
    (r"\[(?:\^?\d{1,3}|citation needed|edit|update|note \d{1,3})\]", ""),
    (r"\[([^\[\]\n]*+)\]\[[^\[\]\n]*+\]", r"\1"),
    (r"^(?:> ?)++", ""),
    (r"^#{1,6} ([^\n]*+)$", r"\n\1\n"),
    (r"^(?:[-*+] |[•·‣◦▪●○] ?|(?=\d{1,3}[.)] ))(?=\S)", r"\n"),
    (r"^[-*_=|: ]{3,}+$", "\n"),
    (r"^\||\|$", ""),
    (r" ?\|+ ?", ", "),
    (r"(?<=[A-Za-z]{2})-\n(?=[a-z])", ""),
    (r"\*{2,}|~~|`+|\\", ""),
    (r"(?<![\d\s])\*|\*(?![\d\s])", ""),
)

_NUMBERS = _table(
    ("[0-9#*]\u20e3", " "),  # a keycap
    (r"(?<=\d)(?=[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒])", " "),
    # A raised number is an exponent after a number, a unit or a bracket, else a footnote's.
    (rf"(?<=[A-Za-z]{{4}})[{_SUPERSCRIPTS}]++", ""),
    (rf"(?<=[A-Za-z\d)])([{_SUPERSCRIPTS}]++)", r"^\1"),
    (rf"(?<![\^{_SUPERSCRIPTS}])[{_SUPERSCRIPTS}]++", ""),
)

_LINES = _table(
    (r" {2,}", " "),
    (r" ?\n ?", "\n"),
    (r"(?<=[A-Za-z])’(?=[A-Za-z])", "'"),
    (rf"(?<=[{HAN}，、])\n(?=[{HAN}])", ""),
)

_PARAGRAPH = re.compile(r"(\S)\n{2,}+(?=\S)")


def _end_paragraph(match: re.Match[str]) -> str:
    last = match[1]
    if re.match(f"[{HAN}]", last):
        return f"{last}。"
    return f"{last}. " if last.isalnum() or last in ")\"'”’%" else f"{last} "


def _nfkc(text: str) -> str:
    """Normalize, keeping Chinese punctuation.

    Runs of combining marks are cut first: sorting a long one takes time in its square.
    """
    text = _marks().sub(r"\1", text)
    parts = re.split(f"([{KEPT}])", text)
    parts[::2] = [unicodedata.normalize("NFKC", part) for part in parts[::2]]
    return "".join(parts).replace("⁄", "/").replace("−", "-")


@cache
def _marks() -> re.Pattern[str]:
    every = "".join(c for c in map(chr, range(0x110000)) if unicodedata.combining(c))
    return re.compile(f"([{every}]{{{_MOST_MARKS}}})[{every}]++")
