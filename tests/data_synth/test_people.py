"""Which recordings of people are used, and on which side."""

from dataclasses import replace
from pathlib import Path

import pytest

from data_synth.people import digit_clips, is_held_out, order_clips, people
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, write_manifest


def test_written_turns_and_what_nobody_wrote_down_are_left_out(tmp_path: Path) -> None:
    listed = [
        Utterance(tmp_path / "a.wav", "hello"),
        Utterance(None, "be brief", role="system"),
        Utterance(tmp_path / "b.wav", None),
        Utterance(tmp_path / "c.wav", "number 5"),
        Utterance(tmp_path / "d.wav", "hallo", language="de"),
        Utterance(tmp_path / "e.wav", "very long", extra={"seconds": 11.0}),
        Utterance(tmp_path / "f.wav", "你好", language="zh", speaker="S0150"),
        Utterance(tmp_path / "g.wav", "ni3", language="zh", speaker="S0150"),
    ]
    manifest = tmp_path / "m.jsonl"
    write_manifest(manifest, listed)
    sides = [people([manifest], held_out=side) for side in (False, True)]
    assert [u.text for side in sides for u in side] == ["hello", "你好"]
    assert people([manifest], held_out=False, languages=["zh"])[0].text == "你好"
    assert people([manifest], held_out=True, languages=["zh"]) == []


def test_a_speaker_is_on_one_side_and_one_in_eight_is_held_out() -> None:
    speakers = [f"speaker {number}" for number in range(800)]
    held = [is_held_out(Utterance(Path("a.wav"), "hello", speaker=who)) for who in speakers]
    again = [is_held_out(Utterance(Path("b.wav"), "good bye", speaker=who)) for who in speakers]
    assert held == again, "whatever they say"
    assert 60 <= sum(held) <= 140


def test_whom_we_name_is_where_we_say() -> None:
    def side(speaker: str, set_: str = "") -> bool:
        return is_held_out(Utterance(Path("a.wav"), "x", speaker=speaker, extra={"set": set_}))

    assert side("nicolas")
    assert side("p225")
    assert not side("Yue_Tan")
    assert not side("S0150")
    names = [f"speaker {number}" for number in range(30)]
    assert all(side(name, "aishell_test_excerpt") for name in names)
    assert not all(map(side, names))


def test_digits_are_read_off_the_names_of_their_files(tmp_path: Path) -> None:
    for name in ("7_george_0", "0_george_12", "3_nicolas_1"):
        (tmp_path / f"{name}.wav").touch()
    (tmp_path / "README.md").touch()
    (tmp_path / "noise.wav").touch()
    trained, measured = (digit_clips(tmp_path, held_out=side) for side in (False, True))
    assert [(clip.text, clip.speaker, clip.language) for clip in trained] == [
        ("zero", "george", "en"),
        ("seven", "george", "en"),
    ]
    assert [(clip.text, clip.speaker) for clip in measured] == [("three", "nicolas")]


def test_orders_have_an_answer_and_one_in_five_is_held_out(tmp_path: Path) -> None:
    orders = [
        Utterance(tmp_path / f"{n}.flac", None, extra={"slots": {"coffeeDrink": " latte"}})
        for n in range(400)
    ]
    write_manifest(tmp_path / "m.jsonl", [*orders, Utterance(tmp_path / "a.wav", "hello")])
    trained, measured = (order_clips([tmp_path / "m.jsonl"], held_out=s) for s in (False, True))
    assert len(trained) + len(measured) == 400
    assert 50 <= len(measured) <= 110
    assert {order.extra["answer"] for order in trained} == {"One latte."}
    other_format = replace(measured[0], path=measured[0].recording.with_suffix(".wav"))
    assert is_held_out(other_format)


def test_an_order_that_cannot_be_repeated_is_named(tmp_path: Path) -> None:
    order = Utterance(tmp_path / "a.wav", None, extra={"slots": {"size": "small"}})
    write_manifest(tmp_path / "m.jsonl", [order])
    side = is_held_out(order)
    with pytest.raises(ConfigError, match="cannot be repeated: there is no coffeeDrink"):
        order_clips([tmp_path / "m.jsonl"], held_out=side)


def test_a_label_that_is_no_order_is_named(tmp_path: Path) -> None:
    order = Utterance(tmp_path / "a.wav", None, extra={"slots": {"coffeeDrink": 3}})
    write_manifest(tmp_path / "m.jsonl", [order])
    with pytest.raises(ConfigError, match=r"a\.wav is labelled with no order"):
        order_clips([tmp_path / "m.jsonl"], held_out=is_held_out(order))


def test_a_folder_without_digits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no spoken digits: expected DIGIT_SPEAKER_INDEX"):
        digit_clips(tmp_path, held_out=False)
