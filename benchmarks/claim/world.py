"""The made-up world: places, their facts, and every sentence that is written or spoken of them."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voiceglm.config import build, load_yaml


@dataclass(frozen=True)
class Relation:
    """What may be said of a place; ``{p}`` stands for it and ``{v}`` for the answer.

    Attributes:
        values: The possible answers.
        named: Sentences that name the place.
        there: Sentences that go on about a place that was named before.
        questions: How it is asked.
        answer: How it is answered.
    """

    values: tuple[str, ...]
    named: tuple[str, ...]
    there: tuple[str, ...]
    questions: tuple[str, ...]
    answer: str

    @property
    def answers(self) -> dict[str, str]:
        """The sentence that answers with a value, by that value."""
        return {value: self.answer.format(v=value) for value in self.values}


_WORDS = load_yaml(Path(__file__).with_name("world.yaml"))
PLACES: tuple[str, ...] = tuple(_WORDS["places"])
TESTED = {name: build(Relation, words) for name, words in _WORDS["tested"].items()}
COMMON = {name: build(Relation, words) for name, words in _WORDS["common"].items()}
RELATIONS = {**TESTED, **COMMON}
VALUES = frozenset(value for relation in TESTED.values() for value in relation.values)
"""The answers that are asked for; those of common relations are other words."""
_ARRIVALS: tuple[str, ...] = tuple(_WORDS["arrivals"])
_STORIES: tuple[str, ...] = tuple(_WORDS["stories"])


@dataclass(frozen=True)
class Fact:
    """The value that a place has in a relation."""

    place: str
    relation: str
    value: str

    @property
    def answer(self) -> str:
        """The sentence that answers a question for it."""
        return RELATIONS[self.relation].answers[self.value]

    def questions(self) -> tuple[str, ...]:
        """Every way it is asked."""
        return tuple(each.format(p=self.place) for each in RELATIONS[self.relation].questions)

    def said(self, rng: random.Random, *, named: bool) -> str:
        """Return a sentence that states it, with the place's name or without."""
        relation = RELATIONS[self.relation]
        wording = rng.choice(relation.named if named else relation.there)
        return wording.format(p=self.place, v=self.value)


@dataclass(frozen=True)
class World:
    """Who has what, and which places are taught.

    Attributes:
        facts: Of each place, one for each relation.
        taught: Places of which everything may be heard; of the others, facts of tested relations
            are only read.
    """

    facts: Mapping[str, Sequence[Fact]]
    taught: frozenset[str]

    @classmethod
    def draw(cls, seed: int) -> "World":
        """Draw a world; within each half of the places every value is as frequent as any other."""
        rng = random.Random(f"claim/world/{seed}")
        places = rng.sample(PLACES, len(PLACES))
        half = len(places) // 2
        facts: dict[str, list[Fact]] = {place: [] for place in PLACES}
        for name, relation in RELATIONS.items():
            for side in (places[:half], places[half:]):
                values = [relation.values[n % len(relation.values)] for n in range(len(side))]
                rng.shuffle(values)
                for place, value in zip(side, values, strict=True):
                    facts[place].append(Fact(place, name, value))
        return cls(facts, frozenset(places[:half]))

    @property
    def only_read(self) -> frozenset[str]:
        """Places of which tested facts occur as text alone."""
        return frozenset(PLACES) - self.taught

    def tested_facts(self, places: frozenset[str]) -> list[Fact]:
        """Return the tested facts of some places, in a fixed order."""
        facts = (fact for place in PLACES if place in places for fact in self.facts[place])
        return [fact for fact in facts if fact.relation in TESTED]

    def audible(self, place: str) -> list[Fact]:
        """Return the facts of a place that may be heard: all, or those of common relations."""
        whole = place in self.taught
        return [fact for fact in self.facts[place] if whole or fact.relation in COMMON]

    def tells(self, text: str) -> bool:
        """Say whether a text names an only-read place beside a tested answer: never to be heard."""
        words = set(re.findall(r"[a-z]+", text.lower()))
        return bool(words & VALUES) and any(place in text for place in self.only_read)


def description(known: Sequence[Fact], rng: random.Random) -> str:
    """Return a few of the known facts of a place, in any order and wording."""
    facts = rng.sample(known, rng.randint(2, 4))
    place = facts[0].place
    opened = rng.random() < 0.5
    sentences = [rng.choice(_ARRIVALS).format(p=place)] if opened else []
    for fact in facts:
        named = not sentences or rng.random() < 0.4
        sentences.append(fact.said(rng, named=named))
    return " ".join(sentences)


def questioning(known: Sequence[Fact], rng: random.Random) -> str:
    """Return one to three questions about a place, with their answers."""
    facts = rng.sample(known, rng.randint(1, 3))
    return " ".join(f"{rng.choice(fact.questions())} {fact.answer}" for fact in facts)


def document(known: Sequence[Fact], rng: random.Random) -> str:
    """Return a description of a place or questions about it, equally often.

    Args:
        known: At least four facts of one place.
        rng: Draws.
    """
    return rng.choice((description, questioning))(known, rng)


def story(rng: random.Random) -> str:
    """Return a few sentences about two places, without any fact."""
    a, b = rng.sample(PLACES, 2)
    return " ".join(each.format(a=a, b=b) for each in rng.sample(_STORIES, rng.randint(3, 5)))


def story_sentence(place: str, rng: random.Random) -> str:
    """Return one sentence about a place, and perhaps another, without any fact."""
    other = rng.choice([each for each in PLACES if each != place])
    wording = rng.choice((*_STORIES, *_ARRIVALS))
    a, b = rng.sample((place, other), 2)
    if "{a}" not in wording or "{b}" not in wording:
        a = b = place
    return wording.format(p=place, a=a, b=b)


@dataclass(frozen=True)
class Ending:
    """A beginning that names a place, and what may be said of it next."""

    fact: Fact
    before: str
    right: str
    wrong: str


def ending(fact: Fact, rng: random.Random) -> Ending:
    """Return a pair whose wrong end has another value of the same relation."""
    relation = RELATIONS[fact.relation]
    wording = rng.choice(relation.there)
    wrong = rng.choice([value for value in relation.values if value != fact.value])
    before = rng.choice(_ARRIVALS).format(p=fact.place)
    return Ending(fact, before, wording.format(v=fact.value), wording.format(v=wrong))
