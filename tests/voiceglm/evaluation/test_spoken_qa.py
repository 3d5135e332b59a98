"""Questions: every published layout is read, an answer is found wherever it stands in a reply."""

import json
from pathlib import Path

import pytest
from torch import Tensor

from tests.voiceglm.evaluation.tiny import Ear, figure, reasons, record, rows, scripted
from voiceglm.errors import ConfigError
from voiceglm.evaluation.answers import holds_answer
from voiceglm.evaluation.questions import described, read_questions
from voiceglm.evaluation.spoken_qa import measure


@pytest.mark.parametrize(
    ("reply", "answers", "right"),
    [
        ("The capital is Paris, of course.", ["paris"], True),
        ("It was in nineteen eighty-four.", ["1984"], True),
        ("It's the Beatles!", ["Beatles"], True),
        ("A comparison.", ["Paris"], False),  # whole words only
        ("Comparis on", ["paris"], False),
        ("São Paulo", ["Sao Paulo"], True),
        ("Vermont or Ohio", ["Texas", "Ohio"], True),
        ("The end.", ["the", "a"], False),  # an answer of articles alone is none
        ("", ["Paris"], False),
    ],
)
def test_a_reply_holds_an_answer_word_for_word(reply: str, answers: list[str], right: bool) -> None:
    assert holds_answer(reply, answers) is right


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("冰岛的首都，是雷克雅未克！", True),
        ("雷克雅未克。", True),
        ("首都是雷克。", False),
        ("", False),
    ],
)
def test_a_chinese_reply_holds_an_answer_by_its_characters(reply: str, right: bool) -> None:
    assert holds_answer(reply, ["雷克 雅未克。", "。"], "zh") is right


def bench(folder: Path, name: str, header: str, *lines: str) -> Path:
    """Write one set of OpenAudioBench with a recording for the first line alone."""
    home = folder / "OpenAudioBench" / "eval_datas" / name
    record(home / "audios" / "q_0.wav")
    (home / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return home / f"{name}.csv"


def test_openaudiobench_is_read_with_its_recordings(tmp_path: Path) -> None:
    llama = bench(
        tmp_path,
        "llama_questions",
        "Questions,Answer,audio_filename",
        "What is it?,Paris,q_0.wav",
        "No file?,Rome,q_1.wav",
        "Outside?,Rome,../../q_0.wav",
    )
    web = bench(
        tmp_path, "web_questions", "question,answers,audio_filename", "who?,Ann;Bob,q_0.wav"
    )
    trivia = bench(
        tmp_path,
        "trivia_qa",
        "question,answer_normalized_value,answer_normalized_aliases,audio_filename",
        "\"When, then?\",june,\"['jun', 'june, 1']\",q_0.wav",
    )
    found = [list(read_questions(path)) for path in (llama, web, trivia)]
    assert [[list(q.answers) for q in questions] for questions in found] == [
        [["Paris"]],
        [["Ann", "Bob"]],
        [["june", "jun", "june, 1"]],
    ]
    assert found[2][0].text == "When, then?"
    assert found[0][0].audio
    assert found[0][0].audio.recording.name == "q_0.wav"


def test_webquestions_answers_are_read_out_of_lisp() -> None:
    target = r'(list (description "Jazmyn \"J\" Bieber") (description 1881) (description (x)))'
    assert described(target) == ['Jazmyn "J" Bieber', "1881"]


def webquestions(folder: Path) -> Path:
    path = folder / "webquestions.examples.test.json"
    rows = [{"utterance": "what is 2 + 2?", "targetValue": "(list (description Four))", "url": ""}]
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return path


def test_triviaqa_is_read_with_its_aliases(tmp_path: Path) -> None:
    answer = {"Value": "Sunset", "Aliases": ["Sunset", "West"], "NormalizedAliases": ["x"]}
    path = tmp_path / "unfiltered-web-dev.json"
    path.write_text(json.dumps({"Data": [{"Question": "Which?", "Answer": answer}]}))
    (question,) = read_questions(path)
    assert (question.text, list(question.answers)) == ("Which?", ["Sunset", "West"])
    assert question.audio is None


@pytest.mark.parametrize("text", ['{"Data": [{}]}', "[1]", "not json", '{"Other": 1}'])
def test_a_damaged_list_is_one_clear_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "unfiltered-web-dev.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="no list of questions as published"):
        list(read_questions(path))


def test_questions_are_asked_and_marked_by_text_and_by_speech(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    webquestions(tmp_path / "data")
    bench(
        tmp_path / "data", "llama_questions", "Questions,Answer,audio_filename", "It?,Rome,q_0.wav"
    )

    def answer(samples: Tensor) -> str:
        return "That is four."

    asked = scripted(tmp_path, answer, ear=Ear("it is rome"), data=tmp_path / "data")
    table = measure(asked)
    values = {
        (f.set, f.system): f.value for f in table.figures if not f.set.startswith("nano world")
    }
    assert values == {
        ("Web Questions", "S->T"): 100.0,
        ("Web Questions", "S->S"): 0.0,
        ("Llama Questions", "S->T"): 0.0,
        ("Llama Questions", "S->S"): 100.0,
    }
    assert figure(table, "right answers", "Web Questions", "S->T").column == "Web Questions"
    assert "TriviaQA" in reasons(table)
    assert "espeak-ng, held-out voices (Web Questions)" in table.protocol[1]
    (row,) = rows(tmp_path / "spoken-qa" / "web_questions.jsonl")
    assert row["question"] == "what is 2 + 2?"
    assert row["reply"] == "That is four."


def test_without_a_recognizer_only_text_is_marked(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    table = measure(scripted(tmp_path, lambda samples: "no"))
    assert {f.system for f in table.figures} == {"S->T"}
    assert "--recognizer" in reasons(table)["S->S"]
