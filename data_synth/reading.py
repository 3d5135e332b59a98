"""How a language is read: patterns, each with a function that says what it found."""

import re
from collections.abc import Callable, Iterable, Mapping

Match = re.Match[str]
Reader = Callable[[Match], str]
Rule = tuple[re.Pattern[str], Reader]


def rules(*rows: tuple[str, Reader]) -> list[Rule]:
    """Compile a table of patterns, in which a word, a digit and a blank are ASCII."""
    return [(re.compile(pattern, re.ASCII), reader) for pattern, reader in rows]


def any_of(words: Iterable[str]) -> str:
    """Return a pattern that matches any of the words, the longest that fits."""
    return "(?:" + "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) + ")"


def apply(text: str, *tables: list[Rule]) -> str:
    """Read a text with every rule of every table in turn."""
    for table in tables:
        for pattern, reader in table:
            text = pattern.sub(reader, text)
    return text


def read_address(match: Match, names: Mapping[str, str]) -> str:
    """Read an address of the web or of mail: no scheme, no query, no long path.

    Args:
        match: The address, with whatever punctuation came after it.
        names: What the language calls ``.``, ``/``, ``@`` and ``_``.
    """
    address = match[0].rstrip(".,;:!?")
    after = match[0][len(address) :]
    address = re.sub(r"(?i)^(?:https?://)?(?:www\.)?", "", re.split("[?#]", address)[0])
    host, _, path = address.rstrip("/").partition("/")
    said = f"{host}/{path}" if path and len(path) <= 30 else host
    for sign, name in names.items():
        said = said.replace(sign, f" {name} ")
    return re.sub(r"[-~%+=&:;,]", " ", said) + after
