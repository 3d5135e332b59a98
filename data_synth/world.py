"""The nano world: what the bundled model is asked, and what it answers.

Every question has exactly one right answer, so a reply can be marked by comparing text. A *wording*
is a question with its facts left open ("what is the capital of {country}"); about one in six is
held out from training by a fixed rule, so that evaluation asks in words never heard before.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

Split = Literal["train", "test"]

NUMBERS = (  # noqa: SIM905  a list of words reads better
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty"
).split()
HELD_OUT_SHARE = 6  # one wording in this many is kept for evaluation


@dataclass(frozen=True)
class Exchange:
    """One question and its only right answer."""

    question: str  # as it is spoken: no digits
    answer: str
    skill: str
    wording: str  # the question with its facts left open


@cache
def facts() -> dict[str, Any]:
    """Return the facts and word lists of ``world_en.yaml``."""
    text = files("data_synth").joinpath("world_en.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def wordings(skill: str, split: Split) -> list[str]:
    """Return the wordings of a skill that belong to one side of the split."""
    return [w for w in _all_wordings(skill) if is_held_out(w) == (split == "test")]


def is_held_out(wording: str) -> bool:
    """Say whether a wording is kept for evaluation: a fixed rule on its letters."""
    return hashlib.sha256(wording.encode()).digest()[0] % HELD_OUT_SHARE == 0


def sample_exchange(rng: random.Random, split: Split, skill: str | None = None) -> Exchange:
    """Draw one exchange; skills are equally likely unless one is named."""
    skill = skill or rng.choice(list(SKILLS))
    wording = rng.choice(wordings(skill, split))
    question, answer = SKILLS[skill](rng, wording)
    return Exchange(_sentence(question), answer, skill, wording)


def sample_sentence(rng: random.Random) -> str:
    """Draw a plain sentence of the world's words, for reading aloud and for repeating."""
    return _capital(rng.choice(_SENTENCES)(rng)) + "."


def wording_phrases() -> Iterator[str]:
    """Give every wording of every skill once, for counting and checking."""
    for skill in SKILLS:
        yield from _all_wordings(skill)


# How a question is put. "{q}" is a whole question, "{n}" a noun phrase asked for.
_QUESTION_FRAMES = (
    "{q}",
    "please tell me, {q}",
    "tell me, {q}",
    "hey, {q}",
    "okay, {q}",
    "excuse me, {q}",
    "quick question, {q}",
    "I have a question, {q}",
    "can you tell me, {q}",
    "I wonder, {q}",
    "do you know, {q}",
    "{q}, please",
)
_NOUN_FRAMES = (
    "what is {n}",
    "what's {n}",
    "tell me {n}",
    "please tell me {n}",
    "can you tell me {n}",
    "could you tell me {n}",
    "do you know {n}",
    "give me {n}",
    "please give me {n}",
    "I would like to know {n}",
    "I want to know {n}",
    "say {n}, please",
    "hey, what is {n}",
    "so what is {n}",
)
_REQUEST_FRAMES = (
    "{r}",
    "please {r}",
    "can you {r}",
    "could you {r}",
    "could you please {r}",
    "I want you to {r}",
    "now {r}",
    "hey, {r}",
    "{r}, please",
    "would you {r}",
    "let me hear you {r}",
)

