"""Numbers and symbols of plain text as Chinese words, built as ``read_english`` is."""

import re

from data_synth.number_words import cardinal, digits, spoken_number
from data_synth.reading import Match, Rule, any_of, apply, read_address, rules

_N = r"(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?+"
_NEW = r"(?<![\d.])(?<!\d,)"
_END = r"(?![A-Za-z\d])"
_TO = r" ?(?:[-–—~～至到]|--|——) ?"

UNITS = {
    "km": "公里", "m": "米", "cm": "厘米", "mm": "毫米", "μm": "微米", "nm": "纳米",
    "kg": "公斤", "g": "克", "mg": "毫克", "μg": "微克", "t": "吨", "L": "升", "l": "升",
    "mL": "毫升", "ml": "毫升", "ha": "公顷", "s": "秒", "ms": "毫秒", "min": "分钟",
    "h": "小时", "Hz": "赫兹", "kHz": "千赫", "MHz": "兆赫", "GHz": "吉赫", "W": "瓦",
    "kW": "千瓦", "MW": "兆瓦", "kWh": "千瓦时", "V": "伏", "kV": "千伏", "A": "安",
    "mA": "毫安", "Ω": "欧姆", "J": "焦耳", "kJ": "千焦", "kcal": "千卡", "Pa": "帕",
    "kPa": "千帕", "dB": "分贝", "°C": "摄氏度", "°F": "华氏度", "°": "度",
}  # fmt: skip
MONEY = {"¥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
SYMBOLS = {
    "&": "和", "+": "加", "=": "等于", "×": "乘以", "*": "乘以", "÷": "除以", "±": "正负",
    "<": "小于", ">": "大于", "≤": "小于等于", "≥": "大于等于", "≈": "约等于",
    "≠": "不等于", "@": "艾特", "%": "百分之", "√": "根号", "∞": "无穷大", "→": "到",
    "°": "度",
}  # fmt: skip
_COUNTED = "个只位名家条种次天年周张部台辆项组对套倍人岁块元倍万千亿本件间座支把颗粒斤吨米克升"
_ALL = "".join(SYMBOLS)
_UNIT = rf"{any_of(UNITS)}(?:\^?[23])?"


def _n(number: str) -> str:
    return cardinal(number, "zh")


def _amount(number: str) -> str:
    """Read a number of things: two of them are 两."""
    return "两" if number == "2" else _n(number)


def _date(match: Match) -> str:
    year, month, day = match.groups()
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return " ".join(digits(part, "zh") for part in match.groups())
    return f"{digits(year, 'zh')}年{_n(month)}月{_n(day)}日"


def _written(match: Match) -> str:
    year, month, day = match.groups()
    return f"{digits(year, 'zh')}年{_n(month)}月{_n(day)}"


def _years(match: Match) -> str:
    return f"{digits(match[1], 'zh')}到"


def _year(match: Match) -> str:
    return digits(match[1], "zh")


def _time(match: Match) -> str:
    hour, minute, second = match.groups()
    words = f"{_amount(str(int(hour)))}点"
    if int(minute) or second:
        words += f"{_minutes(minute)}分"
    else:
        words += "整"
    return f"{words}{_minutes(second)}秒" if second else words


def _minutes(number: str) -> str:
    return f"零{_n(number)}" if number[0] == "0" and number != "00" else _n(number)


def _money(match: Match) -> str:
    sign, first, last, scale = match.groups()
    amount = f"{_n(first)}到{_n(last)}" if last else _n(first)
    return f"{amount}{scale or ''}{MONEY[sign]}"


def _percent(match: Match) -> str:
    minus, first, last, sign = match.groups()
    of = "百分之" if sign == "%" else "千分之"
    said = f"{'负' if minus else ''}{of}{_n(first)}"
    return f"{said}到{of}{_n(last)}" if last else said


def _unit(match: Match) -> str:
    number, unit, power, per, per_power = match.groups()
    words = f"{_amount(number)}{_POWERS[power]}{UNITS[unit]}"
    return f"{words}每{_POWERS[per_power]}{UNITS[per]}" if per else words


_POWERS = {"2": "平方", "3": "立方", None: ""}


def _fraction(match: Match) -> str:
    whole, top, bottom = match.groups()
    said = f"{_n(bottom)}分之{_n(top)}"
    return f"{_n(whole)}又{said}" if whole else said


def _power(match: Match) -> str:
    base, minus, power = match.groups()
    return f"{base}的{'负' if minus else ''}{_n(power)}次方"


def _phone(match: Match) -> str:
    plus = "加" if "+" in match[0] else ""
    return plus + "，".join(digits(group, "zh") for group in re.findall(r"\d+", match[0]))


def _version(match: Match) -> str:
    return "点".join(spoken_number(part, "zh") for part in match[0].split("."))


def _plain(match: Match) -> str:
    return spoken_number(match[0], "zh")


def _address(match: Match) -> str:
    return read_address(match, {".": "点", "/": "斜杠", "@": "艾特", "_": "下划线"})


ADDRESSES: list[Rule] = rules(
    (r"(?<![\w.%+@-])[\w.%+-]{1,64}@\w[\w-]{0,62}(?:\.[\w-]{1,63}){1,5}+", _address),
    (r"(?<![A-Za-z\d])(?:https?://|www\.)[!-~]++", _address),
    (
        r"(?<![\w.@/-])[A-Za-z\d][A-Za-z\d-]{1,62}\.(?:com|org|net|edu|gov|cn|io)\b(?:/[!-~]*+)?",
        _address,
    ),
)

NUMBERS: list[Rule] = rules(
    # Telephones.
    (r"(?<![\d.+-])(?:\+\d{1,3}[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\d)", _phone),
    (r"(?<![\d.+-])(?:0\d{2,3}|[48]00)-\d{3,4}-?\d{3,4}(?:-\d{1,4})?(?!\d)", _phone),
    (r"(?<![\w+])\+\d[\d ().-]{5,18}\d(?!\d)", _phone),
    # Dates and times.
    (r"(?<![\w.-])(\d{4}) ?年 ?(\d{1,2}) ?月 ?(\d{1,2})(?= ?[日号])", _written),
    (r"(?<![\w./-])(\d{4})-(\d{1,2})-(\d{1,2})(?:T(?=\d))?(?![\d-])", _date),
    (r"(?<![\w./-])((?:19|20)\d\d)[/.](\d{1,2})[/.](\d{1,2})(?![\w/])", _date),
    (rf"(?<![\d.])(\d{{4}}){_TO}(?=\d{{4}} ?年)", _years),
    (r"(?<![\d.])((?:1\d|20)\d\d|[6-9]\d)(?= ?年(?!代))", _year),
    (r"(?<![\d.])((?:1\d|20)\d\d)(?= ?年代)", _year),
    (r"(?<![\w:.])([01]?\d|2[0-4])[:：]([0-5]\d)(?:[:：]([0-5]\d)(?:\.\d++)?)?(?![\d:：])", _time),
    # Money and quantities; of a range, the second number is still to be read.
    (rf"(?:US)?([$€£¥]) ?({_N})(?:{_TO}[$€£¥]?({_N}))? ?([十百千万亿]{{1,3}})?元?", _money),
    (rf"(?<![\w)])(-)?({_N})%?(?:{_TO}({_N}))? ?([%‰])", _percent),
    (
        rf"{_NEW}({_N}){_TO}(?=-?{_N} ?{_UNIT}{_END})",
        lambda match: f"{_n(match[1])}到",
    ),
    (rf"(?<![\w)])-(?={_N} ?[°度])", lambda _: "零下"),
    (
        rf"{_NEW}({_N}) ?({any_of(UNITS)})(?:\^?([23]))?"
        rf"(?:/({any_of(UNITS)})(?:\^?([23]))?)?{_END}",
        _unit,
    ),
    (r"(?<![\w.,/])(?:(\d{1,4}) )?(\d{1,4})/([1-9]\d{0,3})(?![\w/])(?!\.\d)", _fraction),
    (r"(?<![\w.])(\d++|[A-Za-z])\^(-?)(\d++)", _power),
    (r"(?<![\d.])\d++(?:\.\d++){2,}+(?!\.\d)", _version),
    (rf"{_NEW}({_N})(?:[-–—~～]|——) ?(?=\d)", lambda match: f"{spoken_number(match[1], 'zh')}到"),
    (rf"{_NEW}({_N})[:：](?=\d)", lambda match: f"{_n(match[1])}比"),
    (rf"(?<![\d.第十百千万零点])2(?= ?(?:[{_COUNTED}]|小时|分钟|公里|公斤))", lambda _: "两"),
    (r"(?<=[A-Za-z])-(?=\d)", lambda _: " "),
    (r"(?<![A-Za-z\d)])-(?=\.?\d)", lambda _: "负"),
    (r"(?<!\d)\.(\d++)", lambda match: f"点{digits(match[1], 'zh')}"),
    (_N, _plain),
)

WORDS: list[Rule] = rules(
    (rf"(?<![{_ALL}]) ?([{_ALL}]) ?(?![{_ALL}])", lambda match: SYMBOLS[match[1]]),
)


def read(text: str) -> str:
    """Read numbers, then symbols."""
    has_digits = any(c.isdecimal() for c in text)
    return apply(text, ADDRESSES, NUMBERS if has_digits else [], WORDS)
