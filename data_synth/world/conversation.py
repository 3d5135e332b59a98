"""Conversations of several turns: what was told is asked for, questions refer back, styles last.

Every reply has one right text, and one style that it is to be spoken in: the one that was last
asked for, written as the names of its parts (``voiceglm.style``).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from data_synth.world.exchange import Exchange, Language, Split, World, of_side
from voiceglm.style import Style

TURNS = {1: 40, 2: 20, 3: 15, 4: 10, 5: 8, 6: 7}
"""How many turns a conversation has: that many, as often as this."""
_FOREIGN = {"en": ("cantonese", "mandarin"), "zh": ("british", "scottish", "american")}

_WISH, _TELL, _ASK = 0.10, 0.08, 0.05  # how often a turn is one, where nothing is pending
_RECALL = 0.45  # how often a turn asks for what was told before
_FOLLOW = 0.4
_SWITCH = 0.02  # how often a turn is in the other language


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation: what is asked, and how the reply is to sound."""

    exchange: Exchange
    style: tuple[str, ...] = ()


@dataclass
class _State:
    """What has been said so far."""

    known: dict[str, dict[str, str]] = field(default_factory=dict)  # by language
    asked: set[str] = field(default_factory=set)
    style: Style = field(default_factory=Style)
    last: Exchange | None = None


class Talk:
    """Draws conversations.

    Args:
        worlds: By language.
        split: Which wordings are used.
        weights: How often a skill is drawn beside the others, 1 for those not named.
    """

    def __init__(
        self,
        worlds: Mapping[Language, World],
        split: Split,
        weights: Mapping[str, float] | None = None,
    ):
        self._worlds = worlds
        self._split: Split = split
        self._weights = weights or {}

    def conversation(self, rng: random.Random, language: Language, turns: int = 0) -> list[Turn]:
        """Draw one.

        Args:
            rng: Of every draw.
            language: Of its first turn.
            turns: How many; 0: drawn, too.
        """
        count = turns or rng.choices(list(TURNS), list(TURNS.values()))[0]
        state = _State()
        return [self._turn(rng, language, state) for _ in range(count)]

    def _turn(self, rng: random.Random, language: Language, state: _State) -> Turn:
        if state.last is not None and rng.random() < _SWITCH:
            language = "zh" if language == "en" else "en"
        world = self._worlds[language]
        exchange = self._exchange(rng, world, state)
        state.last = exchange
        return Turn(exchange, state.style.names())

    def _exchange(self, rng: random.Random, world: World, state: _State) -> Exchange:
        known, last = state.known.setdefault(world.language, {}), state.last
        pending = [name for name in known if name not in state.asked]
        if pending and rng.random() < _RECALL:
            return self._ask(rng, world, state, rng.choice(pending))
        if self._may_follow(world, last) and rng.random() < _FOLLOW:
            assert last is not None, "only what was said can be followed up"
            return world.draw_follow_up(rng, self._split, last.skill)
        chance = rng.random()
        if chance < _WISH:
            return self._wish(rng, world, state)
        if chance < _WISH + _TELL and len(known) < len(world.memory):
            return self._tell(rng, world, known)
        if chance < _WISH + _TELL + _ASK:
            return self._ask(rng, world, state, rng.choice(list(world.memory)))
        names = list(world.skills)
        weights = [self._weights.get(name, 1.0) for name in names]
        return world.draw(rng, self._split, rng.choices(names, weights)[0])

    def _may_follow(self, world: World, last: Exchange | None) -> bool:
        follows = last is not None and last.skill in world.follow_ups
        return follows and last is not None and last.language == world.language

    def _tell(self, rng: random.Random, world: World, known: dict[str, str]) -> Exchange:
        name = rng.choice([name for name in world.memory if name not in known])
        thing = world.memory[name]
        value = rng.choice(thing["values"])
        known[name] = value
        wording = rng.choice(of_side(thing["tell"], self._split))
        told = wording.format(value=value) + world.full_stop
        return world.exchange(told, thing["told"].format(value=value), "tell", wording)

    def _ask(self, rng: random.Random, world: World, state: _State, name: str) -> Exchange:
        thing, known = world.memory[name], state.known[world.language]
        state.asked.add(name)
        wording = rng.choice(of_side(thing["ask"], self._split))
        if name in known:
            return world.exchange(
                wording, thing["answer"].format(value=known[name]), "memory", wording
            )
        return world.exchange(wording, thing["unknown"], "memory", wording)

    def _wish(self, rng: random.Random, world: World, state: _State) -> Exchange:
        foreign = _FOREIGN[world.language]
        names = [name for name in wishes() if name not in foreign or rng.random() < 0.1]
        name = rng.choice(names)
        wish = wishes()[name][world.language]
        wording = rng.choice(of_side(wish["wordings"], self._split))
        state.style = state.style.changed(name)
        return Exchange(wording, wish["confirmation"], "style", wording, world.language)


@cache
def wishes() -> dict[str, Any]:
    """Return every way to ask for a style, by its name and language."""
    text = files("data_synth").joinpath("style_wishes.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)
