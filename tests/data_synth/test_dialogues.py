"""Rows for the language model: the right kinds, whole, and accepted by the one who writes ids."""

import json
import random
from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from data_synth import corpus
from data_synth.dialogues import (
    Row,
    dialogue_rows,
    most_styles,
    pretraining_rows,
    write_rows,
    written_rows,
)
from data_synth.speech_sets import answers_to
from voiceglm.manifest import Utterance, read_manifest, write_manifest
from voiceglm.prompt import IGNORED, PromptFormat, PromptWriter
from voiceglm.style import STYLE_NAMES
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.vocabulary import Vocabulary

NUM_CODES = 50
QUESTION, ANSWER = range(25), range(25, 50)  # codes of the users and of the assistant


def recording(text: str, codes: range, rng: random.Random, **extra: Any) -> Utterance:
    """A recording of about 15 letters a second."""
    spoken = [rng.choice(codes) for _ in range(5 + len(text))]
    return Utterance(Path("a.wav"), text, extra={"codes": spoken, **extra})


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """A hundred conversations, and four orders, which are none, as a manifest gives them."""
    rng = random.Random(0)
    talks = corpus.conversations(rng, "train", "en", 100)
    lines = [line for talk in talks for line in talk] + [corpus.order(rng, "train")] * 4
    drawn = [
        replace(recording(line.text, QUESTION, rng, **line.extra), language=line.language)
        for line in lines
    ]
    manifest = tmp_path_factory.mktemp("questions") / "m.jsonl"
    write_manifest(manifest, drawn)
    return read_manifest(manifest)


@pytest.fixture(scope="module")
def answers(questions: list[Utterance]) -> list[Utterance]:
    rng = random.Random(1)
    lines = answers_to(questions)
    return [
        replace(recording(line.text, ANSWER, rng, **line.extra), language=line.language)
        for line in lines
    ]


@pytest.fixture(scope="module")
def heard() -> list[Utterance]:
    rng = random.Random(2)
    return [recording(f"reading {n}", QUESTION, rng) for n in range(30)]


@pytest.fixture(scope="module")
def pretraining(
    heard: list[Utterance], answers: list[Utterance], questions: list[Utterance]
) -> list[Row]:
    return list(pretraining_rows(heard, answers, questions))


@pytest.fixture(scope="module")
def finetuning(
    questions: list[Utterance], answers: list[Utterance], heard: list[Utterance]
) -> list[Row]:
    return list(dialogue_rows(questions, answers, heard))


@pytest.fixture(scope="module")
def dialogues(finetuning: list[Row]) -> list[Row]:
    return [row for row in finetuning if row["kind"] == "dialogue"]


@pytest.fixture(scope="module")
def writer(questions: list[Utterance]) -> PromptWriter:
    texts = [question.text or "" for question in questions]
    tokenizer = train_text_tokenizer([*PromptFormat().texts(), *texts], 400)
    vocabulary = Vocabulary.compact(tokenizer.get_vocab_size(), NUM_CODES, styles=STYLE_NAMES)
    return PromptWriter(vocabulary, lambda text: tokenizer.encode(text).ids, PromptFormat())


def test_kinds_of_the_first_stage(
    pretraining: list[Row],
    heard: list[Utterance],
    answers: list[Utterance],
    questions: list[Utterance],
) -> None:
    counts = Counter(row["kind"] for row in pretraining)
    assert counts["asr"] == len(heard)
    dialects = sum(bool(answer.extra["dialect"]) for answer in answers)
    assert counts["tts"] == counts["streaming"] - dialects == len(answers) - dialects > 0
    assert abs(counts["interleaved"] - len(questions) / 2) <= 1, "half of the questions"
    assert counts.total() == len(pretraining)


