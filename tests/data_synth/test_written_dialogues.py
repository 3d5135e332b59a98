"""Written dialogues: the good ones whole, the bad ones with their reason."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from data_synth.documents import dialogue_lines
from data_synth.style import styled
from data_synth.tts import ASSISTANT
from data_synth.written_dialogues import LeftOut, WrittenDialogue, WrittenTurn, read_dialogues
from voiceglm.errors import ConfigError

ASKED = {"role": "user", "text": "Hello?"}
REPLY = {"role": "assistant", "text": "Hi!"}
SYSTEM = {"role": "system", "text": "Be brief."}


def read(tmp_path: Path, *lines: bytes | dict[str, Any]) -> list[WrittenDialogue | LeftOut]:
    data = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines]
    (tmp_path / "d.jsonl").write_bytes(b"\n".join(data))
    return list(read_dialogues(tmp_path / "d.jsonl"))


def reason(tmp_path: Path, line: bytes | dict[str, Any]) -> LeftOut:
    """Read a bad line between two good ones."""
    good = {"turns": [ASKED, REPLY]}
    first, bad, last = read(tmp_path, good, line, good)
    assert isinstance(first, WrittenDialogue)
    assert isinstance(last, WrittenDialogue)
    assert isinstance(bad, LeftOut)
    assert bad.line == 2
    return bad


def test_a_dialogue_with_all_it_may_have(tmp_path: Path) -> None:
    style = {"rate": "slow", "else": [1, {"a": None}]}
    turns = [SYSTEM, ASKED, {**REPLY, "style": style}, ASKED, REPLY]
    [found] = read(tmp_path, {"id": "a", "language": "zh-Hans", "turns": turns, "more": 1})
    assert isinstance(found, WrittenDialogue)
    assert (found.line, found.id, found.language) == (1, "a", "zh")
    assert found.turns[0] == WrittenTurn("system", "Be brief.")
    assert found.turns[2] == WrittenTurn("assistant", "Hi!", style)
    assert [turn.role for turn in found.turns[1:]] == ["user", "assistant"] * 2


def test_names_and_languages_are_given_where_there_are_none(tmp_path: Path) -> None:
    turns = {"turns": [ASKED, REPLY]}
    found = read(tmp_path, b"\xef\xbb\xbf", turns, b" ", {**turns, "id": 7, "language": "en_US"})
    assert [
        (one.line, one.id, one.language) for one in found if isinstance(one, WrittenDialogue)
    ] == [
        (2, "line-2", "en"),
        (4, "7", "en"),
    ]


TURNS: dict[str, tuple[list[Any], int, str]] = {  # turns, which of them, reason
    "two questions": ([ASKED, ASKED, REPLY], 1, "user and assistant do not alternate"),
    "a reply first": ([REPLY, ASKED], 0, "user and assistant do not alternate"),
    "a late system": ([ASKED, REPLY, SYSTEM], 2, "user and assistant do not alternate"),
    "two systems": ([SYSTEM, SYSTEM, ASKED, REPLY], 1, "user and assistant do not alternate"),
    "no reply": ([ASKED, REPLY, ASKED], 2, "it does not end with a reply"),
    "a system alone": ([SYSTEM], 0, "it does not end with a reply"),
    "a stranger": ([ASKED, {"role": "bot", "text": "Hi!"}], 1, "unknown role"),
    "nobody": ([ASKED, {"text": "Hi!"}], 1, "unknown role"),
    "a list for a role": ([{"role": ["user"], "text": "Hi!"}, REPLY], 0, "unknown role"),
    "blanks": ([ASKED, {"role": "assistant", "text": " \n"}], 1, "empty text"),
    "no text": ([{"role": "user"}, REPLY], 0, "its text is not text"),
    "a number": ([{"role": "user", "text": 5}, REPLY], 0, "its text is not text"),
    "a word": ([ASKED, "Hi!"], 1, "a turn is not an object"),
    "a novel": (
        [ASKED, {"role": "assistant", "text": "word " * 900}],
        1,
        "a turn of over 4,096 characters",
    ),
    "wrong decoding": (
        [ASKED, {"role": "assistant", "text": "CafÃ© au lait"}],
        1,
        "it was read in a wrong encoding (mojibake)",
    ),
    "zeros": ([{"role": "user", "text": "a\0b"}, REPLY], 0, "it holds zero bytes; is it UTF-16?"),
}


@pytest.mark.parametrize("case", TURNS)
def test_a_bad_turn_is_named(tmp_path: Path, case: str) -> None:
    turns, number, expected = TURNS[case]
    found = reason(tmp_path, {"id": "bad", "turns": turns})
    assert (found.reason, found.turn, found.dialogue) == (expected, number, "bad")
    assert len(found.row()["text"]) <= 200


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"turns": NaN}', "not JSON"),
        (b'{"turns": 1e999}', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'"caf\xe9"', "not UTF-8"),
        (b'{"turns": [{"role": "user", "text": "\\ud800"}]}', "it holds half a character"),
        (b'{"id": "\\ud800"}', "it holds half a character"),
        ({"turns": []}, "its turns are no list"),
        ({"turns": {"role": "user"}}, "its turns are no list"),
        (b"{}", "its turns are no list"),
        ({"turns": [ASKED, REPLY] * 101}, "over 200 turns"),
        ({"id": ["a"]}, "its id is not text"),
        ({"id": ""}, "its id is not text"),
        ({"id": True}, "its id is not text"),
        ({"id": "line-1"}, "its id is that of an earlier one"),
        ({"language": "de"}, "its language is neither en nor zh"),
        ({"language": 5}, "its language is neither en nor zh"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes | dict[str, Any], expected: str) -> None:
    row = line if isinstance(line, bytes) else {"turns": [ASKED, REPLY], **line}
    assert reason(tmp_path, row).reason.startswith(expected)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the file of dialogues .*no\.jsonl"):
        list(read_dialogues(tmp_path / "no.jsonl"))


def test_no_bytes_can_stop_it(tmp_path: Path) -> None:
    rng = random.Random(0)
    good = json.dumps({"turns": [SYSTEM, ASKED, REPLY]}).encode()
    for _ in range(200):
        data = bytearray(b"\n".join([good] * 5))
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        found = read(tmp_path, bytes(data))
        for one in found:
            if isinstance(one, LeftOut):
                json.dumps(one.row(), ensure_ascii=False).encode()


def test_dialogues_of_the_world_can_be_read_and_all_their_styles_be_done(tmp_path: Path) -> None:
    lines = list(dialogue_lines(300, seed=0))
    assert lines == list(dialogue_lines(300, seed=0))
    assert lines[:10] == list(dialogue_lines(10, seed=0)), "each depends on its number alone"
    assert not set(lines) & set(dialogue_lines(300, seed=1))
    found = read(tmp_path, *(line.encode() for line in lines))
    dialogues = [one for one in found if isinstance(one, WrittenDialogue)]
    assert len(dialogues) == 300
    assert {len(one.turns) for one in dialogues} == {2, 4, 6}
    replies = [turn for one in dialogues for turn in one.turns if turn.role == "assistant"]
    styles = [turn.style for turn in replies if turn.style]
    assert 0.25 < len(styles) / len(replies) < 0.42
    assert all(not styled(ASSISTANT, style).unmet for style in styles)
    changed = {styled(ASSISTANT, style).voice for style in styles}
    assert len(changed) == 9
    assert ASSISTANT not in changed
