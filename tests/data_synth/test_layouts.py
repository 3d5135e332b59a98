"""Corpora to utterances: what is taken from each layout, and what is counted instead."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from data_synth.intake import Intake
from data_synth.layouts import LAYOUTS, convert, detect_layout
from tests.data_synth import corpora_files as made
from tests.data_synth.speech_archives import cut, lhotse_cuts, write_lines
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, read_manifest, read_samples, write_manifest


def lhotse(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    write_lines(folder / "odd_cuts.jsonl", [cut(9, "wavs/none.wav"), "{torn"])
    lhotse_cuts(folder / "train_cuts.jsonl.gz", 2, home=folder)
    return folder


MADE: dict[str, Callable[[Path], Path]] = {
    "ljspeech": made.ljspeech,
    "librispeech": made.librispeech,
    "common-voice": made.common_voice,
    "aishell": made.aishell,
    "lhotse": lhotse,
    "folder": made.plain_folder,
}


def taken(source: Path, **options: str) -> tuple[list[Utterance], dict[str, int]]:
    """Convert, and return the utterances and why others were left out."""
    intake = Intake(source)
    return list(convert(source, intake, **options)), dict(intake.rejected)


def test_ljspeech(tmp_path: Path) -> None:
    found, rejected = taken(made.ljspeech(tmp_path / "LJ"))
    assert [(u.recording.name, u.text) for u in found] == [
        ("LJ001-0001.wav", "Printing, in fourteen fifty-five."),
        ("LJ001-0002.wav", 'He said "no".'),
        ("LJ001-0003.wav", "only two columns"),
    ]
    assert {(u.speaker, u.language, u.num_samples) for u in found} == {("LJ", "en", 11_025)}
    assert found[0].extra == {"seconds": 0.5}
    assert rejected == {
        "recording is missing": 2,
        "recording cannot be read": 1,
        "no transcript: expected id|raw|normalized": 1,
        "transcript is empty": 1,
        "control characters in the transcript": 1,
        "name leads out of the corpus": 1,
        "transcript has over 20,000 characters": 1,
        "line is not UTF-8": 1,
    }


def test_lhotse(tmp_path: Path) -> None:
    found, rejected = taken(lhotse(tmp_path / "lists"))
    assert [(u.recording.name, u.text, u.speaker) for u in found] == [
        ("0.wav", "number 0", "anna"),
        ("1.wav", "number 1", "anna"),
    ]
    assert {(u.start, u.num_samples, u.language) for u in found} == {(8_000, 16_000, "en")}
    assert [u.extra["cut"] for u in found] == ["cut-0_sp1.0", "cut-1_sp1.1"]
    assert rejected == {"recording is missing": 1, "not JSON": 1}
    one, _ = taken(tmp_path / "lists" / "train_cuts.jsonl.gz")
    assert [u.text for u in one] == ["number 0", "number 1"]
    (tmp_path / "x.tar").touch()
    with pytest.raises(ConfigError, match=r"x\.tar holds its recordings inside"):
        detect_layout(tmp_path / "x.tar")


def test_librispeech(tmp_path: Path) -> None:
    found, rejected = taken(made.librispeech(tmp_path))
    assert [(u.recording.name, u.text, u.speaker) for u in found] == [
        ("103-1240-0000.flac", "HELLO NUMBER 0", "103"),
        ("103-1240-0001.flac", "HELLO NUMBER 1", "103"),
        ("1034-121119-0000.flac", "HELLO NUMBER 0", "1034"),
    ]
    assert rejected == {"recording is missing": 1, "recording without a transcript": 1}
    part, _ = taken(tmp_path / "train-clean-100" / "1034")
    assert [u.text for u in part] == ["HELLO NUMBER 0"]


def test_common_voice(tmp_path: Path) -> None:
    found, rejected = taken(made.common_voice(tmp_path))
    assert [(u.recording.name, u.text, u.speaker) for u in found] == [
        ("common_voice_de_1.mp3", "Guten Tag.", "aa"),
        ("common_voice_de_2.mp3", 'Er sagte "nein".', "bb"),
    ]
    assert {(u.language, u.num_samples) for u in found} == {("de", None)}
    first, second = (dict(u.extra) for u in found)
    assert first.pop("seconds") == second.pop("seconds") == pytest.approx(0.5, abs=0.1)
    assert first == {"gender": "female", "age": "twenties"}
    assert second == {"locale": "de-AT"}
    assert rejected == {
        "recording is missing": 1,
        "transcript is empty": 1,
        "row without a path or a sentence": 1,
    }
    part, _ = taken(tmp_path / "train.tsv")
    assert [u.text for u in part] == ["Guten Tag."]


def test_common_voice_parts_are_joined_where_there_is_no_whole(tmp_path: Path) -> None:
    made.common_voice(tmp_path)
    (tmp_path / "validated.tsv").rename(tmp_path / "dev.tsv")
    (tmp_path / "test.tsv").write_text("client_id\tpath\naa\tcommon_voice_de_3.mp3\n")
    found, rejected = taken(tmp_path)
    assert len(found) == 3
    assert rejected["table without the column sentence"] == 1


def test_aishell(tmp_path: Path) -> None:
    found, rejected = taken(made.aishell(tmp_path))
    assert [(u.recording.name, u.text, u.speaker) for u in found] == [
        ("BAC009S0764W0121.wav", "甚至出现交易几乎停滞的情况", "S0764"),
        ("BAC009S0002W0122.wav", "而对楼市成交P P I作用最大的限购", "S0002"),
    ]
    assert {u.language for u in found} == {"zh"}
    assert [u.extra["part"] for u in found] == ["test", "train"]
    assert rejected == {"recording is missing": 1, "recording without a transcript": 1}
    assert len(taken(tmp_path / "data_aishell")[0]) == 2


def test_a_plain_folder(tmp_path: Path) -> None:
    found, rejected = taken(made.plain_folder(tmp_path))
    assert [(u.recording.relative_to(tmp_path).as_posix(), u.text) for u in found] == [
        ("b.wav", None),
        ("a/one.ogg", "Hello, there."),
    ]
    assert rejected == {"line is not UTF-8": 1, "transcript has over 20,000 characters": 1}


@pytest.mark.parametrize("layout", MADE)
def test_each_layout_is_recognized(tmp_path: Path, layout: str) -> None:
    assert detect_layout(MADE[layout](tmp_path)) == layout


@pytest.mark.parametrize("layout", MADE)
def test_each_layout_ends_in_a_manifest_that_can_be_read(tmp_path: Path, layout: str) -> None:
    found, _ = taken(MADE[layout](tmp_path / "corpus"))
    again, _ = taken(tmp_path / "corpus")
    assert again == found, "the same files give the same utterances"
    write_manifest(tmp_path / "m.jsonl", found)
    listed = read_manifest(tmp_path / "m.jsonl")
    assert [u.text for u in listed] == [u.text for u in found]
    for utterance in listed:
        seconds = len(read_samples(utterance, 16_000)) / 16_000
        assert seconds == pytest.approx(utterance.extra["seconds"], abs=0.15)


def test_utterances_come_one_by_one(tmp_path: Path) -> None:
    made.ljspeech(tmp_path)
    intake = Intake(tmp_path)
    next(convert(tmp_path, intake))
    assert not intake.rejected, "nothing is read before it is asked for"


def test_a_named_layout_and_language_are_obeyed(tmp_path: Path) -> None:
    found, _ = taken(made.ljspeech(tmp_path), layout="folder", language="de")
    assert [(u.recording.name, u.text, u.language) for u in found] == [
        (f"LJ001-000{n}.wav", None, "de") for n in (1, 2, 3)
    ]
    with pytest.raises(ConfigError, match="no layout called 'vctk'; known: ljspeech, "):
        taken(tmp_path, layout="vctk")


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        detect_layout(tmp_path / "nope")
    with pytest.raises(ConfigError, match="holds no recordings"):
        detect_layout(tmp_path)
    (tmp_path / "a.csv").touch()
    with pytest.raises(ConfigError, match="is a file, expected a folder, a"):
        detect_layout(tmp_path / "a.csv")


def test_the_places_of_bad_rows_are_told(tmp_path: Path) -> None:
    made.ljspeech(tmp_path)
    intake = Intake(tmp_path)
    list(convert(tmp_path, intake))
    assert intake.examples["transcript is empty"] == ["metadata.csv line 7"]
    assert intake.examples["line is not UTF-8"] == ["metadata.csv line 12"]
    [message] = intake.examples["recording cannot be read"]
    assert "LJ001-0006.wav is truncated" in message


def test_every_kind_of_unreadable_recording_is_counted(tmp_path: Path) -> None:
    made.record(tmp_path / "good.wav")
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.flac").touch()
    (tmp_path / "gone.mp3").symlink_to(tmp_path / "nowhere.mp3")
    soundfile.write(tmp_path / "header.wav", made.tone(0.0), 16_000)
    (tmp_path / b"odd\xff.wav".decode("utf-8", "surrogateescape")).write_bytes(
        (tmp_path / "good.wav").read_bytes()
    )
    (tmp_path / b"empty\xff.wav".decode("utf-8", "surrogateescape")).touch()
    found, rejected = taken(tmp_path)
    assert [u.recording.name for u in found] == ["good.wav"]
    assert rejected == {"recording cannot be read": 4, "file name is not UTF-8": 2}


def test_lists_that_cannot_be_read_do_not_stop_the_others(tmp_path: Path) -> None:
    made.librispeech(tmp_path)
    transcript = next(tmp_path.rglob("103-1240.trans.txt"))
    transcript.unlink()
    transcript.symlink_to(tmp_path / "nowhere")
    found, rejected = taken(tmp_path, layout="librispeech")
    assert len(found) == 1
    assert rejected == {"list cannot be read": 1, "recording without a transcript": 3}


def test_the_table_of_layouts_is_the_commands(tmp_path: Path) -> None:
    from voiceglm.commands.synth_manifest import LAYOUTS as OFFERED

    assert tuple(LAYOUTS) == OFFERED
