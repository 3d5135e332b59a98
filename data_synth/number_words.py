"""Digits to words, English by num2words and Chinese by cn2an.

Every function takes the digits as they are written and never fails: what is too long to be a
number anybody would say is read digit by digit.
"""

from decimal import Decimal
from functools import lru_cache

from cn2an import an2cn
from num2words import num2words

from voiceglm.scripts import Language

_MOST_DIGITS = {"en": 36, "zh": 16}


def cardinal(number: str, language: Language) -> str:
    """Read a number such as ``1,234.50``: the digits after the point one by one.

    Args:
        number: ASCII digits with thousands separators and at most one point.
        language: Of the words.
    """
    whole, _, decimals = number.replace(",", "").partition(".")
    if len(whole.lstrip("0")) > _MOST_DIGITS[language]:
        words = digits(whole, language)
    elif language == "zh":
        words = an2cn(whole or "0")
    else:
        words = _english(whole or "0")
    if not decimals:
        return words
    if language == "zh":
        return f"{words}点{digits(decimals, language)}"
    return f"{words} point {digits(decimals, language)}"


def digits(number: str, language: Language) -> str:
    """Read digits one by one, as of a telephone number; anything between them is dropped."""
    if language == "zh":
        return an2cn("".join(filter(str.isdecimal, number)), "direct")
    return " ".join(map(_english, filter(str.isdecimal, number)))


def ordinal(number: str) -> str:
    """Read an English ordinal: ``21`` is "twenty-first"."""
    number = number.replace(",", "")
    if len(number) > _MOST_DIGITS["en"]:
        return digits(number, "en")
    return _english(number, to="ordinal")


def year(number: str) -> str:
    """Read an English year: ``1999`` is "nineteen ninety-nine"."""
    return _english(number, to="year")


def plural(words: str) -> str:
    """Put the last word of a number or a year in the plural: "nineties", "sixths"."""
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith("x") else f"{words}s"


def spoken_number(number: str, language: Language) -> str:
    """Read a number that may be an identifier.

    With a leading zero, or ten digits and more without separators that are not round, nobody
    would say it as one number.
    """
    whole = number.partition(".")[0]
    is_code = len(whole) > 1 and whole[0] == "0"
    is_long = len(whole) >= 10 and "," not in whole and not whole.endswith("00000")
    if "." not in number and (is_code or is_long):
        return digits(number, language)
    return cardinal(number, language)


@lru_cache(10_000)
def _english(number: str, to: str = "cardinal") -> str:
    value = int(number) if to == "year" else Decimal(number)
    return num2words(value, to=to).replace(",", "")
