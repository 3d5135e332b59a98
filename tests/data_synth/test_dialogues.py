"""Rows for the language model: the right kinds, whole, and accepted by the one who writes ids."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data_synth.dialogues import Row, dialogue_rows, pretraining_rows, write_rows
from data_synth.world import sample_exchange
from voiceglm.manifest import Utterance
from voiceglm.prompt import IGNORED, PromptFormat, PromptWriter
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.vocabulary import Vocabulary

NUM_CODES = 50
QUESTION, ANSWER = range(25), range(25, 50)  # codes of the users and of the assistant


def recording(text: str, codes: range, rng: random.Random, **extra: Any) -> Utterance:
    """A recording of about 15 letters a second."""
    spoken = [rng.choice(codes) for _ in range(5 + len(text))]
    return Utterance(Path("a.wav"), text, extra={"codes": spoken, **extra})


@pytest.fixture(scope="module")
def questions() -> list[Utterance]:
    rng = random.Random(0)
    exchanges = [sample_exchange(rng, "train") for _ in range(200)]
    return [recording(e.question, QUESTION, rng, answer=e.answer) for e in exchanges]


@pytest.fixture(scope="module")
def answers(questions: list[Utterance]) -> list[Utterance]:
    rng = random.Random(1)
    texts = dict.fromkeys(question.extra["answer"] for question in questions)
    return [recording(text, ANSWER, rng) for text in texts]


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
    vocabulary = Vocabulary.compact(tokenizer.get_vocab_size(), NUM_CODES)
    return PromptWriter(vocabulary, lambda text: tokenizer.encode(text).ids, PromptFormat())


def test_kinds_of_the_first_stage(
    pretraining: list[Row], heard: list[Utterance], answers: list[Utterance]
) -> None:
    counts = Counter(row["kind"] for row in pretraining)
    assert counts["asr"] == len(heard)
    assert counts["tts"] == counts["streaming"] == len(answers)
    assert counts["interleaved"] == 100, "half of the questions"
    assert counts.total() == len(pretraining)


def test_what_is_heard_is_written_and_what_is_written_is_spoken(
    pretraining: list[Row], heard: list[Utterance], answers: list[Utterance]
) -> None:
    of = {
        kind: [(row["text"], row["codes"]) for row in pretraining if row["kind"] == kind]
        for kind in ("asr", "tts", "streaming")
    }
    assert of["asr"] == [(u.text, u.extra["codes"]) for u in heard]
    assert of["tts"] == of["streaming"] == [(u.text, u.extra["codes"]) for u in answers]


def test_interleaved_rows_cross_the_modalities(
    pretraining: list[Row], questions: list[Utterance], answers: list[Utterance]
) -> None:
    spoken = {answer.text: answer.extra["codes"] for answer in answers}
    rows = [row["segments"] for row in pretraining if row["kind"] == "interleaved"]
    for number, (asked, answered) in enumerate(rows):
        question = questions[4 * (number // 2) + number % 2]
        if number % 2 == 0:
            assert asked == {"codes": question.extra["codes"]}
            assert answered == {"text": f" {question.extra['answer']}"}
        else:
            assert asked == {"text": question.text}
            assert answered == {"codes": spoken[question.extra["answer"]]}


def test_dialogues_answer_every_question(
    dialogues: list[Row], questions: list[Utterance], answers: list[Utterance]
) -> None:
    spoken = {answer.text: answer.extra["codes"] for answer in answers}
    by_codes = {tuple(question.extra["codes"]): question for question in questions}
    by_text = {question.text: question for question in questions}
    asked = []
    for row in dialogues:
        assert len(row["turns"]) in (2, 4)
        for turn, reply in zip(row["turns"][::2], row["turns"][1::2], strict=True):
            heard = "codes" in turn
            question = by_codes[tuple(turn["codes"])] if heard else by_text[turn["text"]]
            assert turn.keys() == {"codes" if heard else "text"}
            assert reply == {"text": question.extra["answer"], "codes": spoken[reply["text"]]}
        asked.append(row["turns"][-2])
    assert [turn["codes"] for turn in asked if "codes" in turn] == [
        question.extra["codes"] for question in questions
    ]
    assert sum("text" in turn for turn in asked) == len(questions) / 4
    two = sum(len(row["turns"]) == 4 for row in dialogues)
    assert 0.1 < two / len(questions) < 0.3


def test_dialogues_follow_from_the_seed(
    finetuning: list[Row],
    questions: list[Utterance],
    answers: list[Utterance],
    heard: list[Utterance],
) -> None:
    assert list(dialogue_rows(questions, answers, heard)) == finetuning
    assert list(dialogue_rows(questions, answers, heard, seed=1)) != finetuning


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


def test_the_style_of_a_reply_takes_room_from_its_text(tmp_path: Path) -> None:
    said = {"text": "a" * 25, "codes": [1] * 26}
    rows = [
        {"kind": "dialogue", "turns": [{"codes": [1]}, {**said, "style": style}]}
        for style in ([], ["loud"], ["fast_1", "loud"])
    ]
    assert write_rows(tmp_path / "rows.jsonl", rows, len) == 1
    assert (tmp_path / "rows.jsonl").read_text().count("\n") == 2
