"""What is asked and answered in the nano world, and which ways of asking are held out.

Every question has exactly one right answer, so a reply can be marked by comparing text. A *wording*
is a question with its facts left open ("what is the capital of {country}"); about one in six is
held out from training by a fixed rule, so that evaluation asks in words never heard before.
"""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from voiceglm.scripts import Language

Split = Literal["train", "test"]
HELD_OUT_SHARE = 6  # one wording in this many is kept for evaluation

Fill = Callable[[random.Random, str], tuple[str, str]]
"""Fills the slots of a wording: (rng, wording) -> (question, answer)."""


@dataclass(frozen=True)
class Exchange:
    """One question and its only right answer."""

    question: str  # as it is spoken: no digits
    answer: str
    skill: str
    wording: str  # the question with its facts left open
    language: Language = "en"


@dataclass(frozen=True)
class Skill:
    """One thing that can be asked for."""

    wordings: Callable[[], Sequence[str]]  # all of them
    fill: Fill


@dataclass(frozen=True)
class World:
    """What is known and asked in one language.

    Attributes:
        language: Which.
        skills: Questions that stand alone, by name.
        follow_ups: What is asked after a question of the skill of that name: "and of Japan".
        memory: Of each thing that a user may tell: ``values``, the wordings ``tell`` and ``ask``,
            and the replies ``told``, ``answer`` and ``unknown``.
        sentence: Draws a plain sentence, for reading aloud and for repeating.
        finish: Writes a question as a sentence.
        full_stop: What ends a statement.
    """

    language: Language
    skills: Mapping[str, Skill]
    follow_ups: Mapping[str, Skill]
    memory: Mapping[str, Mapping[str, Any]]
    sentence: Callable[[random.Random], str]
    finish: Callable[[str], str]
    full_stop: str

    def draw(self, rng: random.Random, split: Split, name: str) -> Exchange:
        """Draw an exchange of a skill."""
        return self._draw(rng, split, name, self.skills[name])

    def draw_follow_up(self, rng: random.Random, split: Split, name: str) -> Exchange:
        """Draw what may be asked after an exchange of a skill."""
        return self._draw(rng, split, name, self.follow_ups[name])

    def exchange(self, question: str, answer: str, skill: str, wording: str) -> Exchange:
        """Return an exchange whose question is yet to be written as a sentence."""
        return Exchange(self.finish(question), answer, skill, wording, self.language)

    def _draw(self, rng: random.Random, split: Split, name: str, skill: Skill) -> Exchange:
        wording = rng.choice(of_side(skill.wordings(), split))
        question, answer = skill.fill(rng, wording)
        return self.exchange(question, answer, name, wording)


def is_held_out(wording: str) -> bool:
    """Say whether a wording is kept for evaluation: a fixed rule on its letters."""
    return _place(wording) % HELD_OUT_SHARE == 0


def of_side(wordings: Sequence[str], split: Split) -> list[str]:
    """Return the wordings that belong to one side of the split.

    Of a short list, by whose letters none is held out, it is the one that the rule puts first.
    """
    return list(_sides(tuple(wordings))[split])


@cache
def _sides(wordings: tuple[str, ...]) -> Mapping[Split, Sequence[str]]:
    held_out = {each: None for each in wordings if is_held_out(each)}
    held_out = held_out or {min(wordings, key=_place): None}
    return {
        "train": [each for each in wordings if each not in held_out],
        "test": list(held_out),
    }


def _place(wording: str) -> int:
    return hashlib.sha256(wording.encode()).digest()[0]


@cache
def read(name: str) -> dict[str, Any]:
    """Return a file of this package."""
    text = files("data_synth.world").joinpath(name).read_text(encoding="utf-8")
    return yaml.safe_load(text)


def framed(frames: Mapping[str, Sequence[str]], cores: Mapping[str, Sequence[str]]) -> list[str]:
    """Return every wording of a skill: each core in each frame of its kind.

    Args:
        frames: By kind of core, with ``{core}`` open.
        cores: By the same kinds.
    """
    found = [
        frame.replace("{core}", core)
        for kind, listed in cores.items()
        for core in listed
        for frame in frames[kind]
    ]
    return list(dict.fromkeys(found))  # two frames can make the same words
