"""The nano world in English: how facts are put into questions and answers."""

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from data_synth.number_words import cardinal
from data_synth.world.exchange import Fill, Skill, World, framed, read

_GREETINGS = tuple(
    f"{a}{b}"
    for a in (
        "hello",
        "hi",
        "hey",
        "good morning",
        "good afternoon",
        "good evening",
        "good night",
        "goodbye",
        "bye",
        "see you later",
        "thank you",
        "thanks",
        "thanks a lot",
        "how are you",
        "how are you doing",
        "how do you feel",
        "nice to meet you",
    )
    for b in ("", " my friend", " computer", " again", " today", " there", " assistant")
)
_REFUSAL = "I am sorry, I do not know that."
_CANNOT = "I am sorry, I cannot do that."
_DIGITS = "zero one two three four five six seven eight nine".split()  # noqa: SIM905  reads better


def facts() -> dict[str, Any]:
    """Return the facts and word lists of ``en.yaml``."""
    return read("en.yaml")


def number(value: int) -> str:
    """Write a number in words, without hyphens."""
    return cardinal(str(value), "en").replace("-", " ")


def _greeting(rng: random.Random, wording: str) -> tuple[str, str]:
    del rng
    replies = {
        "good morning": "Good morning! How can I help you?",
        "good afternoon": "Good afternoon! How can I help you?",
        "good evening": "Good evening! How can I help you?",
        "good night": "Good night! Sleep well.",
        "goodbye": "Goodbye! See you soon.",
        "bye": "Goodbye! See you soon.",
        "see you later": "Goodbye! See you soon.",
        "thank": "You are welcome!",
        "how": "I am fine, thank you.",
        "nice": "Nice to meet you too!",
    }
    for start, reply in replies.items():
        if wording.startswith(start):
            return wording, reply
    return wording, "Hello! How can I help you?"


def _identity(rng: random.Random, wording: str) -> tuple[str, str]:
    del rng
    replies = (
        (("made", "built"), "I was made by the voice G L M project."),
        (("robot", "human", "person"), "I am a computer program that can talk."),
        (("can you do", "help me with"), "I can count, spell, add numbers and name capitals."),
        (("how old",), "I am very young."),
        (("live",), "I live in your computer."),
    )
    for keys, reply in replies:
        if any(key in wording for key in keys):
            return wording, reply
    return wording, "I am nano, a small voice assistant."


def _arithmetic(rng: random.Random, wording: str) -> tuple[str, str]:
    operator = rng.choice(("plus", "plus", "minus", "minus", "times", "divided by"))
    if operator == "plus":
        a = rng.randint(0, 100)
        b = rng.randint(0, 100 - a)
        result = a + b
    elif operator == "minus":
        a = rng.randint(0, 100)
        b = rng.randint(0, a)
        result = a - b
    else:
        b, result = rng.randint(1, 10), rng.randint(1, 10)
        a = b * result
        if operator == "times":
            a, b, result = b, result, a
    in_words = f"{number(a)} {operator} {number(b)}"
    return wording.format(sum=in_words), f"{capital(in_words)} is {number(result)}."


def _capitals(rng: random.Random, wording: str) -> tuple[str, str]:
    country, city = rng.choice(list(facts()["capitals"].items()))
    return wording.format(country=country), f"The capital of {country} is {city}."


def _countries(rng: random.Random, wording: str) -> tuple[str, str]:
    country, city = rng.choice(list(facts()["capitals"].items()))
    return wording.format(city=city), f"{city} is the capital of {country}."


def _continents(rng: random.Random, wording: str) -> tuple[str, str]:
    country, continent = rng.choice(list(facts()["continents"].items()))
    return wording.format(country=country), f"{country} is in {continent}."


def _paired(name: str, reply: str, rng: random.Random, wording: str) -> tuple[str, str]:
    """Ask for the other word of a pair."""
    word, other = rng.sample(rng.choice(facts()[name]), 2)
    return wording.format(word=word), capital(reply.format(word=word, other=other))


def _counting(rng: random.Random, wording: str) -> tuple[str, str]:
    first = rng.randint(0, 18) if rng.random() < 0.6 else rng.randint(19, 94)
    last = first + rng.randint(2, 6)
    return _listed(wording, range(first, last + 1))


