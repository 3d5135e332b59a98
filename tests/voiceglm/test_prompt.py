"""Prompts and examples are the wire format, to the id."""

from typing import Any

import pytest

from voiceglm.errors import ConfigError
from voiceglm.interleave import split
from voiceglm.prompt import IGNORED, Example, PromptFormat, PromptWriter
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.vocabulary import SPECIAL_NAMES, Vocabulary

FORMAT = PromptFormat()
TOKENIZER = train_text_tokenizer([*FORMAT.texts(), "two plus two is four"] * 20, 350)
VOCABULARY = Vocabulary.compact(TOKENIZER.get_vocab_size(), 8)


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text).ids


WRITER = PromptWriter(VOCABULARY, encode, FORMAT)


def spell(ids: Any) -> str:
    """Write ids out: text as it is, special ids in angles, codes in braces."""
    out = ""
    for id_ in ids:
        if VOCABULARY.is_text(id_):
            out += TOKENIZER.decode([id_])
        elif VOCABULARY.is_speech(id_):
            out += f"{{{VOCABULARY.code(id_)}}}"
        else:
            out += f"<{SPECIAL_NAMES[id_ - VOCABULARY.text_size]}>"
    return out


def learned(example: Example) -> str:
    assert all(
        label in (id_, IGNORED) for id_, label in zip(example.ids, example.labels, strict=True)
    )
    return spell(label for label in example.labels if label != IGNORED)


OPENING = "<gmask><sop><system>\nListen and answer."
TURN = "<user>\n<begin_of_audio>{1}{2}<end_of_audio><assistant>streaming_transcription\n"


def test_a_spoken_conversation() -> None:
    ids = WRITER.opening("speech") + WRITER.speech_turn([1, 2])
    assert spell(ids) == OPENING + TURN


def test_a_written_conversation() -> None:
    ids = WRITER.opening("text") + WRITER.text_turn("two")
    expected = "<gmask><sop><system>\nRead and answer.<user>\ntwo<assistant>"
    assert spell(ids) == expected + "streaming_transcription\n"


def test_the_released_texts() -> None:
    texts = PromptFormat.glm4voice()
    assert texts.system_speech.startswith("User will provide you with a speech instruction. Do it")
    assert texts.system_speech.endswith("13 text token followed by 26 audio tokens. ")
    assert texts.system_text.endswith(
        "a interleaved manner, with 13 text token followed by 26 audio tokens."
    )
    assert texts.reply_prefix == "streaming_transcription\n"


def test_a_released_conversation_id_by_id() -> None:
    texts = PromptFormat.glm4voice()
    writer = PromptWriter(Vocabulary.glm4voice(), encode, texts)
    turn = writer.speech_turn([0, 16_383])
    prefix = encode("streaming_transcription\n")
    assert writer.opening("speech") + turn == [
        *(151_331, 151_333, 151_335),
        *encode("\n" + texts.system_speech),
        *(151_336, *encode("\n"), 151_343, 152_353, 168_736, 151_344),
        *(151_337, *prefix),
    ]
    assert writer.opening("text")[3:] == encode("\n" + texts.system_text)
    assert writer.text_turn("two") == [151_336, *encode("\ntwo"), 151_337, *prefix]


def test_asr() -> None:
    example = WRITER.example({"kind": "asr", "codes": [3, 4], "text": "two"})
    assert spell(example.ids) == (
        "<gmask><sop><begin_of_audio>{3}{4}<end_of_audio>"
        "<begin_of_transcription>two<end_of_transcription>"
    )
    assert learned(example) == "two<end_of_transcription>"


def test_tts() -> None:
    example = WRITER.example({"kind": "tts", "codes": [3, 4], "text": "two"})
    assert spell(example.ids) == (
        "<gmask><sop><begin_of_transcription>two<end_of_transcription>"
        "<begin_of_audio>{3}{4}<end_of_audio>"
    )
    assert learned(example) == "{3}{4}<end_of_audio>"


