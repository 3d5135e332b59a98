"""What English says for units, money, abbreviations and symbols."""

MONTHS = {
    name[:3]: name
    for name in (
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    )
}  # fmt: skip

UNITS = {
    "km": "kilometre", "m": "metre", "cm": "centimetre", "mm": "millimetre", "μm": "micrometre",
    "nm": "nanometre", "mi": "mile", "ft": "foot", "yd": "yard", "ha": "hectare",
    "kg": "kilogram", "g": "gram", "mg": "milligram", "μg": "microgram", "mcg": "microgram",
    "lb": "pound", "lbs": "pound", "oz": "ounce", "L": "litre", "l": "litre", "dL": "decilitre",
    "mL": "millilitre", "ml": "millilitre", "gal": "gallon", "s": "second", "sec": "second",
    "ms": "millisecond", "min": "minute", "h": "hour", "hr": "hour", "hrs": "hour", "yr": "year",
    "yrs": "year", "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz",
    "W": "watt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "kWh": "kilowatt hour",
    "V": "volt", "kV": "kilovolt", "mA": "milliampere", "Ω": "ohm", "J": "joule",
    "kJ": "kilojoule", "kcal": "kilocalorie", "Pa": "pascal", "kPa": "kilopascal",
    "mph": "mile per hour", "kph": "kilometre per hour", "ppm": "part per million",
    "KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte",
    "Mbps": "megabit per second", "dB": "decibel", "°C": "degree Celsius",
    "°F": "degree Fahrenheit", "°": "degree",
}  # fmt: skip

PER = {"day": "day", "month": "month", "year": "year", "person": "person"} | UNITS
"""What may stand after the stroke of "5 km/h"."""

UNCHANGED = ("hertz", "kilohertz", "megahertz", "gigahertz", "yen")
"""Units without a plural of their own."""

MONEY = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny"), "¥": ("yen", "")}

COUNTRIES = {
    "US": "US", "A": "Australian", "AU": "Australian", "C": "Canadian", "CA": "Canadian",
    "NZ": "New Zealand", "HK": "Hong Kong", "S": "Singapore",
}  # fmt: skip

SCALES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million",
    "b": "billion", "B": "billion", "bn": "billion", "tn": "trillion", "hundred": "hundred",
    "thousand": "thousand", "million": "million", "billion": "billion", "trillion": "trillion",
}  # fmt: skip

TITLES = {
    "Dr": "Doctor", "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor",
    "Gov": "Governor", "Gen": "General", "Sen": "Senator", "Rep": "Representative",
    "Rev": "Reverend", "Capt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant",
    "Col": "Colonel", "Pres": "President", "Mt": "Mount", "approx": "approximately",
    "vs": "versus", "cf": "compare", "viz": "namely", "Dept": "Department",
    "dept": "department", "Univ": "University", "Mon": "Monday", "Tues": "Tuesday",
    "Wed": "Wednesday", "Thurs": "Thursday", "Fri": "Friday", "Jan": "January",
    "Feb": "February", "Apr": "April", "Aug": "August", "Sept": "September", "Oct": "October",
    "Nov": "November", "Dec": "December",
}  # fmt: skip
"""Abbreviations that stand before a word, so that their full stop ends no sentence."""

LAST_WORDS = {
    "etc": "et cetera", "Jr": "Junior", "Sr": "Senior", "Inc": "Incorporated", "Ltd": "Limited",
    "Corp": "Corporation", "Bros": "Brothers", "Ave": "Avenue", "Blvd": "Boulevard",
}  # fmt: skip
"""Abbreviations whose full stop may end the sentence too."""

BEFORE_NUMBERS = {
    "No": "number", "no": "number", "Nos": "numbers", "p": "page", "pp": "pages",
    "Fig": "Figure", "Figs": "Figures", "fig": "figure", "Vol": "Volume", "vol": "volume",
    "Ch": "Chapter", "ch": "chapter", "Sec": "Section", "Eq": "Equation", "Art": "Article",
    "ca": "circa", "c": "circa",
}  # fmt: skip
"""Abbreviations that are read so only before a number."""

SYMBOLS = {
    "&": "and", "+": "plus", "=": "equals", "×": "times", "*": "times", "÷": "divided by",
    "±": "plus or minus", "<": "less than", ">": "greater than", "≤": "at most",
    "≥": "at least", "≈": "about", "~": "about", "≠": "is not", "@": "at", "%": "percent",
    "‰": "per mille", "√": "the square root of", "∞": "infinity", "$": "dollar", "€": "euro",
    "£": "pound", "§": "section", "→": "to", "°": "degrees", "∈": "in",
}  # fmt: skip
"""Symbols that stand by themselves."""
