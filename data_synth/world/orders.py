"""Orders of coffee: how people say them, and the one sentence in which the assistant repeats them.

Slots and values are those of Picovoice's speech-to-intent benchmark; ``milkAmount`` and
``sugarAmount`` say what and how much of it. Every order has a drink, the other slots are there by
halves, as in the benchmark.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from data_synth.world.exchange import Split, of_side, read
from voiceglm.errors import ConfigError

DRINK = "coffeeDrink"
_ADDED = ("milkAmount", "sugarAmount")  # said behind the drink, also by the assistant
_BEFORE = ("size", "roast", "numberOfShots")  # said before it by the assistant
_BEHIND = {"size": 0.1, "roast": 0.2, "numberOfShots": 0.4}  # how often people say it behind
_USUAL_ORDER = 0.6  # how often what comes before is in the assistant's order
_WORDINGS = 4_000
_JOINED = ("comma and", "comma", "and", "with")  # of what is said behind the drink


@dataclass(frozen=True)
class CoffeeOrder:
    """What somebody says, and what it means."""

    question: str
    reply: str
    slots: Mapping[str, str]
    wording: str


def sample_order(rng: random.Random, split: Split) -> CoffeeOrder:
    """Draw an order of one side of the split."""
    wording = rng.choice(of_side(wordings(), split))
    asked = re.findall(r"\{(\w+)\}", wording)
    slots = {name: _value(rng, name) for name in asked}
    said = wording.format(**slots)
    said = re.sub(r"a\(n\) (?=[aeiou])", "an ", said).replace("a(n)", "a")
    return CoffeeOrder(said, reply_for(slots), slots, wording)


def reply_for(slots: Mapping[str, str]) -> str:
    """Return the sentence in which the assistant repeats an order; what is not asked is not named.

    Raises:
        ConfigError: If there is no drink, or a slot has no place in the sentence.
    """
    unknown = set(slots).difference(values())
    if unknown or DRINK not in slots:
        lacking = f"slot {min(unknown)!r} is not known" if unknown else f"there is no {DRINK}"
        raise ConfigError(f"an order cannot be repeated: {lacking}")
    before = [slots[name].strip() for name in (*_BEFORE, DRINK) if name in slots]
    added = [slots[name].strip() for name in _ADDED if name in slots]
    behind = f" with {' and '.join(added)}" if added else ""
    return f"One {' '.join(before)}{behind}."


@cache
def values() -> Mapping[str, Sequence[str]]:
    """Return every value of every slot."""
    listed = read("orders.yaml")
    amounts = ("", *(f"{amount} " for amount in listed["amounts"]))
    added = {
        name: [f"{amount}{kind}" for kind in kinds for amount in amounts]
        for name, kinds in listed["kinds"].items()
    }
    return {**listed["values"], **added}


@cache
def wordings() -> tuple[str, ...]:
    """Return many of the ways to order, the same ones every time, with the slots left open."""
    rng = random.Random("orders")
    found: dict[str, None] = {}
    while len(found) < _WORDINGS:
        found[_wording(rng)] = None
    return tuple(found)


def _value(rng: random.Random, name: str) -> str:
    """Draw a value; milk and sugar are asked for without an amount every other time."""
    kinds = read("orders.yaml")["kinds"]
    if name in kinds and rng.random() < 0.5:
        return rng.choice(kinds[name])
    return rng.choice(values()[name])


def _wording(rng: random.Random) -> str:
    listed = read("orders.yaml")
    before = [name for name in _BEFORE if rng.random() < 0.5]
    behind = [name for name in before if rng.random() < _BEHIND[name]]
    before = [name for name in before if name not in behind]
    if rng.random() > _USUAL_ORDER:
        rng.shuffle(before)
    behind += [name for name in _ADDED if rng.random() < 0.5]
    rng.shuffle(behind)
    is_question = rng.random() < 0.4
    opener = rng.choice(listed["openers"]["questions" if is_question else "statements"])
    named = [f"{{{name}}}" for name in (*before, DRINK)]
    words = [opener, rng.choice(listed["articles"]), *named]
    said = " ".join(word for word in words if word) + _said_behind(rng, behind)
    return f"{said}{rng.choice(listed['endings'])}{'?' if is_question else '.'}"


def _said_behind(rng: random.Random, names: Sequence[str]) -> str:
    """Write what is said behind the drink: "with milk and sugar", ", double shot, with cream"."""
    alone = [name for name in names if name in ("size", "roast")]
    added = [_item(rng, name) for name in names if name not in alone]
    text = "".join(f", {{{name}}}" for name in alone)
    if not added:
        return text
    *first, last = added
    joined = rng.choice(_JOINED)
    if joined == "with":
        return text + "".join(f" with {item}" for item in added)
    if joined == "comma":
        return f"{text}, {', '.join(added)}"
    between = ", " if joined == "comma and" else " and "
    listed = f"{between.join(first)} and {last}" if first else last
    return f"{text} with {listed}"


def _item(rng: random.Random, name: str) -> str:
    return f"a {{{name}}}" if name == "numberOfShots" and rng.random() < 0.5 else f"{{{name}}}"
