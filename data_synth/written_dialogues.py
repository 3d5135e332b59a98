"""Written dialogues from a file of JSON lines; one that cannot be used says why.

    {"id": "d1", "language": "en", "turns": [{"role": "user", "text": "Hello."},
                                             {"role": "assistant", "text": "Hi!", "style": {}}]}

``docs/data.md`` says what each field means. ``id``, ``language`` and ``style`` may be missing.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_synth.number_words import Language
from data_synth.plain_text import encoding_trouble
from data_synth.texts import MOST_CHARACTERS, SHOWN, read_as
from voiceglm.lines import Line, read_lines

MOST_TURNS = 200
"""Of one dialogue."""


@dataclass(frozen=True)
class WrittenTurn:
    """A turn as it is in the file."""

    role: str
    text: str
    style: Any = None  # what JSON gave; data_synth.style reads it


@dataclass(frozen=True)
class WrittenDialogue:
    """Turns of the user and the assistant in turn, perhaps one of the system before them."""

    line: int  # of its file, from 1
    id: str
    language: Language
    turns: tuple[WrittenTurn, ...]


@dataclass(frozen=True)
class LeftOut:
    """Why a dialogue is not used."""

    line: int  # of its file, from 1
    reason: str
    dialogue: str = ""  # its id, if it got that far
    turn: int | None = None  # which turn is the reason, from 0
    text: str = ""  # of that turn, its beginning

    def row(self) -> dict[str, Any]:
        """Return it as a row of ``left_out.jsonl``."""
        row = {"line": self.line, "dialogue": self.dialogue, "reason": self.reason}
        if self.turn is not None:
            row |= {"turn": self.turn, "text": self.text[:SHOWN]}
        return row


class _UnusableError(Exception):
    """Why a row is no dialogue."""

    def __init__(self, reason: str, turn: int | None = None, text: str = ""):
        super().__init__(reason)
        self.reason, self.turn, self.text = reason, turn, text


def read_dialogues(path: Path) -> Iterator[WrittenDialogue | LeftOut]:
    """Give every dialogue of a file, or why it cannot be used; blank lines mean nothing.

    Raises:
        ConfigError: If the file cannot be read.
    """
    seen: set[str] = set()
    for line in read_lines(path, "file of dialogues"):
        if not line.problem and not line.text.strip():
            continue
        name = ""
        try:
            row = _row(line)
            name = _name(row, line.number, seen)
            yield WrittenDialogue(line.number, name, _language(row), tuple(_turns(row)))
        except _UnusableError as error:
            yield LeftOut(line.number, error.reason, name, error.turn, error.text)


def _row(line: Line) -> dict[str, Any]:
    if line.problem:
        raise _UnusableError(line.problem)
    try:
        row = json.loads(line.text)
        # What was read has to be written: no NaN, no half of a character.
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise _UnusableError("it holds half a character (a lone surrogate)") from None
    except (ValueError, RecursionError):
        raise _UnusableError("not JSON") from None
    if not isinstance(row, dict):
        raise _UnusableError("not a JSON object")
    return row


def _name(row: dict[str, Any], number: int, seen: set[str]) -> str:
    name = row.get("id")
    if name is None:
        name = f"line-{number}"
    if type(name) is int:
        name = str(name)
    if not isinstance(name, str) or not name:
        raise _UnusableError("its id is not text")
    if name in seen:
        raise _UnusableError("its id is that of an earlier one")
    seen.add(name)
    return name


def _language(row: dict[str, Any]) -> Language:
    name = row.get("language")
    language = "en" if name is None else isinstance(name, str) and read_as(name)
    if not language:
        raise _UnusableError("its language is neither en nor zh")
    return language


def _turns(row: dict[str, Any]) -> Iterator[WrittenTurn]:
    turns = row.get("turns")
    if not isinstance(turns, list) or not turns:
        raise _UnusableError("its turns are no list")
    if len(turns) > MOST_TURNS:
        raise _UnusableError(f"over {MOST_TURNS} turns")
    found = [_turn(number, turn) for number, turn in enumerate(turns)]
    first = 1 if found[0].role == "system" else 0
    for number, turn in enumerate(found[first:]):
        if turn.role != ("user", "assistant")[number % 2]:
            raise _UnusableError("user and assistant do not alternate", first + number, turn.text)
    if len(found) == first or found[-1].role == "user":
        raise _UnusableError("it does not end with a reply", len(found) - 1, found[-1].text)
    yield from found


def _turn(number: int, turn: Any) -> WrittenTurn:
    if not isinstance(turn, dict):
        raise _UnusableError("a turn is not an object", number)
    role, text = turn.get("role"), turn.get("text")
    if role not in ("user", "assistant", "system"):
        raise _UnusableError("unknown role", number)
    if not isinstance(text, str):
        raise _UnusableError("its text is not text", number)
    if not text.strip():
        raise _UnusableError("empty text", number)
    if len(text) > MOST_CHARACTERS:
        raise _UnusableError(f"a turn of over {MOST_CHARACTERS:,} characters", number, text)
    if trouble := encoding_trouble(text):
        raise _UnusableError(trouble, number, text)
    return WrittenTurn(role, text, turn.get("style"))