def test_what_is_heard_is_written_and_what_is_written_is_spoken(
    pretraining: list[Row], heard: list[Utterance], answers: list[Utterance]
) -> None:
    of = {
        kind: [(row["text"], row["codes"]) for row in pretraining if row["kind"] == kind]
        for kind in ("asr", "tts", "streaming")
    }
    assert of["asr"] == [(u.text, u.extra["codes"]) for u in heard]
    assert of["streaming"] == [(u.text, u.extra["codes"]) for u in answers]
    plain = [u for u in answers if not u.extra["dialect"]]
    assert of["tts"] == [(u.text, u.extra["codes"]) for u in plain]


def test_a_dialect_is_named(pretraining: list[Row], answers: list[Utterance]) -> None:
    rows = [row for row in pretraining if row["kind"] == "streaming"]
    named = [row.get("style", [""]) for row in rows]
    assert named == [[answer.extra["dialect"]] for answer in answers]
    assert len({name for (name,) in named}) > 1


def test_interleaved_rows_cross_the_modalities(
    pretraining: list[Row], questions: list[Utterance], answers: list[Utterance]
) -> None:
    spoken = codes_of(answers)
    rows = [row["segments"] for row in pretraining if row["kind"] == "interleaved"]
    for number, (asked, answered) in enumerate(rows):
        question = questions[4 * (number // 2) + number % 2]
        if number % 2 == 0:
            assert asked == {"codes": question.extra["codes"]}
            assert answered == {"text": f" {question.extra['answer']}"}
        else:
            assert asked == {"text": question.text}
            assert answered == {"codes": spoken[said(question)]}


def test_conversations_stay_whole(
    dialogues: list[Row], questions: list[Utterance], answers: list[Utterance]
) -> None:
    spoken = codes_of(answers)
    grouped = groupby(questions, key=lambda one: one.dialogue or id(one))
    talks = [list(turns) for _, turns in grouped]
    aloud = [row["turns"] for row in dialogues if "codes" in row["turns"][0]]
    written = [row["turns"] for row in dialogues if "text" in row["turns"][0]]
    assert len(aloud) == len(talks) == 104
    assert len(written) == len(talks) / 4
    for turns, talk in [*zip(aloud, talks, strict=True), *zip(written, talks[::4], strict=True)]:
        for turn, reply, question in zip(turns[::2], turns[1::2], talk, strict=True):
            by_voice = {"codes": question.extra["codes"]}
            assert turn in (by_voice, {"text": question.text})
            style = question.extra.get("style")
            expected = {"text": question.extra["answer"], "codes": spoken[said(question)]}
            assert reply == {**expected, **({"style": style} if style else {})}


def test_what_nobody_wrote_down_is_asked_in_speech_alone(
    questions: list[Utterance], answers: list[Utterance]
) -> None:
    orders = [replace(question, text=None) for question in questions[-4:]]
    rows = list(dialogue_rows(orders, answers, []))
    assert [list(row["turns"][0]) for row in rows] == [["codes"]] * 4


def test_numbers_are_reckoned_with_in_writing(writer: PromptWriter) -> None:
    rows = list(written_rows(300))
    assert rows[:100] == list(written_rows(50))
    assert all(set(turn) == {"text"} for row in rows for turn in row["turns"])
    english, chinese = ([row["turns"][1]["text"] for row in rows[n::2]] for n in (0, 1))
    assert len({text for text in english if " plus " in text or " minus " in text}) > 50
    assert sum("加" in text or "减" in text for text in chinese) > 50
    example = writer.example(rows[0])
    learned = [label for label in example.labels if label != IGNORED]
    assert learned == writer._encode(rows[0]["turns"][1]["text"]), "not that it ends unspoken"


def test_a_written_reply_is_no_longer_than_what_comes_before_speech(tmp_path: Path) -> None:
    rows = [
        {"kind": "dialogue", "turns": [{"text": "?"}, {"text": "a" * length}]}
        for length in (13, 14)
    ]
    assert write_rows(tmp_path / "rows.jsonl", rows, len) == 1
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == rows[0]


def said(question: Utterance) -> tuple[str, str]:
    """What the reply to a question says, and in which dialect."""
    style = question.extra.get("style", ())
    of_language = ("british", "scottish") if question.language == "en" else ("cantonese",)
    dialects = [name for name in style if name in of_language]
    return question.extra["answer"], "".join(dialects)


def codes_of(answers: list[Utterance]) -> dict[tuple[str | None, str], Any]:
    return {(one.text, one.extra["dialect"]): one.extra["codes"] for one in answers}


def test_the_second_stage_goes_on_transcribing(
    finetuning: list[Row], dialogues: list[Row], heard: list[Utterance]
) -> None:
    others = finetuning[len(dialogues) :]
    assert {row["kind"] for row in others} == {"asr"}
    assert [row["text"] for row in others] == [utterance.text for utterance in heard[::3]]


@pytest.mark.parametrize("stage", ["pretraining", "finetuning"])
def test_every_row_of_a_file_becomes_ids(
    stage: str, writer: PromptWriter, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    v = writer.vocabulary
    rows = json.loads(json.dumps(request.getfixturevalue(stage)))  # tuples become lists
    path = tmp_path / "new" / "rows.jsonl"
    left_out = write_rows(path, rows, lambda text: len(writer._encode(text)))
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert left_out == len(rows) - len(written)
    assert written == [row for row in rows if row in written], "in their order, unchanged"
    for row in written:
        example = writer.example(row)
        assert 0 <= min(example.ids) <= max(example.ids) < v.size
        learned = [label for label in example.labels if label != IGNORED]
        assert learned
        if row["kind"] in ("tts", "streaming", "dialogue"):
            codes = {v.code(i) for i in learned if v.is_speech(i)}
            assert codes <= set(ANSWER), "only the assistant's voice is learned"


def test_hasty_replies_are_left_out(tmp_path: Path) -> None:
    """Of 20 text ids, 13 come before 26 codes and 7 after them."""
    text, just, short = "a" * 20, [1] * 26, [1] * 25

    def rows(codes: list[int]) -> list[Row]:
        said = {"text": text, "codes": codes}
        slow = {"text": "a", "codes": [1]}
        return [
            {"kind": "streaming", **said},
            {"kind": "dialogue", "turns": [{"codes": [1]}, said]},
            {"kind": "dialogue", "turns": [{"codes": [1]}, said, {"text": "a"}, slow]},
            {"kind": "tts", **said},
            {"kind": "asr", **said},
            {"kind": "dialogue", "turns": [{"text": text}, slow]},
        ]

    assert write_rows(tmp_path / "just.jsonl", rows(just), len) == 0
    assert write_rows(tmp_path / "short.jsonl", rows(short), len) == 3
    kept = [json.loads(line) for line in (tmp_path / "short.jsonl").read_text().splitlines()]
    assert kept == rows(short)[3:]


def test_an_answer_has_room_for_the_most_styles_it_is_asked_for_with() -> None:
    rng = random.Random(0)
    asked = [("six", []), ("six", ["loud", "slow_1"]), ("two", ["high"]), ("six", ["loud"])]
    questions = [recording("?", QUESTION, rng, answer=one, style=style) for one, style in asked]
    questions.append(recording("?", QUESTION, rng, answer="ten"))
    assert most_styles(questions) == {"six": 2, "two": 1, "ten": 0}


def test_the_style_of_a_reply_takes_room_from_its_text(tmp_path: Path) -> None:
    said = {"text": "a" * 25, "codes": [1] * 26}
    rows = [
        {"kind": "dialogue", "turns": [{"codes": [1]}, {**said, "style": style}]}
        for style in ([], ["loud"], ["fast_1", "loud"])
    ]
    assert write_rows(tmp_path / "rows.jsonl", rows, len) == 1
    assert (tmp_path / "rows.jsonl").read_text().count("\n") == 2
