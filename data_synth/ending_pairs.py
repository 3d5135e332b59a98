"""Pairs for speech language modelling by likelihood: a question with a right and a wrong ending.

Made of the nano world in the manner of spoken StoryCloze: both endings are well-formed sentences of
the world, and only one follows. A ``fact`` pair ends in another fact of the same kind ("The capital
of France is Lima."), a ``topic`` pair in the answer to another kind of question.
"""

import random
from dataclasses import dataclass
from typing import Literal

from data_synth.world import Exchange, Language, Split, sample_exchange, world

Kind = Literal["fact", "topic"]
FACTS: dict[Language, tuple[str, ...]] = {
    "en": ("capitals", "countries", "opposites", "colours", "arithmetic", "spelling"),
    "zh": ("capitals", "countries", "opposites", "colours", "doubles", "festivals"),
}
"""Skills whose answers say "... is ...", so that what comes after it can be exchanged."""

_VERBS: dict[Language, str] = {"en": " is ", "zh": "是"}


@dataclass(frozen=True)
class EndingPair:
    """A question and two answers."""

    kind: Kind
    skill: str
    question: str
    right: str
    wrong: str


def sample_pair(
    rng: random.Random, kind: Kind, split: Split = "test", language: Language = "en"
) -> EndingPair:
    """Draw a pair whose endings differ.

    Args:
        rng: Of every draw.
        kind: How the wrong ending is wrong.
        split: Which wordings ask.
        language: Of the question and both answers.
    """
    while True:
        skill = rng.choice(FACTS[language]) if kind == "fact" else None
        asked = sample_exchange(rng, split, skill, language)
        ending = _other_fact if kind == "fact" else _other_topic
        wrong = ending(rng, asked, split)
        if wrong != asked.answer:
            return EndingPair(kind, asked.skill, asked.question, asked.answer, wrong)


def _other_fact(rng: random.Random, asked: Exchange, split: Split) -> str:
    """Return the answer with the ending of another answer of the same skill."""
    other = sample_exchange(rng, split, asked.skill, asked.language).answer
    verb = _VERBS[asked.language]
    start, _, _ = asked.answer.rpartition(verb)
    _, _, ending = other.rpartition(verb)
    return f"{start}{verb}{ending}"


def _other_topic(rng: random.Random, asked: Exchange, split: Split) -> str:
    skill = rng.choice([name for name in world(asked.language).skills if name != asked.skill])
    return sample_exchange(rng, split, skill, asked.language).answer
