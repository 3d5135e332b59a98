"""Stereo dialogues: turns as they are told, turns found by ear, turns that cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data_synth.intake import Intake
from data_synth.layouts import convert, detect_layout
from data_synth.levels import dbfs, frame_powers, frame_size, read_blocks
from data_synth.turns import FoundTurn, TurnRules, find_turns
from tests.data_synth.corpora_files import RATE, record, tone, truncate
from voiceglm.manifest import Utterance, read_manifest, read_samples, write_manifest

SPOKEN = ((0, 0.5, 1.5), (1, 2.0, 4.0), (0, 5.0, 6.0))  # channel, start, end in seconds


def call(path: Path, spoken: tuple = SPOKEN, *, noise: float = 1e-3, echo: float = 0.0) -> Path:
    """Record a call of seven seconds, with noise on both lines and an echo of the other one."""
    samples = noise * np.random.default_rng(0).standard_normal((7 * RATE, 2))
    for channel, start, end in spoken:
        first, sound = round(start * RATE), tone(end - start)
        samples[first : first + len(sound), channel] += sound
        samples[first : first + len(sound), 1 - channel] += echo * sound
    return record(path, samples)


def taken(source: Path) -> tuple[list[Utterance], dict[str, int]]:
    intake = Intake(source)
    return list(convert(source, intake)), dict(intake.rejected)


def told(*turns: object) -> str:
    return json.dumps({"turns": turns})


def test_told_turns_are_taken_in_the_order_of_time(tmp_path: Path) -> None:
    call(tmp_path / "day1" / "call.wav")
    (tmp_path / "day1" / "call.json").write_text(
        told(
            {"role": "assistant", "start": 2.0, "end": 4.0, "text": "It is\nfour."},
            {"channel": 0, "start": 0.5, "end": 1.5, "text": "What is 2+2?", "speaker": "Ann"},
            {"channel": 0, "start": 5.0, "end": 7.05, "text": None, "role": "user"},
            {"role": "system", "text": "Be brief."},
        )
    )
    assert detect_layout(tmp_path) == "dialogues"
    found, rejected = taken(tmp_path)
    assert not rejected
    assert [(u.turn, u.role, u.channel, u.text, u.speaker) for u in found] == [
        (0, "system", None, "Be brief.", ""),
        (1, "user", 0, "What is 2+2?", "Ann"),
        (2, "assistant", 1, "It is four.", ""),
        (3, "user", 0, None, ""),
    ]
    assert {u.dialogue for u in found} == {"day1/call"}
    assert [(u.start, u.num_samples) for u in found] == [
        (0, None),
        (8_000, 16_000),
        (32_000, 32_000),
        (80_000, 32_000),
    ]
    assert found[0].path is None
    write_manifest(tmp_path / "m.jsonl", found)
    assert read_manifest(tmp_path / "m.jsonl") == found


def test_a_turn_is_heard_on_its_own_channel(tmp_path: Path) -> None:
    call(tmp_path / "call.wav", noise=0.0)
    (tmp_path / "call.jsonl").write_text('{"channel": 1, "start": 2.0, "end": 4.0}\n')
    [turn], _ = taken(tmp_path)
    expected = torch.from_numpy(tone(2.0)).float()
    torch.testing.assert_close(read_samples(turn, RATE), expected, atol=1e-4, rtol=0)


def test_roles_may_be_on_either_channel(tmp_path: Path) -> None:
    call(tmp_path / "call.wav")
    rows = [{"channel": c, "role": r, "start": 0, "end": 1} for c, r in ((1, "user"), (0, None))]
    (tmp_path / "call.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found, _ = taken(tmp_path)
    assert [(u.channel, u.role) for u in found] == [(0, "user"), (1, "user")]


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        (3, "turn is no JSON object"),
        ({"start": 0, "end": 1}, "turn has neither a channel nor a role"),
        ({"role": "robot", "start": 0, "end": 1}, "role of a turn is none of user, assistant"),
        ({"role": [], "start": 0, "end": 1}, "role of a turn is none of user, assistant"),
        ({"channel": 2, "start": 0, "end": 1}, "channel of a turn is neither 0 nor 1"),
        ({"channel": True, "start": 0, "end": 1}, "channel of a turn is neither 0 nor 1"),
        ({"channel": 0, "start": 1, "end": 1}, "times of a turn are not inside its recording"),
        ({"channel": 0, "start": 6, "end": 8}, "times of a turn are not inside its recording"),
        ({"channel": 0, "start": -1, "end": 1}, "start or end of a turn is no time in seconds"),
        ({"channel": 0, "start": "0", "end": 1}, "start or end of a turn is no time in seconds"),
        ({"channel": 0, "start": 0, "end": 10**400}, "start or end of a turn is no time"),
        ({"channel": 0, "end": 1}, "start or end of a turn is no time in seconds"),
        ({"channel": 0, "start": 0, "end": 1, "text": 3}, "text or speaker of a turn is no text"),
        ({"channel": 0, "start": 0, "end": 1, "text": " "}, "transcript is empty"),
        ({"role": "system"}, "written turn without a text"),
    ],
)
def test_a_bad_turn_is_counted_and_the_next_one_taken(
    tmp_path: Path, turn: object, reason: str
) -> None:
    call(tmp_path / "call.wav")
    good = {"channel": 1, "start": 2, "end": 4, "text": "Good."}
    (tmp_path / "call.json").write_text(told(turn, good))
    found, rejected = taken(tmp_path)
    assert [u.text for u in found] == ["Good."]
    [(why, count)] = rejected.items()
    assert why.startswith(reason)
    assert count == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "turns are not JSON"),
        (b"", "turns are not JSON"),
        (b"[" * 100_000, "turns are not JSON"),
        (b'{"alignments": []}', "turns are no list"),
        (b"\xff\xfe[\x00]\x00", "line is not UTF-8"),
    ],
)
def test_turns_that_cannot_be_read_spoil_no_other_call(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    for name in ("a", "b"):
        call(tmp_path / f"{name}.wav")
        (tmp_path / f"{name}.json").write_text(told({"channel": 0, "start": 0, "end": 1}))
    (tmp_path / "a.json").write_bytes(content)
    found, rejected = taken(tmp_path)
    assert [u.dialogue for u in found] == ["b"]
    assert reason in rejected


def test_turns_are_found_where_nobody_wrote_them_down(tmp_path: Path) -> None:
    call(tmp_path / "call.wav")
    found, rejected = taken(tmp_path)
    assert not rejected
    assert [(u.channel, u.role, u.text, u.turn) for u in found] == [
        (0, "user", None, 0),
        (1, "assistant", None, 1),
        (0, "user", None, 2),
    ]
    for utterance, (_, start, end) in zip(found, SPOKEN, strict=True):
        assert utterance.num_samples
        assert utterance.start / RATE == pytest.approx(start - 0.1, abs=0.041)
        last = (utterance.start + utterance.num_samples) / RATE
        assert last == pytest.approx(end + 0.1, abs=0.041)


def levels(path: Path) -> np.ndarray:
    return dbfs(np.concatenate([frame_powers(b, frame_size(r)) for b, r in read_blocks(path)]))


def test_what_a_microphone_hears_of_the_other_side_is_no_turn(tmp_path: Path) -> None:
    found = find_turns(levels(call(tmp_path / "call.wav", echo=0.1)), TurnRules())
    assert [turn.channel for turn in found] == [0, 1, 0]
    loose = find_turns(levels(tmp_path / "call.wav"), TurnRules(crosstalk_db=60.0))
    assert len(loose) > 3


def test_both_may_speak_at_once(tmp_path: Path) -> None:
    path = call(tmp_path / "call.wav", ((0, 1.0, 4.0), (1, 2.0, 3.0)))
    assert [turn.channel for turn in find_turns(levels(path), TurnRules())] == [0, 1]


def test_a_short_pause_ends_no_turn_and_a_click_is_none() -> None:
    quiet, loud = -70.0, -20.0
    one = np.full((500, 1), quiet)  # ten seconds
    one[50:100] = one[130:180] = one[300:310] = one[400:450] = loud
    rules = TurnRules(margin_seconds=0.0)
    assert find_turns(one, rules) == [FoundTurn(1.0, 3.6, 0), FoundTurn(8.0, 9.0, 0)]
    apart = find_turns(one, TurnRules(margin_seconds=0.0, max_pause_seconds=0.5))
    assert [turn.start for turn in apart] == [1.0, 2.6, 8.0]


def test_steady_noise_is_nobody_speaking() -> None:
    assert find_turns(np.full((500, 2), -20.0), TurnRules()) == []
    assert find_turns(np.full((0, 2), -20.0), TurnRules()) == []


def test_a_call_in_which_nobody_speaks_is_counted(tmp_path: Path) -> None:
    call(tmp_path / "call.wav", ())
    call(tmp_path / "then.wav")
    found, rejected = taken(tmp_path)
    assert {u.dialogue for u in found} == {"then"}
    assert rejected == {"recording in which nobody speaks": 1}


def test_recordings_that_are_no_calls_are_counted(tmp_path: Path) -> None:
    call(tmp_path / "a.wav")
    record(tmp_path / "b.wav")
    truncate(call(tmp_path / "c.wav"))
    found, rejected = taken(tmp_path)
    assert {u.dialogue for u in found} == {"a"}
    assert rejected == {
        "recording has 1 channels, expected 2": 1,
        "recording cannot be read": 1,
    }


def test_one_microphone_recorded_twice_is_no_dialogue(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", np.stack([tone(), 0.5 * tone()], axis=1))
    assert detect_layout(tmp_path) == "folder"
    [whole], _ = taken(tmp_path)
    assert whole.channel is None


def test_a_long_file_is_read_in_pieces_that_join(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (70 * 1_000 + 7, 2))
    path = record(tmp_path / "long.wav", samples, rate=1_000)
    blocks = [block for block, _ in read_blocks(path, 11, 65_003)]
    assert len(blocks) == 3
    joined = np.concatenate(blocks)
    assert joined.shape == (65_003, 2)
    np.testing.assert_allclose(joined, samples[11:65_014], atol=1e-4)
    pieces = np.concatenate([frame_powers(block, 20) for block in blocks])
    np.testing.assert_allclose(pieces, frame_powers(joined, 20))
