"""Ids are arithmetic, and ranges never overlap."""

import json

import pytest
from tokenizers import Tokenizer

from voiceglm.errors import ConfigError
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.vocabulary import SPECIAL_NAMES, Vocabulary


def test_the_released_layout() -> None:
    vocabulary = Vocabulary.glm4voice()
    assert vocabulary.gmask == 151_331
    assert vocabulary.sop == 151_333
    assert vocabulary.user == 151_336
    assert (vocabulary.begin_of_audio, vocabulary.end_of_audio) == (151_343, 151_344)
    assert vocabulary.end_of_transcription == 151_346
    assert vocabulary.stop_ids == (151_329, 151_336, 151_338)
    assert vocabulary.speech_id(0) == 152_353
    assert vocabulary.code(168_736) == 16_383, "the last code has an id although it has no string"
    assert not vocabulary.is_speech(168_737)
    assert not vocabulary.is_text(151_329)


def test_compact_leaves_no_gap() -> None:
    vocabulary = Vocabulary.compact(300, 64, multiple=64)
    assert vocabulary.speech_start_id == 300 + len(SPECIAL_NAMES)
    assert vocabulary.size == 384
    assert vocabulary.is_text(299)
    assert not vocabulary.is_text(300)
    assert not vocabulary.is_speech(vocabulary.end_of_transcription)


def test_codes_and_ids_undo_each_other() -> None:
    vocabulary = Vocabulary.compact(300, 64)
    assert [vocabulary.code(vocabulary.speech_id(c)) for c in range(64)] == list(range(64))


def test_dict_round_trip() -> None:
    vocabulary = Vocabulary.compact(300, 64)
    assert Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary


@pytest.mark.parametrize("code", [-1, 64])
def test_a_code_out_of_range_is_named(code: int) -> None:
    with pytest.raises(ConfigError, match=rf"speech code {code} is outside 0\.\.63"):
        Vocabulary.compact(300, 64).speech_id(code)


@pytest.mark.parametrize("id_", [0, 317, 382])
def test_an_id_that_is_not_speech_is_named(id_: int) -> None:
    with pytest.raises(ConfigError, match=rf"id {id_} is not speech \(318\.\.381\)"):
        Vocabulary.compact(300, 64).code(id_)


def test_overlaps_are_refused() -> None:
    with pytest.raises(ConfigError, match="inside the text and special ids"):
        Vocabulary(text_size=300, num_codes=4, speech_start_id=310, size=400)
    with pytest.raises(ConfigError, match="past size 320"):
        Vocabulary(text_size=300, num_codes=4, speech_start_id=318, size=320)
    with pytest.raises(ConfigError, match="at least one"):
        Vocabulary(text_size=0, num_codes=4, speech_start_id=318, size=400)


def test_special_ids_may_lie_behind_the_rows_of_a_text_model() -> None:
    vocabulary = Vocabulary(100, 8, 138, 192, special_start_id=120)
    assert vocabulary.special_ids == range(120, 138)
    assert vocabulary.speech_ids == range(138, 146)
    assert not any(vocabulary.is_text(id_) for id_ in range(100, 192))
    assert Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary
    assert "special_start_id" not in Vocabulary.compact(100, 8).to_dict()
    with pytest.raises(ConfigError, match="special ids start at 99, inside the 100 text ids"):
        Vocabulary(100, 8, 138, 192, special_start_id=99)
    with pytest.raises(ConfigError, match="speech ids start at 130, inside"):
        Vocabulary(100, 8, 130, 192, special_start_id=120)


def test_a_digest_is_that_of_what_ids_mean() -> None:
    texts = [train_text_tokenizer([said] * 5, 300) for said in ("two plus two", "a green hill")]
    layouts = [Vocabulary.compact(300, 8), Vocabulary.compact(300, 9)]
    digests = {layout.digest(text) for layout in layouts for text in texts}
    assert len(digests) == 4
    again = Tokenizer.from_str(texts[0].to_str())
    assert layouts[0].digest(again) == layouts[0].digest(texts[0])


def test_styles_follow_the_special_ids() -> None:
    plain, styled = (Vocabulary.compact(300, 64, styles=names) for names in ((), ("low", "loud")))
    assert styled.special_ids == plain.special_ids
    assert styled.style_ids == range(318, 320)
    assert styled.speech_start_id == plain.speech_start_id + 2
    assert [styled.style_id(name) for name in ("low", "loud")] == [318, 319]
    assert [styled.style_name(id_) for id_ in styled.style_ids] == ["low", "loud"]
    kinds = (styled.is_text, styled.is_speech, styled.is_style)
    assert [sum(map(bool, (kind(id_) for kind in kinds))) for id_ in (299, 318, 320)] == [1, 1, 1]
    assert not styled.is_style(317)
    assert not styled.is_style(320)


def test_a_vocabulary_with_styles_is_read_back_and_one_without_is_as_it_was() -> None:
    text = train_text_tokenizer(["two plus two"] * 5, 300)
    plain, styled = (Vocabulary.compact(300, 8, styles=names) for names in ((), ("low",)))
    assert Vocabulary.from_dict(json.loads(json.dumps(styled.to_dict()))) == styled
    assert "styles" not in plain.to_dict()
    assert not plain.style_ids
    other = Vocabulary.compact(300, 8, styles=("high",))
    assert len({one.digest(text) for one in (plain, styled, other)}) == 3
    assert not Vocabulary.glm4voice().style_ids


def test_a_style_that_is_not_there_is_told() -> None:
    styled = Vocabulary.compact(300, 8, styles=("low", "loud"))
    with pytest.raises(ConfigError, match="no style 'sad'; it has low, loud"):
        styled.style_id("sad")
    with pytest.raises(ConfigError, match="no style 'sad'; it has none"):
        Vocabulary.glm4voice().style_id("sad")
    with pytest.raises(ConfigError, match="id 5 is no style"):
        styled.style_name(5)
    with pytest.raises(ConfigError, match="named twice"):
        Vocabulary.compact(300, 8, styles=("low", "low"))
