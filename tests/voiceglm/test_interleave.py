"""Interleaving loses nothing, and what it makes is exactly what is legal."""

import doctest
import random

import pytest

from voiceglm import interleave as module
from voiceglm.errors import ConfigError
from voiceglm.interleave import (
    REPLY,
    SPEECH_ONLY,
    TEXT_ONLY,
    Kind,
    Layout,
    Position,
    interleave,
    keeps_ahead,
    split,
)

SPEECH_START = 1000


def reply(seed: int) -> tuple[list[int], list[int], Layout]:
    rng = random.Random(seed)
    layout = Layout(rng.randint(1, 13), rng.randint(1, 26))
    text = [rng.randrange(SPEECH_START) for _ in range(rng.randrange(60))]
    speech = [SPEECH_START + rng.randrange(500) for _ in range(rng.randrange(200))]
    return text, speech, layout


def kind(id_: int) -> Kind:
    return Kind.TEXT if id_ < SPEECH_START else Kind.SPEECH


def walk(ids: list[int], layout: Layout) -> Position:
    position = layout.start()
    for id_ in ids:
        position = position.step(kind(id_))
    return position


def test_examples_of_the_documentation() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("seed", range(50))
def test_split_undoes_interleave(seed: int) -> None:
    text, speech, layout = reply(seed)
    ids = interleave(text, speech, layout)
    assert split(ids, speech_start_id=SPEECH_START) == (text, speech)


@pytest.mark.parametrize("seed", range(50))
def test_every_reply_that_keeps_ahead_is_legal_and_no_other(seed: int) -> None:
    text, speech, layout = reply(seed)
    ids = interleave(text, speech, layout)
    if keeps_ahead(len(text), len(speech), layout):
        walk(ids, layout).step(Kind.STOP)
    else:
        with pytest.raises(ConfigError, match="a text id cannot stand here"):
            walk(ids, layout)


@pytest.mark.parametrize("seed", range(50))
def test_any_legal_walk_is_an_interleaving(seed: int) -> None:
    rng = random.Random(seed)
    position, ids = REPLY.start(), []
    for number in range(150):
        legal = position.legal() - {Kind.STOP}
        chosen = rng.choices([Kind.TEXT, Kind.SPEECH], [0.97, 0.03])[0]
        chosen = chosen if chosen in legal else Kind.SPEECH
        ids.append(number if chosen is Kind.TEXT else SPEECH_START + number)
        position = position.step(chosen)
    assert interleave(*split(ids, speech_start_id=SPEECH_START)) == ids


def test_thirteen_then_twenty_six() -> None:
    ids = interleave(range(31), range(SPEECH_START, SPEECH_START + 100))
    kinds = "".join(kind(i).name[0] for i in ids)
    assert kinds == "T" * 13 + "S" * 26 + "T" * 13 + "S" * 26 + "T" * 5 + "S" * 48


def test_text_that_ends_within_a_stretch_is_followed_by_speech_alone() -> None:
    position = walk([*range(13), *[SPEECH_START] * 26, 1, SPEECH_START], REPLY)
    assert position.text_ended
    assert position.legal() == {Kind.SPEECH, Kind.STOP}
    assert walk([SPEECH_START] * 100, position.layout).legal() == {Kind.SPEECH, Kind.STOP}


def test_text_that_fills_its_stretch_ends_one_stretch_later() -> None:
    full = walk([*range(13), *[SPEECH_START] * 26], REPLY)
    assert full.legal() == {Kind.TEXT, Kind.SPEECH, Kind.STOP}
    assert full.step(Kind.SPEECH).text_ended


def test_no_text_within_a_stretch_of_speech() -> None:
    assert walk([*range(13), SPEECH_START], REPLY).legal() == {Kind.SPEECH, Kind.STOP}


def test_layouts_of_one_kind() -> None:
    assert walk([1] * 99, TEXT_ONLY).legal() == {Kind.TEXT, Kind.STOP}
    assert walk([SPEECH_START] * 99, SPEECH_ONLY).legal() == {Kind.SPEECH, Kind.STOP}
    with pytest.raises(ConfigError):
        Layout(0, 0)
    with pytest.raises(ConfigError):
        Layout(-1, 3)


def test_a_position_is_a_value() -> None:
    before = REPLY.start()
    before.step(Kind.TEXT)
    assert before == REPLY.start()


def test_styles_open_a_spoken_reply_and_stand_nowhere_else() -> None:
    start = REPLY.start()
    assert Kind.STYLE in start.legal()
    styled = start.step(Kind.STYLE).step(Kind.STYLE)
    assert Kind.STYLE in styled.legal()
    for kind_ in (Kind.TEXT, Kind.SPEECH):
        assert Kind.STYLE not in styled.step(kind_).legal()
    for layout in (TEXT_ONLY, SPEECH_ONLY):
        assert Kind.STYLE not in layout.start().legal()
    second = walk([*range(13), *[SPEECH_START] * 26], REPLY)
    with pytest.raises(ConfigError, match="a style id cannot stand here"):
        second.step(Kind.STYLE)


def test_styles_take_the_room_of_text() -> None:
    position = REPLY.start().step(Kind.STYLE)
    for _ in range(12):
        position = position.step(Kind.TEXT)
    assert position.legal() == {Kind.SPEECH, Kind.STOP}
