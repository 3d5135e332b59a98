"""Numbers, abbreviations and symbols of plain text as English words.

A table of patterns and how each is read, the most particular first: what one has read holds no
digits, so the next leaves it alone. No pattern looks at a stretch of text again and again: each
begins where a number or a word begins, and takes it without going back.
"""

import re

from data_synth.english_words import (
    BEFORE_NUMBERS,
    COUNTRIES,
    LAST_WORDS,
    MONEY,
    MONTHS,
    PER,
    SCALES,
    SYMBOLS,
    TITLES,
    UNCHANGED,
    UNITS,
)
from data_synth.number_words import cardinal, digits, ordinal, plural, spoken_number, year
from data_synth.reading import Match, Rule, any_of, apply, read_address, rules

_N = r"(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?+"
_NEW = r"(?<![\d.])(?<!\d,)"  # no number goes on here
_END = r"(?![A-Za-z\d])"
_TO = r" ?[-–—~～] ?"
_MONTH = rf"\b({any_of([*MONTHS.values(), *MONTHS, 'Sept'])})\b\.?"
_YEAR = r"(?:1[1-9]\d\d|20\d\d)"
_ALL = "".join(SYMBOLS)
_UNIT = rf"{any_of(UNITS)}(?:\^?[23])?"
_SCALE = rf"{any_of(SCALES)}{_END}"


def _n(number: str) -> str:
    return cardinal(number, "en")


def _count(amount: str, name: str) -> str:
    return f"{_n(amount)} {name if amount.lstrip('0') == '1' else _many(name)}"


def _many(name: str) -> str:
    """Put what is counted in the plural; of "mile per hour" it is the first word."""
    if name.endswith(UNCHANGED):
        return name
    head, _, rest = name.partition(" ")
    if head == "degree" or rest.startswith("per "):
        return f"{head}s {rest}".strip()
    return "feet" if name == "foot" else f"{name}s"


def _year_or_number(number: str) -> str:
    return year(number) if re.fullmatch(_YEAR, number) else spoken_number(number, "en")


def _ordinal_day(match: Match) -> str:
    words = f"the {ordinal(match[1])} of {MONTHS[match[2][:3]]}"
    return f"{words}, {year(match[3])}" if match[3] else words


def _month_day(match: Match) -> str:
    words = f"{MONTHS[match[1][:3]]} {ordinal(match[2])}"
    return f"{words}, {year(match[3])}" if match[3] else words


def _iso_date(match: Match) -> str:
    return _date(*match.groups()) or " ".join(map(_n, match.groups()))


def _date_in_numbers(match: Match) -> str:
    """Read the month first, as in America, unless that is no month."""
    first, second, year_ = match.groups()
    said = _date(year_, first, second) or _date(year_, second, first)
    return said or " ".join(_year_or_number(part) for part in match.groups())


def _date(year_: str, month: str, day: str) -> str | None:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    return f"{[*MONTHS.values()][int(month) - 1]} {ordinal(day)}, {_year_or_number(year_)}"


def _time(match: Match) -> str:
    hour, minute, second, half = match.groups()
    words = _n(hour)
    if int(minute):
        words += f" {'oh ' if minute[0] == '0' else ''}{_n(minute)}"
    elif not half:
        words += " o'clock" if 1 <= int(hour) <= 12 else " hundred"
    if second:
        words += f" and {_count(second, 'second')}"
    return f"{words} {half.upper()}M{_stop(match)}" if half else words


def _hour(match: Match) -> str:
    return f"{_n(match[1])} {match[2].upper()}M{_stop(match)}"


def _money(match: Match) -> str:
    country, sign, first, last, scale = match.groups()
    name, small = MONEY[sign]
    name = f"{COUNTRIES[country]} {name}" if country else name
    before, amount = (f"{_n(first)} to ", last) if last else ("", first)
    if scale:
        return f"{before}{_n(amount)} {SCALES[scale]} {_many(name)}"
    whole, _, cents = amount.partition(".")
    if len(cents) != 2 or not small:
        return before + _count(amount, name)
    parts = [_count(whole, name)] if whole.strip("0") or not cents.strip("0") else []
    parts += [_cents(cents, small)] if cents.strip("0") else []
    return before + " and ".join(parts)


def _cents(cents: str, name: str) -> str:
    return f"{_n(cents)} pence" if name == "penny" and cents != "01" else _count(cents, name)


def _money_after(match: Match) -> str:
    return _count(match[1], MONEY[match[2]][0] if match[2] in MONEY else "cent")


def _unit(match: Match) -> str:
    number, unit, power, per, per_power = match.groups()
    name = UNITS[unit] if number.lstrip("0") == "1" else _many(UNITS[unit])
    words = f"{_n(number)} {_POWERS[power]}{name}"
    if not per:
        return words
    if PER[per] == "second" and per_power == "2":
        return f"{words} per second squared"
    return f"{words} per {_POWERS[per_power]}{PER[per]}"


_POWERS = {"2": "square ", "3": "cubic ", None: ""}


