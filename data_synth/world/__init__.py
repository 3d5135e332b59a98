"""The nano world: what the bundled model is asked, and what it answers.

``exchange`` says what a question and a wording are, ``english`` and ``chinese`` how facts are put
into words, ``conversation`` how turns follow one another.
"""

import random
from collections.abc import Iterator
from functools import cache

from data_synth.world import chinese, english
from data_synth.world.conversation import Talk, Turn, wishes
from data_synth.world.exchange import (
    Exchange,
    Language,
    Split,
    World,
    is_held_out,
    of_side,
)

LANGUAGES: tuple[Language, ...] = ("en", "zh")
WEIGHTS = {"capitals": 2.0, "countries": 2.0, "repeat": 2.0, "spelling": 1.5, "arithmetic": 2.0}
"""How often a skill is drawn beside the others: those with many facts are drawn more often."""
NUMBERS = {
    "arithmetic": 6.0,
    "division": 1.0,
    "doubles": 1.0,
    "neighbours": 1.0,
    "parity": 1.0,
    "comparison": 1.0,
    "smaller": 1.0,
    "counting": 1.0,
    "steps": 1.0,
    "backwards": 1.0,
    "conversion": 1.0,
}
"""Skills that have more answers than can be spoken, and how often each is drawn in writing."""

__all__ = [
    "LANGUAGES",
    "NUMBERS",
    "Exchange",
    "Language",
    "Split",
    "Talk",
    "Turn",
    "World",
    "is_held_out",
    "sample_conversation",
    "sample_exchange",
    "sample_reckoning",
    "sample_sentence",
    "wishes",
    "wording_phrases",
    "wordings",
    "world",
]


@cache
def world(language: Language = "en") -> World:
    """Return the world in a language."""
    return chinese.world() if language == "zh" else english.world()


def wordings(skill: str, split: Split, language: Language = "en") -> list[str]:
    """Return the wordings of a skill that belong to one side of the split."""
    return of_side(world(language).skills[skill].wordings(), split)


def wording_phrases(language: Language = "en") -> Iterator[str]:
    """Give every wording of every skill once, for counting and checking."""
    for skill in world(language).skills.values():
        yield from skill.wordings()


def sample_exchange(
    rng: random.Random, split: Split, skill: str | None = None, language: Language = "en"
) -> Exchange:
    """Draw one exchange that stands alone; skills are equally likely unless one is named."""
    known = world(language)
    return known.draw(rng, split, skill or rng.choice(list(known.skills)))


def sample_reckoning(rng: random.Random, split: Split, language: Language = "en") -> Exchange:
    """Draw one exchange about numbers, sums more often than others."""
    known = {skill: weight for skill, weight in NUMBERS.items() if skill in world(language).skills}
    (skill,) = rng.choices(list(known), weights=list(known.values()))
    return sample_exchange(rng, split, skill, language)


def sample_conversation(
    rng: random.Random, split: Split, language: Language = "en", turns: int = 0
) -> list[Turn]:
    """Draw a conversation; of so many turns, or of one to six if 0."""
    worlds: dict[Language, World] = {each: world(each) for each in LANGUAGES}
    return Talk(worlds, split, WEIGHTS).conversation(rng, language, turns)


def sample_sentence(rng: random.Random, language: Language = "en") -> str:
    """Draw a plain sentence of the world's words, for reading aloud and for repeating."""
    return world(language).sentence(rng)