def test_documents() -> None:
    rows = {
        "{5}{6}<endoftext>": {"kind": "interleaved", "segments": [{"codes": [5, 6]}]},
        "two{5} is<endoftext>": {
            "kind": "interleaved",
            "segments": [{"text": "two"}, {"codes": [5]}, {"text": " is"}],
        },
        "two<endoftext>": {"kind": "text", "text": "two"},
        "two{1}<endoftext>": {"kind": "streaming", "text": "two", "codes": [1]},
    }
    for expected, row in rows.items():
        example = WRITER.example(row)
        assert learned(example) == expected
        assert spell(example.ids) == f"<gmask><sop>{expected}"


def test_a_dialogue_learns_each_reply_and_what_ends_it() -> None:
    reply = {"text": "four", "codes": [7, 0]}
    row = {"kind": "dialogue", "turns": [{"codes": [1, 2]}, reply, {"text": "two"}, {"text": "is"}]}
    example = WRITER.example(row)
    second = "<user>\ntwo<assistant>streaming_transcription\nis<user>"
    assert spell(example.ids) == f"{OPENING}{TURN}four{{7}}{{0}}{second}"
    assert learned(example) == "four{7}{0}<user>is", "the end of a silent reply is not learned"


def test_a_dialogue_is_the_prompt_that_chat_writes() -> None:
    row = {"kind": "dialogue", "turns": [{"codes": [1, 2]}, {"text": "four", "codes": [7]}] * 2}
    turn, reply = WRITER.speech_turn([1, 2]), WRITER.reply("four", [7])
    expected = [*WRITER.opening("speech"), *turn, *reply, *turn, *reply, VOCABULARY.user]
    assert list(WRITER.example(row).ids) == expected


def test_the_two_views_of_a_dialogue_share_its_labels_out() -> None:
    reply = {"text": "four", "codes": [7, 0]}
    turns = [{"codes": [1, 2]}, reply, {"text": "two"}, {"text": "is"}]
    row = {"kind": "dialogue", "turns": turns}
    both, text, speech = (WRITER.example({**row, "learn": v}) for v in ("both", "text", "speech"))
    assert both == WRITER.example(row), "both is what a row without the field means"
    assert both.ids == text.ids == speech.ids, "what is not learned is still read"
    assert learned(text) == "four<user>is", "the end of a turn is text"
    assert learned(speech) == "{7}{0}"
    for whole, *halves in zip(both.labels, text.labels, speech.labels, strict=True):
        assert sorted(halves) == sorted((IGNORED, whole)), "each label is in exactly one view"


@pytest.mark.parametrize(
    ("row", "text", "speech"),
    [
        ({"kind": "tts", "codes": [3], "text": "two"}, "<end_of_audio>", "{3}"),
        ({"kind": "streaming", "codes": [3], "text": "two"}, "two<endoftext>", "{3}"),
        ({"kind": "interleaved", "segments": [{"codes": [3]}]}, "<endoftext>", "{3}"),
    ],
)
def test_rows_of_every_kind_have_views(row: dict[str, Any], text: str, speech: str) -> None:
    assert learned(WRITER.example({**row, "learn": "text"})) == text
    assert learned(WRITER.example({**row, "learn": "speech"})) == speech


def test_instructions_stand_in_the_system_text_of_a_model_that_follows_any() -> None:
    reply = {"text": "four", "codes": [7]}
    row = {"kind": "dialogue", "instructions": "two", "turns": [{"codes": [1, 2]}, reply]}
    plain = WRITER.example(row)
    assert spell(plain.ids) == f"{OPENING}{TURN}four{{7}}<user>"
    follows = PromptFormat("Listen.", follows_instructions=True)
    example = PromptWriter(VOCABULARY, encode, follows).example(row)
    assert spell(example.ids).startswith("<gmask><sop><system>\nListen. two<user>")
    assert learned(example) == learned(plain), "instructions are given, not learned"


def test_a_long_reply_is_interleaved() -> None:
    text = "two plus two is four. " * 5
    ids = WRITER.reply(text, [1] * 200)
    written, spoken = split(ids, speech_start_id=VOCABULARY.speech_start_id)
    assert (written, len(spoken)) == (encode(text), 200)
    assert [VOCABULARY.is_text(i) for i in ids[:40]] == [True] * 13 + [False] * 26 + [True]