def _fraction(match: Match) -> str:
    whole, top, bottom = match.groups()
    if not _is_named(top, bottom):
        over = " " if len(bottom) <= 2 and int(bottom) <= 31 else " over "
        said = f"{spoken_number(top, 'en')}{over}{spoken_number(bottom, 'en')}"
        return f"{_n(whole)} {said}" if whole else said
    part = {"2": "half", "4": "quarter"}.get(bottom) or ordinal(bottom)
    part = {"half": "halves"}.get(part, plural(part)) if int(top) > 1 else part
    if whole:
        return f"{_n(whole)} and {'a' if int(top) == 1 else _n(top)} {part}"
    return f"{_n(top)} {part}"


def _is_named(top: str, bottom: str) -> bool:
    """Say whether it is a fraction rather than a score, a date or a pressure."""
    if len(bottom) > 4 or len(top) > 4:
        return False
    common = int(bottom) <= 10 or bottom in ("12", "16", "20", "32", "64", "100", "1000")
    return common and 0 < int(top) < int(bottom)


def _decade(match: Match) -> str:
    return plural(_year_or_number(match[1]))


def _years(match: Match) -> str:
    last = match[2]
    return f"{year(match[1])} to {year(last) if len(last) == 4 else spoken_number(last, 'en')}"


def _phone(match: Match) -> str:
    groups = re.findall(r"\d+", match[0])
    return ("plus " if "+" in match[0] else "") + ", ".join(digits(each, "en") for each in groups)


def _power(match: Match) -> str:
    base, minus, power = match.groups()
    if not minus and base.isalpha() and power in ("2", "3"):
        return f"{base} {'squared' if power == '2' else 'cubed'}"
    return f"{base} to the power of {'minus ' if minus else ''}{_n(power)}"


def _scientific(match: Match) -> str:
    base, minus, power = match.groups()
    return f"{_n(base)} times ten to the power of {'minus ' if minus else ''}{_n(power)}"


def _version(match: Match) -> str:
    words = " point ".join(spoken_number(part, "en") for part in match[0].split("."))
    return _apart(match, words)


def _plain(match: Match) -> str:
    return _apart(match, spoken_number(match[0], "en"))


def _apart(match: Match, words: str) -> str:
    """Part words from the letters beside them."""
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    return f"{' ' * before.isalnum()}{words}{' ' * after.isalnum()}"


def _abbreviation(match: Match) -> str:
    return TITLES[match[1]]


def _last_word(match: Match) -> str:
    return LAST_WORDS[match[1]] + _stop(match)


def _stop(match: Match) -> str:
    """Return the full stop of a sentence that an abbreviation's took with it."""
    if not match[0].endswith("."):
        return ""
    rest = match.string[match.end() : match.end() + 2]
    return "." if not rest.strip() or (rest[0] == " " and rest[1:].isupper()) else ""


def _initials(match: Match) -> str:
    return match[0].replace(".", " ")


def _address(match: Match) -> str:
    return read_address(match, {".": "dot", "/": "slash", "@": "at", "_": "underscore"})


def _symbol(match: Match) -> str:
    return f" {SYMBOLS[match[0]]} "


ADDRESSES: list[Rule] = rules(
    (r"(?<![\w.%+@-])[\w.%+-]{1,64}@\w[\w-]{0,62}(?:\.[\w-]{1,63}){1,5}+", _address),
    (r"(?<![A-Za-z\d])(?:https?://|www\.)[^\s<>()\"'“”]++", _address),
    (
        r"(?<![\w.@/-])[A-Za-z\d][A-Za-z\d-]{1,62}\.(?:com|org|net|edu|gov|io|co\.uk|info)\b"
        r"(?:/[^\s<>()\"'“”]*+)?",
        _address,
    ),
)

