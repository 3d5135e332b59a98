"""Written text to words that can be spoken, in English and Chinese.

Plain text comes of :mod:`data_synth.plain_text`; it is cut into stretches of one language, and
:mod:`data_synth.read_english` and :mod:`data_synth.read_chinese` read their numbers and symbols.
What nobody can say is left out at the end.
"""

import re
import unicodedata

from data_synth import read_chinese, read_english
from data_synth.number_words import Language
from data_synth.plain_text import plain_text
from voiceglm.scripts import HAN

_PUNCTUATION = frozenset(".,;:!?'\"()-–—“”‘’，。！？：；、（）《》〈〉「」『』【】·…")
_ENOUGH_WORDS = 4  # English words in a row, amid Chinese, that make a stretch of their own
_MOST_PASSES = 8

_HAN = re.compile(f"[{HAN}]")
_FOREIGN = re.compile(f"[^{HAN}\n]+")
_WORD = re.compile(r"(?<![A-Za-z@./-])[A-Za-z]{2,}+(?![@./][A-Za-z])")
_EDGES = re.compile(r"([^A-Za-z]*+)(.*?)([^A-Za-z]*+)$", re.DOTALL)


def speakable(text: str, language: Language | None = None) -> str:
    """Write a text as it is read aloud: no digits, no symbols, no markup, one line.

    What comes out goes in and comes out the same. Text in other scripts is kept as letters.

    Args:
        text: Anything; see :func:`data_synth.plain_text.encoding_trouble` for what should not be
            spoken at all.
        language: Of numbers and symbols; ``None``: that of the text around each.
    """
    for _ in range(_MOST_PASSES):  # what is left out may bring together what was apart
        said = _say(text, language)
        if said == text:
            break
        text = said
    return text


def _say(text: str, language: Language | None) -> str:
    stretches = [(plain_text(text), language)] if language else _stretches(plain_text(text))
    said = "".join(_READERS[name](stretch) for stretch, name in stretches if name)
    said = said.translate(_SPEAKABLE)
    for pattern, replacement in _TIDY:
        said = pattern.sub(replacement, said)
    return said.strip()


_READERS = {"en": read_english.read, "zh": read_chinese.read}


def _stretches(text: str) -> list[tuple[str, Language]]:
    """Cut a text where its language changes.

    Words and numbers amid Chinese are read as Chinese, unless there are several words in a row or
    most of the text is English.
    """
    if not _HAN.search(text):
        return [(text, "en")]
    num_words = len(_WORD.findall(text))
    mostly_english = num_words > len(_HAN.findall(text))
    found: list[tuple[str, Language]] = []
    end = 0
    for match in _FOREIGN.finditer(text):
        found.append((text[end : match.start()], "zh"))
        found += _foreign(match[0], mostly_english)
        end = match.end()
    return _joined([*found, (text[end:], "zh")])


def _foreign(stretch: str, mostly_english: bool) -> list[tuple[str, Language]]:
    """Tell the language of what stands between Chinese characters; its edges are Chinese."""
    num_words = len(_WORD.findall(stretch))
    if not num_words or (num_words < _ENOUGH_WORDS and not mostly_english):
        return [(stretch, "zh")]
    match = _EDGES.match(stretch)
    assert match, "any text has edges"
    return [(match[1], "zh"), (match[2], "en"), (match[3], "zh")]


def _joined(stretches: list[tuple[str, Language]]) -> list[tuple[str, Language]]:
    """Join neighbours of one language, so that what is counted stands beside its number."""
    joined: list[tuple[list[str], Language]] = []
    for stretch, language in stretches:
        if joined and joined[-1][1] == language:
            joined[-1][0].append(stretch)
        elif stretch:
            joined.append(([stretch], language))
    return [("".join(parts), language) for parts, language in joined]


class _Speakable(dict[int, str]):
    """What is left of a character at the end: itself or a blank."""

    def __missing__(self, code: int) -> str:
        c = chr(code)
        spoken = unicodedata.category(c)[0] in "LM" or c in _PUNCTUATION or c == "〇"
        self[code] = found = c if spoken else " "
        return found


_SPEAKABLE = _Speakable()
_TIDY = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[-–—]{3,}+|(?<= )[-–—]+(?= )", " "),
        (r"\( *\)|（ *）", " "),
        (r" {2,}", " "),
        (r" (?=[.,;:!?)，。！？：；、）》」』】…])", ""),
        (r"(?<=[(（《「『【，。！？：；、]) ", ""),
        (rf"(?<=[{HAN}]) (?=[{HAN}])", ""),
        (r"([,;:，；：、])[,;:，；：、.]+", r"\1"),
        (r"^[ ,;:.!?，。；：、！？)）…]+", ""),
    )
]