def test_speech_that_ends_before_the_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs more than 3 speech codes"):
        WRITER.reply("two plus two is four. " * 5, [1] * 3)
    assert WRITER.reply("two plus two is four. " * 5, []), "a written reply needs no speech"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"kind": "sing"}, "unknown kind of training row 'sing'"),
        ({}, "unknown kind of training row None"),
        ({"kind": "asr", "codes": [1]}, "'asr' lacks 'text'"),
        ({"kind": "asr", "codes": [8], "text": "two"}, "speech code 8 is outside"),
        ({"kind": "asr", "codes": None, "text": "two"}, "'asr' lacks"),
        ({"kind": "dialogue", "turns": []}, "alternates"),
        ({"kind": "dialogue", "turns": [{"codes": [1]}]}, "alternates"),
        ({"kind": "dialogue", "turns": [{"codes": [1]}, {"codes": [1]}]}, "lacks 'text'"),
        ({"kind": "text", "text": "two", "learn": "all"}, "one of both, text, speech, got 'all'"),
        ({"kind": "text", "text": "two", "learn": ["text"]}, "one of both, text, speech, got"),
        ({"kind": "text", "text": "two", "learn": "speech"}, "has no speech to be learned"),
        ({"kind": "interleaved", "segments": [], "learn": "speech"}, "has no speech"),
    ],
)
def test_bad_rows(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WRITER.example(row)


def test_compact_is_the_same_document() -> None:
    example = WRITER.example({"kind": "asr", "codes": [3, 4], "text": "two"})
    compact = example.compact()
    assert (list(compact.ids), list(compact.labels)) == (example.ids, example.labels)
    assert len(compact) == len(example)


STYLED = PromptWriter(
    Vocabulary.compact(TOKENIZER.get_vocab_size(), 8, styles=("slow_1", "loud")), encode, FORMAT
)


def test_a_style_is_written_before_the_text_and_learned_with_it() -> None:
    v = STYLED.vocabulary
    style = [v.style_id("slow_1"), v.style_id("loud")]
    reply = {"text": "four", "codes": [7, 0], "style": ["slow_1", "loud"]}
    said = [*style, *encode("four"), v.speech_id(7), v.speech_id(0)]
    assert STYLED.reply("four", [7, 0], ["slow_1", "loud"]) == said
    row = {"kind": "dialogue", "turns": [{"codes": [1]}, reply, {"text": "two"}, reply]}
    example = STYLED.example(row)
    for view, expected in (("both", said), ("text", said[:-2]), ("speech", said[-2:])):
        labels = STYLED.example({**row, "learn": view}).labels
        found = [id_ for id_ in labels if id_ not in (IGNORED, v.user)]
        assert found == expected * 2
    assert example.ids.count(style[0]) == 2
    streamed = STYLED.example({**reply, "kind": "streaming"})
    assert list(streamed.ids) == [v.gmask, v.sop, *said, v.endoftext]


def test_a_style_counts_as_text() -> None:
    text = "two plus two is four. " * 5
    ids = STYLED.reply(text, [1] * 200, ["loud"])
    assert len(ids) == 1 + len(encode(text)) + 200
    assert [STYLED.vocabulary.is_speech(i) for i in ids[:40]] == [False] * 13 + [True] * 26 + [
        False
    ]
    exact = next(n for n in range(200) if len(encode("two" * n)) == 13)
    STYLED.reply("two" * exact, [1] * 25)
    with pytest.raises(ConfigError, match="a reply of 14 text ids needs more than 25"):
        STYLED.reply("two" * exact, [1] * 25, ["loud"])


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("loud", "style of a training row must be a list of names, got 'loud'"),
        ({"rate": 2}, "must be a list of names"),
        (["sad"], "no style 'sad'; it has slow_1, loud"),
    ],
)
def test_bad_styles(style: Any, message: str) -> None:
    row = {"kind": "streaming", "text": "two", "codes": [1], "style": style}
    with pytest.raises(ConfigError, match=message):
        STYLED.example(row)
