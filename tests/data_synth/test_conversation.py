"""Conversations of the nano world: what refers to an earlier turn is answered from it."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from data_synth import corpus
from data_synth.tts import ASSISTANT, ASSISTANTS, TONES, in_accent, in_tone
from data_synth.world import (
    LANGUAGES,
    Language,
    Turn,
    is_held_out,
    of_side,
    sample_conversation,
    wishes,
    world,
)
from data_synth.world.conversation import TURNS
from voiceglm.style import Style

DRAWS = 400


def talks(language: Language, split: str = "train", turns: int = 0) -> list[list[Turn]]:
    rng = random.Random(f"{language}/{split}")
    side = "train" if split == "train" else "test"
    return [sample_conversation(rng, side, language, turns) for _ in range(DRAWS)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_told_is_remembered_and_what_was_not_is_not_made_up(language: Language) -> None:
    memory = world(language).memory
    seen: Counter[str] = Counter()
    for talk in talks(language, turns=6):
        told: dict[str, str] = {}
        for turn in talk:
            exchange = turn.exchange
            if exchange.language != language:
                continue
            for name, thing in memory.items():
                if exchange.wording in thing["tell"]:
                    (value,) = (
                        value
                        for value in thing["values"]
                        if exchange.wording.format(value=value) + world(language).full_stop
                        == exchange.question
                        or exchange.question.lower()
                        == (exchange.wording.format(value=value) + ".").lower()
                    )
                    told[name] = value
                    assert exchange.answer == thing["told"].format(value=value)
                if exchange.wording in thing["ask"]:
                    seen[f"{name} {name in told}"] += 1
                    expected = thing["answer"].format(value=told.get(name))
                    assert exchange.answer == (expected if name in told else thing["unknown"])
    assert len(seen) == 2 * len(memory), "each is asked for, told or not"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_follow_up_comes_only_after_its_own_skill(language: Language) -> None:
    known = world(language)
    found = 0
    for talk in talks(language):
        for before, turn in pairwise(talk):
            exchange = turn.exchange
            skill = known.follow_ups.get(exchange.skill)
            own = known.skills[exchange.skill].wordings() if skill else ()
            if skill and exchange.wording in skill.wordings() and exchange.wording not in own:
                assert before.exchange.skill == exchange.skill
                found += 1
    assert found > 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_style_is_kept_until_another_is_asked_for(language: Language) -> None:
    kept = 0
    by_wording = {w: name for name, each in wishes().items() for w in each[language]["wordings"]}
    for talk in talks(language, turns=5):
        style = Style()
        for turn in talk:
            if turn.exchange.language != language:
                continue
            if turn.exchange.skill == "style":
                style = style.changed(by_wording[turn.exchange.wording])
            elif style != Style():
                kept += 1
            if all(each.exchange.language == language for each in talk):
                assert turn.style == style.names()
    assert kept > 50


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_evaluation_says_is_not_trained_on(language: Language) -> None:
    trained, tested = (
        {(t.exchange.skill, t.exchange.wording) for talk in talks(language, side) for t in talk}
        for side in ("train", "test")
    )
    assert not trained & tested


def test_a_short_list_keeps_one_wording_back() -> None:
    none_held_out = [w for w in map(str, range(40)) if not is_held_out(w)][:4]
    train, test = (of_side(none_held_out, side) for side in ("train", "test"))
    assert len(test) == 1
    assert sorted(train + test) == sorted(none_held_out)


def test_most_conversations_are_short() -> None:
    lengths = Counter(len(talk) for talk in talks("en"))
    assert set(lengths) == set(TURNS)
    assert lengths[1] == max(lengths.values())


def test_a_user_speaks_with_one_voice_and_every_line_knows_its_place() -> None:
    rng = random.Random(0)
    for talk in corpus.conversations(rng, "train", "zh", 50):
        assert len({line.voice for line in talk if line.language == "zh"}) <= 1
        assert [line.extra["turn"] for line in talk] == list(range(len(talk)))
        assert len({line.extra["dialogue"] for line in talk}) == 1


def test_the_assistant_reads_a_dialect_only_in_its_language() -> None:
    style = ("cantonese", "fast_1")
    assert corpus.answered("好。", "zh", style).voice.name.startswith("yue+")
    assert corpus.answered("Yes.", "en", style).voice.name.startswith("en-us+")
    assert corpus.answered("Yes.", "en", ("scottish",)).voice.name.startswith("en-gb-scotland+")
    assert corpus.answered("好。", "zh").voice == in_accent(ASSISTANT, "zh")


@pytest.mark.parametrize("name", ASSISTANTS)
def test_a_tone_changes_no_pace(name: str) -> None:
    voice = ASSISTANTS[name]
    for tone in TONES:
        toned = in_tone(voice, tone)
        assert toned.rate == voice.rate
        assert toned != voice
