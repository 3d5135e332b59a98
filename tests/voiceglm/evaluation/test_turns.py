"""Conversations: their history is kept, every kind of turn is counted by itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.voiceglm.evaluation.tiny import Script, Scripted, figure, reasons, record, rows, subject
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.turns import FOLLOW_UP, MEMORY, STYLE, UNTOLD, kind_of, measure, right
from voiceglm.events import Event
from voiceglm.files import write_json_lines
from voiceglm.manifest import Utterance

ENGLISH, CHINESE = nano_world.CONVERSATIONS.values()


class Counting(Script):
    """A conversation that answers with the number of the turn."""

    def __init__(self) -> None:
        super().__init__(lambda samples: f"turn {self.turns}")
        self.turns = 0

    def reply(self, question: Tensor, *, seed: int = 0, aloud: bool = True) -> Iterator[Event]:
        assert not aloud, "nobody listens"
        self.turns += 1
        yield from super().reply(question, seed=seed)


class Counter(Scripted):
    """A subject whose conversations count their turns."""

    def open_chat(self) -> Counting:
        return Counting()


def conversations(run: Path, answers: dict[str, list[str]]) -> Path:
    """Write a run that holds conversations with these answers to their turns."""
    folder = run / "speech" / "test_conversations_en"
    path = record(folder / "a.wav")
    write_json_lines(
        folder / "manifest.jsonl",
        (
            {
                "path": path.name,
                "text": "a question",
                "dialogue": dialogue,
                "turn": number,
                "answer": answer,
                "skill": "days",
                "wording": "a question",
            }
            for dialogue, expected in answers.items()
            for number, answer in enumerate(expected)
        ),
    )
    return run


def counter(output: Path, **settings: Any) -> Subject:
    plain = subject(output, **settings)
    return Counter(plain.chat, plain.settings)


def test_a_conversation_keeps_its_history_and_goes_on_behind_a_wrong_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"en/0": ["Turn 1.", "no", "Turn 3!"], "en/1": ["turn 1", "turn 2", "no"]}
    run = conversations(tmp_path / "run", answers)
    monkeypatch.setattr(nano_world, "CONVERSATIONS", {"en": ENGLISH})
    table = measure(counter(tmp_path / "out", run=run, num_questions=8))
    shares = [figure(table, right(f"turn {number}")).value for number in (1, 2, 3)]
    assert shares == [100.0, 50.0, 50.0]
    assert figure(table, "right replies", ENGLISH).value == pytest.approx(100 * 4 / 6)
    kept = rows(tmp_path / "out" / "turns" / "nano_world_conversations_en.jsonl")
    assert [row["reply"] for row in kept] == ["turn 1", "turn 2", "turn 3"] * 2


def test_a_turn_that_cannot_be_heard_is_counted_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = conversations(tmp_path / "run", {"en/0": ["turn 1", "turn 1"]})
    manifest = run / "speech" / "test_conversations_en" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("a.wav", "gone.wav", 1))
    monkeypatch.setattr(nano_world, "CONVERSATIONS", {"en": ENGLISH})
    table = measure(counter(tmp_path / "out", run=run))
    assert "1 of 2 turns cannot be asked" in reasons(table)[ENGLISH]
    assert figure(table, "right replies").value == 100.0


def turn(skill: str, wording: str = "", answer: str = "", language: str = "en") -> Utterance:
    extra = {"skill": skill, "wording": wording, "answer": answer}
    return Utterance(None, wording, language=language, extra=extra)


SUM, CITY = "what is {sum}", turn("capitals", "what is the capital of {country}")


@pytest.mark.parametrize(
    ("asked", "before", "kind"),
    [
        (turn("memory", answer="Your name is Ann."), None, MEMORY),
        (turn("memory", answer="You have not told me your name."), None, UNTOLD),
        (turn("memory", answer="你还没告诉我你的名字。", language="zh"), None, UNTOLD),
        (turn("style", answer="Sure."), turn("style"), STYLE),
        (turn("arithmetic", "and what about {sum}"), turn("arithmetic", SUM), FOLLOW_UP),
        (turn("arithmetic", SUM), turn("arithmetic", SUM), "any other"),  # asked twice
        (turn("arithmetic", "and what about {sum}"), CITY, "any other"),
        (turn("arithmetic", "and what about {sum}"), None, "any other"),
        (turn("arithmetic", "那{sum}呢？", language="zh"), turn("arithmetic", SUM), "any other"),
        (turn("tell", "my name is {value}"), turn("tell", "I have a {value}"), "any other"),
    ],
)
def test_a_turn_is_of_a_kind(asked: Utterance, before: Utterance | None, kind: str) -> None:
    assert kind_of(asked, before) == kind


def test_conversations_are_spoken_where_there_is_no_run(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    one = subject(tmp_path, num_questions=8)
    talks = nano_world.conversations(one, "zh")
    assert [[turn.turn for turn in talk] for talk in talks] == [[0, 1, 2, 3]] * 2
    assert len({talk[0].dialogue for talk in talks}) == 2
    assert all({"answer", "skill", "wording"} <= set(turn.extra) for talk in talks for turn in talk)
    again = nano_world.conversations(one, "zh")
    assert [turn.text for talk in again for turn in talk] == [t.text for x in talks for t in x]
