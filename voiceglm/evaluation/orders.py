"""Orders understood: the labels of Picovoice's speech-to-intent benchmark and its scoring.

An order counts whole: the intent and every slot of the label must be right. Slots beyond the label
are not held against it; values are compared without outer blanks, case counts.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voiceglm.error_rate import plain
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, read_manifest

DRINK = "coffeeDrink"  # the slot that every order has
ORDER = "orderDrink"  # the benchmark's one intent
Vocabulary = Mapping[str, frozenset[str]]  # of each slot its values, stripped


@dataclass(frozen=True)
class Order:
    """What somebody wants."""

    intent: str
    slots: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SpokenOrder:
    """An order with its recording."""

    label: Order
    audio: Utterance


def is_understood(label: Order, heard: Order | None) -> bool:
    """Score one order as the benchmark does; ``None`` is what was not understood."""
    if heard is None or heard.intent != label.intent:
        return False
    found = heard.slots
    return all(
        name in found and found[name].strip() == value.strip()
        for name, value in label.slots.items()
    )


def vocabulary(labels: Iterable[Order]) -> Vocabulary:
    """Return every value of every slot, which the engines of the benchmark are given too."""
    values: dict[str, set[str]] = {}
    for label in labels:
        for name, value in label.slots.items():
            values.setdefault(name, set()).add(value.strip())
    return {name: frozenset(found) for name, found in values.items()}


def read_order(reply: str, known: Vocabulary) -> Order | None:
    """Read an order out of the sentence in which the assistant repeats it.

    The longest values are looked for first, as whole words, and words are used once: "iced coffee"
    is not "coffee" too. Of a slot that is named twice the first counts.

    Args:
        reply: The assistant's text.
        known: The values of every slot.

    Returns:
        ``None`` if it names no drink: then nothing was ordered.
    """
    words = f" {plain(reply)} "
    values = [(name, value) for name, found in known.items() for value in found]
    places: dict[str, tuple[int, str]] = {}
    for name, value in sorted(values, key=lambda pair: (-len(pair[1]), pair)):
        for match in re.finditer(f"(?<= ){re.escape(plain(value))}(?= )", words):
            place = match.start()
            if name not in places or place < places[name][0]:
                places[name] = place, value
            words = f"{words[:place]}{'#' * len(match[0])}{words[match.end() :]}"
    slots = {name: value for name, (_, value) in places.items()}
    return Order(ORDER, slots) if DRINK in slots else None


def read_orders(source: Path) -> list[SpokenOrder]:
    """Read the benchmark's folder, or a manifest whose lines have ``intent`` and ``slots``.

    Of the folder, ``data/label/label.json`` lists more orders than ``data/speech/clean`` holds:
    those without a recording are left out.

    Raises:
        ConfigError: If it is neither.
    """
    found = list(_of_manifest(source) if source.is_file() else _of_benchmark(source))
    if not found:
        raise ConfigError(f"{source} holds no orders: expected recordings with intent and slots")
    return found


def _of_benchmark(folder: Path) -> Iterator[SpokenOrder]:
    path, speech = folder / "data/label/label.json", folder / "data/speech/clean"
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
        rows = [(name, _label(labels[name])) for name in sorted(labels)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is no list of labelled orders: {error}") from None
    for name, label in rows:
        if (speech / name).is_file():
            yield SpokenOrder(label, Utterance(speech / name, None))


def _of_manifest(path: Path) -> Iterator[SpokenOrder]:
    for clip in read_manifest(path):
        if clip.path is None or "slots" not in clip.extra:
            continue
        try:
            yield SpokenOrder(_label(clip.extra), clip)
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} holds an order whose label lacks {error}") from None


def _label(row: Mapping[str, Any]) -> Order:
    return Order(row["intent"], {name: value.strip() for name, value in row["slots"].items()})