NUMBERS: list[Rule] = rules(
    (r"#(?=\d)", lambda _: "number "),
    (
        rf"\b({any_of(BEFORE_NUMBERS)})\. ?(?=\d)",
        lambda match: f"{BEFORE_NUMBERS[match[1]]} ",
    ),
    (r"§ ?(?=\d)", lambda _: "section "),
    # Telephones.
    (
        r"(?<![\w.,+-])(?:\+?\d{1,3}[ .-])?(?:\(\d{2,4}\) ?|\d{2,4}[-.])\d{3,4}[ .-]\d{4}(?![\w-])",
        _phone,
    ),
    (r"(?<![\w+])\+\d[\d ().-]{5,18}\d(?!\d)", _phone),
    (r"(?<=[Cc]all )\d{3}-\d{4}\b|(?<=[Pp]hone: )\d{3}-\d{4}\b|(?<=[Tt]el: )\d{3}-\d{4}\b", _phone),
    # Dates and times.
    (r"(?<![\w.-])(\d{4})-([01]\d)-([0-3]\d)(?:T(?=\d))?(?![\d-])", _iso_date),
    (r"(?<![\w./-])((?:19|20)\d\d)[/.](\d{1,2})[/.](\d{1,2})(?![\w/])", _iso_date),
    (r"(?<![\w./-])(\d{1,2})[/.](\d{1,2})[/.]((?:19|20)\d\d)(?![\w/])", _date_in_numbers),
    (
        rf"(?:\bthe )?(?<![\w.,])(\d{{1,2}})(?:st|nd|rd|th)?,? (?:of )?{_MONTH}"
        rf"(?:,? ({_YEAR})(?!\d))?",
        _ordinal_day,
    ),
    (
        rf"{_MONTH} (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?![\w:%])(?!,\d|\.\d)"
        rf"(?:,? ({_YEAR})(?!\d))?",
        _month_day,
    ),
    (
        r"(?<![\w:.])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d)(?:\.\d++)?)?(?![\d:])"
        r"(?: ?([AaPp])\.?[Mm]\b\.?)?",
        _time,
    ),
    (r"(?<![\w:.])(1?\d) ?([AaPp])(?:\.[Mm]\.|[Mm]\b)", _hour),
    # Money.
    (
        rf"(?:\b({any_of(COUNTRIES)}))?([$€£¥]) ?({_N})(?:{_TO}[$€£¥]?({_N}))?(?:[ -]?({_SCALE}))?",
        _money,
    ),
    (rf"{_NEW}({_N}) ?([€£¥¢])(?!\d)", _money_after),
    # Years.
    (rf"(?<![\w.,-])({_YEAR}){_TO}({_YEAR}|\d\d)(?![\w%-]|[.,]\d)", _years),
    (rf"(?<![\w.,])['’]?(\d0|{_YEAR}|\d{{3}})['’]?s\b", _decade),
    # Quantities; of a range, the second number is still to be read.
    (
        rf"{_NEW}({_N})%?{_TO}(?={_N} ?(?:%|percent\b|{_UNIT}{_END}))",
        lambda match: f"{_n(match[1])} to ",
    ),
    (rf"(?<![\w)-])[-](?=(?:{_N}) ?°)", lambda _: "minus "),
    (rf"{_NEW}({_N}) ?%", lambda match: f"{_n(match[1])} percent"),
    (
        rf"{_NEW}({_N})[ -]?({any_of(UNITS)})(?:\^?([23]))?"
        rf"(?:/({any_of(PER)})(?:\^?([23]))?)?{_END}",
        _unit,
    ),
    (r"(?<![\w.,/])(?:(\d{1,4}) )?(\d{1,4})/(\d{1,4})(?![\w/])(?!\.\d)", _fraction),
    (r"(?<![\w.])(\d{1,3}(?:,\d{3})++|\d++)(?:st|nd|rd|th)\b", lambda match: ordinal(match[1])),
    (rf"{_NEW}({_N})(?: x |[x×])(?={_N}(?!\^))", lambda match: f"{_n(match[1])} by "),
    (r"(?<![\w.])(\d++|[A-Za-z])\^(-?)(\d++)", _power),
    (rf"{_NEW}({_N})[eE]\+?(-?)(\d{{1,4}})(?![\w.])", _scientific),
    (r"(?<![\d.])\d++(?:\.\d++){2,}+(?!\.\d)", _version),
    (rf"(?<![\w.,])({_YEAR})(?![A-Za-z\d]|[.,:/-]\d)", lambda match: year(match[1])),
    (rf"{_NEW}({_N}){_TO}(?=\d)", lambda match: f"{spoken_number(match[1], 'en')} to "),
    (rf"{_NEW}({_N}):(?=\d)", lambda match: f"{_n(match[1])} to "),
    (r"(?<=[A-Za-z])-(?=\d)", lambda _: " "),
    (r"(?<![^\s(=<>~±])-(?=\.?\d)", lambda _: "minus "),
    (r"(?<!\d)\.(\d++)", lambda match: f" point {digits(match[1], 'en')} "),
    (_N, _plain),
)

WORDS: list[Rule] = rules(
    (r"\be\.g\.,?|\be\.g\b", lambda _: "for example"),
    (r"\bi\.e\.,?|\bi\.e\b", lambda _: "that is"),
    (r"\bet al\.", lambda match: f"et al{_stop(match)}"),
    (r"\ba\.k\.a\.", lambda _: "also known as"),
    (r"\bPh\.? ?D\b\.?", lambda match: f"P H D{_stop(match)}"),
    (r"\bSt\.(?= [A-Z])", lambda _: "Saint"),
    (r"(?<=[a-z] )St\.(?! [A-Z])", lambda match: f"Street{_stop(match)}"),
    (rf"\b({any_of(TITLES)})\.(?= )", _abbreviation),
    (rf"\b({any_of(LAST_WORDS)})\.", _last_word),
    (r"\bw/o\b", lambda _: "without"),
    (r"\bw/(?= )", lambda _: "with"),
    (r"\b(?:[A-Z]\.){2,}+", _initials),
    (r"\b([ap])\.m\.", lambda match: f"{match[1].upper()}M{_stop(match)}"),
    (rf"(?<![{_ALL}])[{_ALL}](?![{_ALL}])", _symbol),
)


def read(text: str) -> str:
    """Read numbers, then abbreviations and symbols."""
    has_digits = any(c.isdecimal() for c in text)
    return apply(text, ADDRESSES, NUMBERS if has_digits else [], WORDS)