# Per skill: questions, noun phrases and requests that the frames above are put around, and
# whole phrases that stand alone.
_CORES: dict[str, dict[str, tuple[str, ...]]] = {
    "greeting": {
        "whole": tuple(
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
    },
    "identity": {
        "questions": (
            "who are you",
            "what is your name",
            "what are you called",
            "who made you",
            "who built you",
            "are you a robot",
            "are you a human",
            "are you a person",
            "what can you do",
            "what can you help me with",
            "how old are you",
            "where do you live",
        ),
    },
    "arithmetic": {
        "questions": (
            "what is {a} {op} {b}",
            "how much is {a} {op} {b}",
            "what does {a} {op} {b} make",
            "what do you get for {a} {op} {b}",
        ),
        "nouns": ("{a} {op} {b}", "the result of {a} {op} {b}", "the answer to {a} {op} {b}"),
        "requests": ("calculate {a} {op} {b}", "compute {a} {op} {b}", "work out {a} {op} {b}"),
    },
    "capitals": {
        "questions": (
            "which city is the capital of {country}",
            "what city is the capital of {country}",
            "what is the capital of {country}",
            "what is {country}'s capital",
        ),
        "nouns": (
            "the capital of {country}",
            "the capital city of {country}",
            "the name of the capital of {country}",
        ),
        "requests": ("name the capital of {country}", "name the capital city of {country}"),
    },
    "countries": {
        "questions": (
            "{city} is the capital of which country",
            "which country has the capital {city}",
            "what country is {city} the capital of",
            "in which country is {city}",
            "where is {city}",
        ),
        "nouns": ("the country whose capital is {city}",),
    },
    "opposites": {
        "questions": (
            "what is the opposite of {word}",
            "what means the opposite of {word}",
            "which word is the opposite of {word}",
        ),
        "nouns": ("the opposite of {word}", "a word that is the opposite of {word}"),
        "requests": ("name the opposite of {word}",),
    },
    "counting": {
        "requests": (
            "count from {first} to {last}",
            "count up from {first} to {last}",
            "say the numbers from {first} to {last}",
            "start at {first} and count to {last}",
        ),
        "nouns": ("the numbers from {first} to {last}", "all numbers from {first} to {last}"),
    },
    "spelling": {
        "questions": (
            "how do you spell {word}",
            "how is {word} spelled",
            "how do I spell {word}",
            "how do you write {word}",
        ),
        "nouns": ("the spelling of {word}", "the letters of {word}"),
        "requests": ("spell {word}", "spell the word {word}"),
    },
    "colours": {
        "questions": (
            "what colour is {thing}",
            "which colour is {thing}",
            "what is the colour of {thing}",
            "which colour does {thing} have",
        ),
        "nouns": ("the colour of {thing}",),
        "requests": ("name the colour of {thing}",),
    },
    "days": {
        "questions": (
            "what day comes after {day}",
            "which day comes after {day}",
            "what day follows {day}",
            "what is the day after {day}",
        ),
        "nouns": ("the day after {day}", "the day that follows {day}"),
    },
    "comparison": {
        "questions": (
            "which is bigger, {a} or {b}",
            "what is bigger, {a} or {b}",
            "which number is bigger, {a} or {b}",
            "which is larger, {a} or {b}",
            "what is more, {a} or {b}",
        ),
        "nouns": ("the bigger number, {a} or {b}", "the larger number, {a} or {b}"),
    },
    "repeat": {
        "requests": (
            "repeat after me: {phrase}",
            "repeat: {phrase}",
            "say after me: {phrase}",
            "repeat this: {phrase}",
            "repeat the sentence: {phrase}",
            "say this: {phrase}",
            "repeat what I say: {phrase}",
        ),
    },
}


@cache
def _all_wordings(skill: str) -> tuple[str, ...]:
    cores = _CORES[skill]
    found = list(cores.get("whole", ()))
    found += [f.format(q=c) for c in cores.get("questions", ()) for f in _QUESTION_FRAMES]
    found += [f.format(n=c) for c in cores.get("nouns", ()) for f in _NOUN_FRAMES]
    found += [f.format(r=c) for c in cores.get("requests", ()) for f in _REQUEST_FRAMES]
    return tuple(dict.fromkeys(found))  # two frames can make the same words


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
    operator = rng.choice(("plus", "minus", "times"))
    if operator == "plus":
        a = rng.randint(0, 20)
        b = rng.randint(0, 20 - a)
        result = a + b
    elif operator == "minus":
        a = rng.randint(0, 20)
        b = rng.randint(0, a)
        result = a - b
    else:
        a = rng.randint(1, 10)
        b = rng.randint(1, 20 // a)
        result = a * b
    sum_in_words = f"{NUMBERS[a]} {operator} {NUMBERS[b]}"
    question = wording.format(a=NUMBERS[a], op=operator, b=NUMBERS[b])
    return question, f"{_capital(sum_in_words)} is {NUMBERS[result]}."


def _capitals(rng: random.Random, wording: str) -> tuple[str, str]:
    country, city = rng.choice(list(facts()["capitals"].items()))
    return wording.format(country=country), f"The capital of {country} is {city}."


def _countries(rng: random.Random, wording: str) -> tuple[str, str]:
    country, city = rng.choice(list(facts()["capitals"].items()))
    return wording.format(city=city), f"{city} is the capital of {country}."


def _opposites(rng: random.Random, wording: str) -> tuple[str, str]:
    word, opposite = rng.sample(rng.choice(facts()["opposites"]), 2)
    return wording.format(word=word), f"The opposite of {word} is {opposite}."


def _counting(rng: random.Random, wording: str) -> tuple[str, str]:
    first = rng.randint(0, 18)
    last = rng.randint(first + 2, min(20, first + 9))
    question = wording.format(first=NUMBERS[first], last=NUMBERS[last])
    return question, _capital(", ".join(NUMBERS[first : last + 1])) + "."


def _spelling(rng: random.Random, wording: str) -> tuple[str, str]:
    word = rng.choice(facts()["spelled"].split())
    letters = ", ".join(word.upper())
    return wording.format(word=word), f"{_capital(word)} is spelled {letters}."


def _colours(rng: random.Random, wording: str) -> tuple[str, str]:
    thing, colour = rng.choice(list(facts()["colours"].items()))
    return wording.format(thing=thing), f"{_capital(thing)} is {colour}."


def _days(rng: random.Random, wording: str) -> tuple[str, str]:
    days = facts()["days"]
    number = rng.randrange(7)
    return wording.format(day=days[number]), f"{days[(number + 1) % 7]} comes after {days[number]}."


def _comparison(rng: random.Random, wording: str) -> tuple[str, str]:
    a, b = rng.sample(range(21), 2)
    high, low = NUMBERS[max(a, b)], NUMBERS[min(a, b)]
    return wording.format(a=NUMBERS[a], b=NUMBERS[b]), f"{_capital(high)} is bigger than {low}."


def _repeat(rng: random.Random, wording: str) -> tuple[str, str]:
    phrase = _capital(rng.choice(_SHORT_SENTENCES)(rng))
    sentence = f"{phrase}."
    if not phrase.startswith(tuple(facts()["names"].split())):
        phrase = phrase[0].lower() + phrase[1:]
    return wording.format(phrase=phrase), sentence


SKILLS: dict[str, Callable[[random.Random, str], tuple[str, str]]] = {
    "greeting": _greeting,
    "identity": _identity,
    "arithmetic": _arithmetic,
    "capitals": _capitals,
    "countries": _countries,
    "opposites": _opposites,
    "counting": _counting,
    "spelling": _spelling,
    "colours": _colours,
    "days": _days,
    "comparison": _comparison,
    "repeat": _repeat,
}
"""Each skill fills the slots of a wording: (rng, wording) -> (question, answer)."""


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


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _sentence(question: str) -> str:
    ends = question.endswith((".", "?", "!"))
    return _capital(question) + ("" if ends else "?")