def _backwards(rng: random.Random, wording: str) -> tuple[str, str]:
    first = rng.randint(2, 20) if rng.random() < 0.6 else rng.randint(21, 100)
    last = max(0, first - rng.randint(2, 6))
    return _listed(wording, range(first, last - 1, -1))


def _steps(rng: random.Random, wording: str) -> tuple[str, str]:
    step = rng.choice((2, 3, 5, 10))
    first = step * rng.randint(0, 100 // step - 6) if step < 10 else step * rng.randint(0, 5)
    last = first + step * rng.randint(2, 5)
    steps = {2: "twos", 3: "threes", 5: "fives", 10: "tens"}[step]
    return _listed(wording.replace("{steps}", steps), range(first, last + 1, step))


def _listed(wording: str, numbers: Sequence[int]) -> tuple[str, str]:
    said = [number(value) for value in numbers]
    question = wording.format(first=said[0], last=said[-1])
    return question, capital(", ".join(said)) + "."


def _spelling(rng: random.Random, wording: str) -> tuple[str, str]:
    word = rng.choice(facts()["spelled"].split())
    letters = ", ".join(word.upper())
    return wording.format(word=word), f"{capital(word)} is spelled {letters}."


def _initials(rng: random.Random, wording: str) -> tuple[str, str]:
    word = rng.choice(facts()["begins"].split())
    return wording.format(word=word), f"{capital(word)} begins with {word[0].upper()}."


def _colours(rng: random.Random, wording: str) -> tuple[str, str]:
    thing, colour = rng.choice(list(facts()["colours"].items()))
    return wording.format(thing=thing), f"{capital(thing)} is {colour}."


def _of_animal(name: str, reply: str, rng: random.Random, wording: str) -> tuple[str, str]:
    """Ask for the one thing that is known of an animal."""
    animal, known = rng.choice(list(facts()[name].items()))
    question = _with_articles(wording.format(animal=animal))
    return question, _with_articles(reply.format(animal=animal, known=known))


def _with_articles(text: str) -> str:
    """Write ``an`` before a vowel."""
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


def _next_to(name: str, slot: str, rng: random.Random, wording: str) -> tuple[str, str]:
    """Ask for what comes after, or before, in a round."""
    listed = facts()[name]
    place = rng.randrange(len(listed))
    side, step = rng.choice((("after", 1), ("after", 1), ("before", -1)))
    found = listed[(place + step) % len(listed)]
    question = wording.format(**{slot: listed[place]}, side=side)
    return question, f"{found} comes {side} {listed[place]}."


def _conversion(rng: random.Random, wording: str) -> tuple[str, str]:
    large, small, factor = rng.choice(facts()["conversions"])
    most = 9 if factor in (100, 1000) else {60: 10, 24: 4, 7: 12, 12: 8, 10: 10}[factor]
    count = rng.randint(1, most)
    units = large if count == 1 else facts()["numerous"][large]
    amount = f"{number(count)} {units}"
    verb = "is" if count == 1 else "are"
    answer = f"{capital(amount)} {verb} {number(count * factor)} {small}."
    return wording.format(small=small, amount=amount), answer


def _comparison(rng: random.Random, wording: str) -> tuple[str, str]:
    a, b = rng.sample(range(101), 2)
    high, low = number(max(a, b)), number(min(a, b))
    return wording.format(a=number(a), b=number(b)), f"{capital(high)} is bigger than {low}."


def _sizes(rng: random.Random, wording: str) -> tuple[str, str]:
    ordered = facts()["sizes"]
    a, b = rng.sample(range(len(ordered)), 2)
    than = rng.choice(("bigger", "smaller"))
    first, second = (a, b) if (a > b) == (than == "bigger") else (b, a)
    question = wording.format(than=than, a=f"a {ordered[a]}", b=f"a {ordered[b]}")
    answer = f"A {ordered[first]} is {than} than a {ordered[second]}."
    return _with_articles(question), _with_articles(answer)


def _repeat(rng: random.Random, wording: str) -> tuple[str, str]:
    phrase = capital(rng.choice(_SHORT_SENTENCES)(rng))
    sentence = f"{phrase}."
    if not phrase.startswith(tuple(facts()["names"].split())):
        phrase = phrase[0].lower() + phrase[1:]
    return wording.format(phrase=phrase), sentence


def _digits(rng: random.Random, wording: str) -> tuple[str, str]:
    said = ", ".join(rng.choice(_DIGITS) for _ in range(rng.randint(1, 6)))
    return wording.format(digits=said), f"{capital(said)}."


def _refusal(rng: random.Random, wording: str) -> tuple[str, str]:
    del rng
    requests = read("en_wordings.yaml")["skills"]["refusal"]["requests"]
    return wording, _CANNOT if any(each in wording for each in requests) else _REFUSAL


_FILLS: Mapping[str, Fill] = {
    "greeting": _greeting,
    "identity": _identity,
    "arithmetic": _arithmetic,
    "capitals": _capitals,
    "countries": _countries,
    "continents": _continents,
    "opposites": partial(_paired, "opposites", "the opposite of {word} is {other}."),
    "counting": _counting,
    "steps": _steps,
    "backwards": _backwards,
    "spelling": _spelling,
    "initials": _initials,
    "rhymes": partial(_paired, "rhymes", "{other} rhymes with {word}."),
    "colours": _colours,
    "young": partial(_of_animal, "young", "A young {animal} is called a {known}."),
    "sounds": partial(_of_animal, "sounds", "A {animal} {known}."),
    "kinds": partial(_of_animal, "kinds", "A {animal} is a {known}."),
    "days": partial(_next_to, "days", "day"),
    "months": partial(_next_to, "months", "month"),
    "conversion": _conversion,
    "comparison": _comparison,
    "sizes": _sizes,
    "repeat": _repeat,
    "digits": _digits,
    "refusal": _refusal,
}


@cache
def _wordings(skill: str) -> tuple[str, ...]:
    if skill == "greeting":
        return _GREETINGS
    listed = read("en_wordings.yaml")
    return tuple(framed(listed["frames"], listed["skills"][skill]))


def _follow_ups(skill: str) -> Sequence[str]:
    return read("en_wordings.yaml")["follow_ups"][skill]


def _memory() -> dict[str, dict[str, Any]]:
    wordings = read("en_wordings.yaml")["memory"]
    return {name: {**known, **wordings[name]} for name, known in facts()["memory"].items()}


def world() -> World:
    """Return the world in English."""
    names = read("en_wordings.yaml")["follow_ups"]
    return World(
        language="en",
        skills={name: Skill(partial(_wordings, name), fill) for name, fill in _FILLS.items()},
        follow_ups={name: Skill(partial(_follow_ups, name), _FILLS[name]) for name in names},
        memory=_memory(),
        sentence=lambda rng: capital(rng.choice(_SENTENCES)(rng)) + ".",
        finish=finish,
        full_stop=".",
    )


def _words(name: str) -> list[str]:
    listed = facts()[name]
    return [w.strip() for w in (listed.split("|") if "|" in listed else listed.split())]


def _who(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return rng.choice(_words("names"))
    adjective = f"{rng.choice(_words('adjectives'))} " if rng.random() < 0.5 else ""
    return f"the {adjective}{rng.choice(_words('nouns'))}"


def _transitive(rng: random.Random) -> str:
    sentence = f"{_who(rng)} {rng.choice(_words('verbs_past'))} {_who(rng)}"
    return sentence + (f" {rng.choice(_words('places'))}" if rng.random() < 0.3 else "")


def _intransitive(rng: random.Random) -> str:
    end = rng.choice(("adverbs", "times", "places"))
    return f"{_who(rng)} {rng.choice(_words('intransitive_past'))} {rng.choice(_words(end))}"


def _being(rng: random.Random) -> str:
    return f"{_who(rng)} is {rng.choice(_words('adjectives'))} {rng.choice(_words('times'))}"


_SHORT_SENTENCES = (_intransitive, _being)  # three to eight words, short enough to repeat
_SENTENCES = (_transitive, *_SHORT_SENTENCES)


def capital(text: str) -> str:
    """Write the first letter large."""
    return text[0].upper() + text[1:]


def finish(question: str) -> str:
    """Write a question as a sentence."""
    ends = question.endswith((".", "?", "!"))
    return capital(question) + ("" if ends else "?")
