"""The nano world in Chinese: how facts are put into questions and answers.

``zh.yaml`` holds all that is said. A skill has parts, each an answer and the cores that ask for it;
a core in a frame of its kind is a wording. Numbers are words, and every text is written in
characters, commas, full stops and question marks alone: a question that sounds the same is written
the same.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from data_synth.number_words import cardinal
from data_synth.world.exchange import Fill, Skill, World, framed, read

_LARGEST = 100  # of the numbers that are counted, added and compared
_OPERATORS = ("加", "加", "减", "减", "乘")  # sums and differences are twice as many as products
_TWO = "两"  # two of something; the number itself is 二


def facts() -> dict[str, Any]:
    """Return the facts, wordings and words of ``zh.yaml``."""
    return read("zh.yaml")


def number(value: int) -> str:
    """Write a number in characters: 112 is 一百一十二."""
    return cardinal(str(value), "zh")


def quantity(count: int, unit: str) -> str:
    """Write so many of a unit: two, two hundred and two thousand of them begin with 两."""
    words = number(count)
    if count == 2 or words.startswith(("二百", "二千")):
        words = _TWO + words[1:]
    return words + unit


def all_wordings(skill: str) -> tuple[str, ...]:
    """Return every wording of a skill.

    Raises:
        KeyError: If there is no such skill.
    """
    return tuple(_answers(skill))


def all_follow_ups(skill: str) -> tuple[str, ...]:
    """Return every wording that may follow a question of a skill; none if nothing may."""
    return tuple(_answers(skill, follow_up=True))


def follow_ups() -> dict[str, Fill]:
    """Return how second questions (那日本呢？) are filled, by the skill of the first."""
    return {name: partial(_fill, name, True) for name in SKILLS if all_follow_ups(name)}


@cache
def memory() -> dict[str, dict[str, Any]]:
    """Return what may be told and asked for later, by what it is.

    Each has ``values``, the wordings ``tell`` (without a full stop) and ``ask``, and the replies
    ``told``, ``answer`` and ``unknown``; ``{value}`` is open.
    """
    return {
        name: {
            **thing,
            "values": thing["values"].split(),
            "tell": framed(facts()["frames"], {"tells": thing["tell"]}),
            "ask": framed(facts()["frames"], {"questions": thing["ask"]}),
        }
        for name, thing in facts()["memory"].items()
    }


def finish(question: str) -> str:
    """Write a question as a sentence: with a question mark if nothing ends it."""
    return question if question.endswith(("。", "？")) else f"{question}？"


def sentence(rng: random.Random) -> str:
    """Draw a plain sentence for reading aloud."""
    listed = facts()["sentences"]
    return _phrase(rng, [*listed["short"], *listed["long"]]) + "。"


def letters(text: str) -> str:
    """Leave out the punctuation, as a listener does."""
    return re.sub(r"[，。？]", "", text)


@cache
def _answers(skill: str, *, follow_up: bool = False) -> dict[str, str]:
    """Map each wording of a skill to its answer, with the slots of both open."""
    frames = facts()["frames"]
    found: dict[str, str] = {}
    for part in facts()["skills"][skill]:
        cores = {kind: listed for kind, listed in part.items() if kind != "answer"}
        second = cores.pop("follow_ups", ())
        wordings = framed(frames, {"follow_ups": second} if follow_up else cores)
        answer: str = part["answer"]
        found |= dict.fromkeys(wordings, answer)
    return found


def _fill(skill: str, follow_up: bool, rng: random.Random, wording: str) -> tuple[str, str]:
    slots = _SLOTS[skill](rng)
    answer = _answers(skill, follow_up=follow_up)[wording]
    return wording.format_map(slots), answer.format_map(slots)


def _nothing(rng: random.Random) -> dict[str, str]:
    del rng
    return {}


def _sum(rng: random.Random) -> dict[str, str]:
    operator = rng.choice(_OPERATORS)
    if operator == "乘":
        a, b = rng.randint(1, 10), rng.randint(1, 10)
        result = a * b
    elif operator == "加":
        a = rng.randint(0, _LARGEST)
        b = rng.randint(0, _LARGEST - a)
        result = a + b
    else:
        a = rng.randint(0, _LARGEST)
        b = rng.randint(0, a)
        result = a - b
    return {"sum": f"{number(a)}{operator}{number(b)}", "result": number(result)}


def _division(rng: random.Random) -> dict[str, str]:
    divisor, quotient = rng.randint(1, 10), rng.randint(1, 10)
    return {
        "dividend": number(divisor * quotient),
        "divisor": number(divisor),
        "quotient": number(quotient),
    }


def _series(values: Sequence[int]) -> dict[str, str]:
    words = [number(value) for value in values]
    return {"first": words[0], "last": words[-1], "series": "，".join(words)}


def _run(rng: random.Random) -> range:
    """Draw numbers in a row: up to ten small ones or six large ones, which take as long to say."""
    first = rng.randint(0, _LARGEST - 5)
    if rng.random() < 0.5:
        first = rng.randint(0, 10)
    return range(first, first + rng.randint(3, 10 if first <= 5 else 6))


def _counting(rng: random.Random) -> dict[str, str]:
    return _series(_run(rng))


def _backwards(rng: random.Random) -> dict[str, str]:
    return _series(_run(rng)[::-1])


def _steps(rng: random.Random) -> dict[str, str]:
    step = rng.choice((2, 3, 5, 10))
    last = rng.randint(4, _LARGEST // step)  # in steps
    first = rng.randint(max(1, last - 5), last - 2)
    slots = _series(range(first * step, last * step + 1, step))
    return {**slots, "step": number(step), "by": quantity(step, "个") * 2}


def _doubles(rng: random.Random) -> dict[str, str]:
    value = rng.randint(1, _LARGEST // 2)
    return {"number": number(value), "double": number(2 * value)}


def _neighbours(rng: random.Random) -> dict[str, str]:
    value = rng.randint(1, _LARGEST - 1)
    return {"before": number(value - 1), "number": number(value), "after": number(value + 1)}


def _parity(rng: random.Random) -> dict[str, str]:
    value = rng.randint(1, _LARGEST)
    return {"number": number(value), "parity": "单数" if value % 2 else "双数"}


def _comparison(rng: random.Random) -> dict[str, str]:
    a, b = rng.sample(range(_LARGEST + 1), 2)
    high, low = number(max(a, b)), number(min(a, b))
    return {"a": number(a), "b": number(b), "high": high, "low": low}


def _sizes(rng: random.Random) -> dict[str, str]:
    ordered = facts()["sizes"]
    small, large = (
        rng.choice(ordered[place].split()) for place in sorted(rng.sample(range(len(ordered)), 2))
    )
    one, other = rng.sample((small, large), 2)
    return {"one": one, "other": other, "small": small, "large": large}


def _conversion(rng: random.Random) -> dict[str, str]:
    larger, smaller, times, most = rng.choice(facts()["units"])
    count = rng.randint(1, most)
    sides = (larger, quantity(count, larger)), (smaller, quantity(count * times, smaller))
    (_, amount), (unit, converted) = rng.sample(sides, 2)
    return {"amount": amount, "unit": unit, "converted": converted}


def _digits(rng: random.Random) -> dict[str, str]:
    return {"digits": "，".join(number(rng.randrange(10)) for _ in range(rng.randint(3, 6)))}


def _repeat(rng: random.Random) -> dict[str, str]:
    return {"phrase": _phrase(rng, facts()["sentences"]["short"])}


def _opposites(rng: random.Random) -> dict[str, str]:
    pair = rng.choice(facts()["opposites"].split()).split("=")
    word, opposite = rng.sample(pair, 2)
    return {"word": word, "opposite": opposite}


@cache
def _table(name: str) -> list[dict[str, str]]:
    """Return the rows of a table, each as its two columns."""
    table = facts()["tables"][name]
    shared, single = table["columns"].split()
    rows = [row.split() for row in table["rows"].splitlines()]
    return [{shared: row[0], single: each} for row in rows for each in row[1:]]


def _rows(names: str, rng: random.Random) -> dict[str, str]:
    """Draw a row of each of some tables."""
    return {k: v for name in names.split() for k, v in rng.choice(_table(name)).items()}


def _cycle(name: str, rng: random.Random) -> dict[str, str]:
    """Draw a word that comes again and again, and those around it."""
    words = facts()["cycles"][name].split()
    place = rng.randrange(len(words))
    return {
        f"before_{name}": words[place - 1],
        name: words[place],
        f"after_{name}": words[(place + 1) % len(words)],
    }


def _seasons(rng: random.Random) -> dict[str, str]:
    return {**_cycle("season", rng), **_rows("seasons", rng)}


def _refusal(rng: random.Random) -> dict[str, str]:
    return {name: rng.choice(memory()[name]["values"]) for name in ("name", "city")}


def _phrase(rng: random.Random, patterns: Sequence[str]) -> str:
    words = facts()["sentences"]["words"]
    pattern = rng.choice(patterns)
    drawn: dict[str, str] = {}
    for slot in re.findall(r"{(\w+)}", pattern):
        free = [word for word in words[slot.rstrip("2")].split() if word not in drawn.values()]
        drawn[slot] = rng.choice(free)
    return pattern.format_map(drawn)


_SLOTS: Mapping[str, Callable[[random.Random], dict[str, str]]] = {
    "greeting": _nothing,
    "identity": _nothing,
    "arithmetic": _sum,
    "division": _division,
    "counting": _counting,
    "steps": _steps,
    "backwards": _backwards,
    "doubles": _doubles,
    "neighbours": _neighbours,
    "parity": _parity,
    "comparison": _comparison,
    "smaller": _comparison,
    "sizes": _sizes,
    "conversion": _conversion,
    "digits": _digits,
    "repeat": _repeat,
    "capitals": partial(_rows, "countries"),
    "countries": partial(_rows, "countries"),
    "continents": partial(_rows, "continents"),
    "opposites": _opposites,
    "colours": partial(_rows, "colours"),
    "animals": partial(_rows, "callers dwellers eaters walkers"),
    "measure_words": partial(_rows, "measure_words"),
    "days": partial(_cycle, "day"),
    "months": partial(_cycle, "month"),
    "seasons": _seasons,
    "zodiac": partial(_cycle, "sign"),
    "characters": partial(_rows, "characters"),
    "festivals": partial(_rows, "festivals"),
    "family": partial(_rows, "family"),
    "poems": partial(_rows, "poems"),
    "refusal": _refusal,
}

SKILLS: dict[str, Fill] = {name: partial(_fill, name, False) for name in _SLOTS}
"""Questions that stand alone, by the name of the skill."""


def world() -> World:
    """Return the world in Chinese."""
    return World(
        language="zh",
        skills={name: Skill(partial(all_wordings, name), fill) for name, fill in SKILLS.items()},
        follow_ups={
            name: Skill(partial(all_follow_ups, name), fill) for name, fill in follow_ups().items()
        },
        memory=memory(),
        sentence=sentence,
        finish=finish,
        full_stop="。",
    )
