"""A style is a value: one name a part, in one order, changed by wishes."""

from dataclasses import replace

import pytest

from data_synth.world.conversation import wishes
from voiceglm.errors import ConfigError
from voiceglm.style import STYLE_NAMES, Style


def test_names_come_in_one_order_whatever_was_asked_first() -> None:
    style = Style.of(["loud", "whisper", "fast_2", "scottish"])
    assert style.names() == ("scottish", "fast_2", "whisper", "loud")
    assert Style.of(style.names()) == style
    assert [*STYLE_NAMES].index("scottish") < [*STYLE_NAMES].index("fast_2")


def test_a_wish_replaces_its_own_part_and_no_other() -> None:
    style = Style.of(["slow_1", "sad"])
    assert style.changed("fast_3") == Style(rate="fast_3", tone="sad")
    assert style.changed("high") == Style(rate="slow_1", tone="high")


def test_wishes_lead_back() -> None:
    style = Style("british", "slow_1", "sad", "loud")
    assert style.changed("normal") == Style()
    assert style.changed("steady") == replace(style, rate="")
    assert style.changed("american") == style.changed("mandarin") == replace(style, accent="")


def test_what_a_decoder_needs_are_numbers() -> None:
    assert (Style().speed, Style().gain) == (1.0, 0.0)
    assert Style(rate="slow_3").speed < Style(rate="slow_1").speed < 1
    assert Style(rate="fast_3").speed > Style(rate="fast_1").speed > 1
    assert Style(volume="soft").gain < 0 < Style(volume="loud").gain


def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match=r"no style is called 'angry'; known: british, .*normal"):
        Style().changed("angry")
    with pytest.raises(ConfigError, match="'sad' is no rate of a style; known: slow_1, "):
        Style(rate="sad")


def test_every_wish_of_the_world_leads_to_a_style() -> None:
    reached = {name for wish in wishes() for name in Style().changed(wish).names()}
    assert reached == {*STYLE_NAMES}
    for wish, languages in wishes().items():
        assert [*languages] == ["en", "zh"]
        for said in languages.values():
            assert said["confirmation"], wish
            assert len({*said["wordings"]}) >= 8, wish


def test_no_wording_asks_for_two_styles() -> None:
    wordings = [
        wording
        for languages in wishes().values()
        for said in languages.values()
        for wording in said["wordings"]
    ]
    assert len({*wordings}) == len(wordings)
