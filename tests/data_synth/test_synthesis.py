"""A shard keeps every text, speaks what it should, and tells what it left out and why."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_synth.models import TokenizerJudge
from data_synth.plan import Plan, make_plan
from data_synth.shards import CorpusRow
from data_synth.spans import SpanConfig, segments
from data_synth.synthesis import Speaker, Synthesis
from tests.data_synth.tiny import LENIENT, tiny_config
from voiceglm.error_rate import ErrorRate
from voiceglm.prompt import PromptFormat, PromptWriter
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.vocabulary import Vocabulary

TEXTS = train_text_tokenizer(["any text at all, 12 of it. "] * 20, 300)
VOCABULARY = Vocabulary.compact(TEXTS.get_vocab_size(), 20)
WRITER = PromptWriter(VOCABULARY, lambda text: TEXTS.encode(text).ids, PromptFormat())
LONG = " ".join(f"word{a}{b}" for a in "abcdef" for b in "abcdefghij")

Speak = Callable[[str, int], list[int]]


class Engine:
    """Says of each prompt what a function of its text and of the attempt returns."""

    def __init__(self, speak: Speak):
        self.speak = speak
        self.calls: list[list[str]] = []

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new: Sequence[int], seed: int
    ) -> list[list[int]]:
        said = [TEXTS.decode([i for i in ids if VOCABULARY.is_text(i)]) for ids in prompts]
        self.calls.append(said)
        pairs = zip(said, max_new, strict=True)
        return [self.speak(text, len(self.calls))[:room] for text, room in pairs]

    def close(self) -> None:
        pass


def codes(text: str, attempt: int) -> list[int]:
    """Say a code for every letter, then end."""
    spoken = [VOCABULARY.speech_id(ord(letter) % 20) for letter in text]
    return [*spoken, VOCABULARY.end_of_audio]


class Judge:
    def __init__(self, bad: str):
        self.bad = bad

    def errors(self, said: Sequence[str], codes: Sequence[Sequence[int]]) -> list[ErrorRate]:
        return [ErrorRate(9 if self.bad in text else 1, 10) for text in said]


def plan_of(folder: Path, rows: list[dict[str, Any] | str], **changes: Any) -> Plan:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path = folder / "texts.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return make_plan([path], replace(tiny_config(folder), **changes), {})


def made(
    plan: Plan, speak: Speak = codes, judge: Any = None
) -> tuple[list[CorpusRow], dict[str, Any], Engine]:
    engine = Engine(speak)
    synthesis = Synthesis(plan, WRITER, Speaker(WRITER, engine), judge)
    rows, counts = synthesis.shard(0)
    return rows, counts, engine


def test_a_row_is_the_document_with_its_spans_spoken(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [{"id": "x", "text": LONG}])
    (row,), counts, _ = made(plan)
    parts = segments(LONG, plan.config.spans)
    ids = [VOCABULARY.gmask, VOCABULARY.sop]
    spans = []
    for part in parts:
        written = codes(part.text, 1)[:-1] if part.is_spoken else TEXTS.encode(part.text).ids
        if part.is_spoken:
            spans.append((len(ids), len(ids) + len(written)))
        ids += written
    assert row == CorpusRow("x", 0, "en", [*ids, VOCABULARY.endoftext], spans)
    assert spans
    found = counts["counts"]
    assert found["ids"] == len(row.ids)
    assert found["speech_ids"] == row.num_speech == sum(b - a for a, b in spans)
    assert (found["documents"], found["rows"], found["units"]) == (1, 1, 60)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = [
        {"text": LONG},
        {"text": LONG},
        {"text": "to be"},
        {"text": ""},
        {"text": "12 34 56"},
        {"text": "Привет, как дела у тебя сегодня"},
        {"text": "Bonjour tout le monde mes amis", "language": "fr"},
        {"text": "wrong \ufffd\ufffd\ufffd letters all over"},
        {"txt": "no text here"},
        "not json",
        {"text": "今天天气很好我们去公园玩"},
    ]
    found, counts, _ = made(plan_of(tmp_path, rows))
    assert counts["left_out"] == {
        "another language": 2,
        "duplicate": 1,
        "no text": 1,
        "no words": 2,
        "not JSON": 1,
        "too short": 1,
        "wrong encoding": 1,
    }
    assert [row.language for row in found] == ["en", "zh"]
    assert counts["counts"]["documents"] == len(rows)


def test_bad_speech_is_drawn_again_and_then_left_text(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [{"text": LONG}], filters=replace(LENIENT, attempts=3))

    def second_time(text: str, attempt: int) -> list[int]:
        return codes(text, attempt) if attempt == 2 else [VOCABULARY.speech_id(1)] * 500

    (row,), counts, engine = made(plan, second_time)
    assert len(engine.calls) == 2
    assert row == made(plan)[0][0]
    assert counts["counts"]["redone: no end"] == counts["counts"]["spans"]
    (row,), counts, engine = made(plan, lambda text, attempt: [])
    assert len(engine.calls) == 3
    assert row.spans == []
    assert [i for i in row.ids if VOCABULARY.is_text(i)] == TEXTS.encode(LONG).ids
    assert counts["counts"]["spans_left_text"] == counts["counts"]["spans"]


def test_some_speech_is_read_back(tmp_path: Path) -> None:
    filters = replace(LENIENT, checked_share=1.0, max_error=0.5, attempts=2)
    plan = plan_of(tmp_path, [{"text": LONG}], filters=filters)
    spoken = [part.text for part in segments(LONG, plan.config.spans) if part.is_spoken]
    (row,), counts, engine = made(plan, judge=Judge(bad=spoken[0]))
    assert len(row.spans) == len(spoken) - 1
    assert engine.calls[1] == [spoken[0]]
    assert counts["counts"]["checked_spans"] == len(spoken) + 1
    assert counts["counts"]["wrong_characters"] == 9 + 9 + len(spoken) - 1
    assert counts["counts"]["redone: misread"] == 2


def test_what_nobody_can_read_back_is_counted_and_kept(tmp_path: Path) -> None:
    filters = replace(LENIENT, checked_share=1.0, max_error=0.5)
    plan = plan_of(tmp_path, [{"text": LONG}], filters=filters)
    reader = TokenizerJudge(Recognizer())  # pyright: ignore[reportArgumentType]
    for judge in (None, reader):
        (row,), counts, engine = made(plan, judge=judge)
        assert counts["counts"]["unreadable_spans"] == len(row.spans) == counts["counts"]["spans"]
        assert "checked_spans" not in counts["counts"]
        assert len(engine.calls) == 1
    assert reader.errors(["你好，世界。", "hello"], [[1], [2]]) == [
        ErrorRate(1, 4),
        ErrorRate(0, 0),
    ]


class Recognizer:
    """Writes with a few characters of Chinese, and always hears the same."""

    alphabet = "你好世界 "

    def read(self, codes: Sequence[Sequence[int]]) -> list[str]:
        return ["你好 世"] * len(codes)


def test_what_is_spoken_is_in_words(tmp_path: Path) -> None:
    text = "In 2024 I paid <b>$3</b> for 12 apples & 5 pears 😀 at noon. " * 20
    _, _, engine = made(plan_of(tmp_path, [{"text": text}], spans=SpanConfig(share=0.8)))
    said = " ".join(engine.calls[0])
    assert not any(letter.isdigit() or letter in "<>$&😀" for letter in said)
    assert "twelve apples" in said
    assert "three dollars" in said


def test_a_huge_document_is_cut(tmp_path: Path) -> None:
    text = " ".join(f"w{n}" for n in range(1_050))
    found, counts, _ = made(plan_of(tmp_path, [{"id": "h", "text": text}], max_units=100))
    assert [(row.id, row.part) for row in found] == [("h", n) for n in range(11)]
    assert counts["counts"]["units"] == 1_050
    written = found[0].ids[: found[0].spans[0][0]] if found[0].spans else found[0].ids
    assert TEXTS.decode([i for i in written if VOCABULARY.is_text(i)]).startswith("w0 w1")


WORD = "x1Yz" * 1_000 + " "


def test_a_huge_word_stays_text(tmp_path: Path) -> None:
    text = f"{LONG} {WORD * 6} {LONG}"
    plan = plan_of(tmp_path, [{"text": text}], spans=SpanConfig(share=1.0, max_length=5))
    (row,), counts, engine = made(plan)
    assert counts["counts"]["spans_too_long"], "not all six are between two spans"
    assert max(map(len, engine.calls[0])) < 2_000
    written = TEXTS.decode([i for i in row.ids if VOCABULARY.is_text(i)])
    assert WORD in written


def test_control_characters_go_and_lines_stay(tmp_path: Path) -> None:
    text = "one\x00 two\x07 three\nfour\tfive six"
    plan = plan_of(tmp_path, [{"text": text}], spans=SpanConfig(share=0.0))
    (row,), _, engine = made(plan)
    assert TEXTS.decode([i for i in row.ids if VOCABULARY.is_text(i)]) == (
        "one two three\nfour\tfive six"
    )
    assert engine.calls == [], "nothing is to be said"


@pytest.mark.parametrize("shard", [0, 1])
def test_a_shard_depends_on_its_number_alone(tmp_path: Path, shard: int) -> None:
    rows: list[dict[str, Any] | str] = [{"text": f"{LONG} {n}"} for n in range(30)]
    plan = plan_of(tmp_path, rows)
    synthesis = Synthesis(plan, WRITER, Speaker(WRITER, Engine(codes)), None)
    expected = Synthesis(plan, WRITER, Speaker(WRITER, Engine(codes)), None).shard(shard)
    synthesis.shard(1 - shard)
    assert synthesis.shard(shard) == expected


def test_a_shard_of_which_nothing_is_kept_is_counted(tmp_path: Path) -> None:
    rows, counts, _ = made(plan_of(tmp_path, ["torn", {"text": ""}]))
    assert rows == []
    found = counts["counts"]
    assert (found["documents"], found["rows"], found["ids"], found["speech_ids"]) == (2, 0, 0, 0)
