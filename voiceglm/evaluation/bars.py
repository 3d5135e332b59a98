"""What the nano model must reach, and where the figure of each bar stands."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from data_synth.tts import ASSISTANTS
from data_synth.world import LANGUAGES
from voiceglm.errors import ConfigError
from voiceglm.evaluation import (
    codes,
    intent,
    nano_world,
    people,
    reconstruction,
    reply,
    style,
    turns,
)
from voiceglm.evaluation.tables import TABLE


@dataclass(frozen=True)
class Bar:
    """A figure of a table, and what it must be."""

    table: str
    set: str
    what: str
    system: str = ""
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    def is_reached(self, value: float) -> bool | None:
        """Say whether a value is good enough; ``None`` if the figure is only reported."""
        if self.at_least is not None:
            return value >= self.at_least
        return None if self.at_most is None else value <= self.at_most


@dataclass(frozen=True)
class Judged:
    """A bar and what was measured."""

    bar: Bar
    value: float | None = None  # None: not measured
    unit: str = ""
    interval: tuple[float, float] | None = None
    count: int = 0
    reached: bool | None = None  # None: not measured, or only reported


def _of_replies() -> Iterable[Bar]:
    limits = {"en": (95.0, 8.0), "zh": (92.0, 6.0)}  # right replies, errors of their speech
    for language, name in nano_world.QUESTIONS.items():
        right, wrong = limits[language]
        yield Bar(reply.NAME, name, "right replies", at_least=right)
        yield Bar(reply.NAME, name, reply.SPOKEN[language], at_most=wrong)
    kinds = (turns.BACK, turns.MEMORY, turns.FOLLOW_UP)
    for name, kind in product(nano_world.CONVERSATIONS.values(), kinds):
        yield Bar(turns.NAME, name, turns.right(kind), at_least=85.0)


def _of_codes() -> Iterable[Bar]:
    limits = {"en": 5.0, "zh": 6.0}
    for language, name in nano_world.READINGS.items():
        yield Bar(codes.NAME, name, "wrong characters", codes.OWN, at_most=limits[language])
        yield Bar(codes.NAME, name, codes.TO_REFERENCE, codes.OWN, at_most=1.25)
        yield Bar(codes.NAME, codes.in_babble(name), codes.TO_CLEAN, codes.OWN, at_most=2.0)
    yield Bar(codes.NAME, codes.EVERYTHING, "codebook in use", at_least=80.0)


def _of_the_decoder() -> Iterable[Bar]:
    for assistant, language in product(ASSISTANTS, LANGUAGES):
        unit = "characters" if language == "zh" else "words"
        name = reconstruction.own_voice(assistant, language)
        worse = f"wrong {unit}, {reconstruction.WORSE}"
        yield Bar(reconstruction.NAME, name, worse, at_most=2.0)
        for measure in reconstruction.BESIDE_VOCODED:
            yield Bar(reconstruction.NAME, name, reconstruction.to_vocoded(measure))


BARS: Sequence[Bar] = (
    *_of_replies(),
    *_of_codes(),
    *_of_the_decoder(),
    Bar(style.NAME, style.MODEL, "rate right", at_least=95.0),
    Bar(style.NAME, style.MODEL, "pitch right", at_least=95.0),
    Bar(style.NAME, style.MODEL, "loudness right", at_least=95.0),
    Bar(style.NAME, style.MODEL, "styles right and kept"),
    Bar(people.NAME, people.SINGLE, "repeated rightly", at_least=95.0),
    Bar(people.NAME, people.IN_A_ROW, "repeated rightly", at_least=95.0),
    Bar(intent.NAME, "clean", "orders understood"),
    Bar(intent.NAME, "kitchen, mean", "orders understood", at_least=78.9),
)
"""Of the release, in the order in which they are read. Those of the decoder say how far its speech
is from the vocoder's; of orders in kitchen noise it is the figure published for Dialogflow."""


def needed() -> list[str]:
    """Return the tables that the bars are read from, in order."""
    return list(dict.fromkeys(bar.table for bar in BARS))


def judge(tables: Mapping[str, Mapping[str, Any]]) -> list[Judged]:
    """Look every bar's figure up.

    Args:
        tables: What ``table.json`` holds, by the table's name.
    """
    return [_judged(bar, tables.get(bar.table, {})) for bar in BARS]


def read_tables(output: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read those of several tables that were measured into a folder.

    Raises:
        ConfigError: If one is damaged.
    """
    found = {}
    for name in names:
        path = output / name / TABLE
        if path.is_file():
            try:
                found[name] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ConfigError(f"{path} is no table: {error}; measure {name} again") from None
    return found


def _judged(bar: Bar, table: Mapping[str, Any]) -> Judged:
    for figure in table.get("figures", ()):
        names = (figure["set"], figure["what"], figure["system"])
        if names == (bar.set, bar.what, bar.system):
            value, ends = figure["value"], figure["interval"]
            return Judged(
                bar,
                value,
                figure["unit"],
                None if ends is None else (ends[0], ends[1]),
                figure["count"],
                bar.is_reached(value),
            )
    return Judged(bar)
