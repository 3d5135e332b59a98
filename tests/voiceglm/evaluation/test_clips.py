"""Sets of recordings: public layouts are found and read, what is missing is named."""

import shutil
from pathlib import Path

import pytest

from tests.data_synth.corpora_files import aishell, librispeech
from tests.voiceglm.evaluation.tiny import record, subject
from voiceglm.error_rate import character_errors, plain
from voiceglm.errors import ConfigError, DependencyError
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.clips import ClipSet, clip_sets, spoken_words
from voiceglm.evaluation.pairs import pair_sets
from voiceglm.evaluation.questions import question_sets
from voiceglm.evaluation.tables import Skipped
from voiceglm.manifest import Utterance, write_manifest


@pytest.fixture(autouse=True)
def _espeak() -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with LibriSpeech and AISHELL-1."""
    made = librispeech(tmp_path / "made")
    home = tmp_path / "data" / "LibriSpeech"
    home.mkdir(parents=True)
    shutil.move(made / "train-clean-100", home / "test-clean")
    aishell(tmp_path / "data")
    return tmp_path / "data"


def test_public_sets_are_found_by_their_names(data: Path, tmp_path: Path) -> None:
    sets, skipped = clip_sets(subject(tmp_path / "out", data=data, num_readings=9))
    by_name = {clips.name: clips for clips in sets}
    clean = by_name["LibriSpeech test-clean"]
    assert {clip.text for clip in clean.clips} >= {"HELLO NUMBER 0", "HELLO NUMBER 1"}
    assert (clean.language, clean.unit, clean.column) == ("en", "words", clean.name)
    reasons = {each.what: each.reason for each in skipped}
    assert "test-other" in reasons["LibriSpeech test-other"]
    assert "recording is missing: 1" in reasons["LibriSpeech test-clean"]


def test_of_aishell_only_the_test_part_is_measured(data: Path, tmp_path: Path) -> None:
    sets, _ = clip_sets(subject(tmp_path / "out", data=data))
    (chinese,) = (clips for clips in sets if clips.name == "AISHELL-1 test")
    assert [clip.recording.stem for clip in chinese.clips] == ["BAC009S0764W0121"]
    assert (chinese.language, chinese.unit) == ("zh", "characters")


def test_without_data_the_nano_world_is_left(tmp_path: Path) -> None:
    sets, skipped = clip_sets(subject(tmp_path))
    assert [(clips.name, clips.unit, len(clips.clips)) for clips in sets] == [
        (nano_world.READINGS["en"], "words", 3),
        (nano_world.READINGS["zh"], "characters", 3),
    ]
    given = {"no --data folder was given", "no --recordings were given"}
    assert {each.reason for each in skipped} == given


def test_of_people_only_those_never_trained_on_are_measured(tmp_path: Path) -> None:
    """Of digits' speakers, nicolas; of a set that is held out, everybody."""
    record(tmp_path / "a.wav")
    held_out = {"set": "aishell_test_excerpt"}
    clips = [
        Utterance(tmp_path / "a.wav", "two", speaker="nicolas"),
        Utterance(tmp_path / "a.wav", "three", speaker="S0150"),
        Utterance(tmp_path / "a.wav", "二", speaker="A", language="zh", extra=held_out),
        Utterance(tmp_path / "a.wav", "三", speaker="S0150", language="zh"),
    ]
    write_manifest(tmp_path / "m.jsonl", clips)
    sets, skipped = clip_sets(subject(tmp_path / "out", recordings=(tmp_path / "m.jsonl",)))
    found = {one.name: ([clip.text for clip in one.clips], one.unit) for one in sets[2:]}
    assert found == {
        "people never trained on, en": (["two"], "words"),
        "people never trained on, zh": (["二"], "characters"),
    }
    assert "people never trained on" not in {each.what for each in skipped}


def test_a_manifest_is_a_set_a_language(tmp_path: Path) -> None:
    clips = [
        Utterance(record(tmp_path / "mine" / "a.wav"), "one"),
        Utterance(record(tmp_path / "mine" / "b.wav"), "一", language="zh"),
        Utterance(record(tmp_path / "mine" / "c.wav"), None),
    ]
    manifest = tmp_path / "mine" / "m.jsonl"
    write_manifest(manifest, clips)
    sets, _ = clip_sets(subject(tmp_path / "out", manifests=(manifest,)))
    assert [(s.name, len(s.clips)) for s in sets[2:]] == [("mine, en", 1), ("mine, zh", 1)]


def test_a_damaged_manifest_is_one_clear_line(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("{not json}\n")
    with pytest.raises(ConfigError, match=r"m\.jsonl line 1 is not an utterance"):
        clip_sets(subject(tmp_path / "out", manifests=(manifest,)))


def test_a_draw_is_that_of_its_seed_and_in_order(tmp_path: Path) -> None:
    one, again, other = (subject(tmp_path, seed=seed) for seed in (1, 1, 2))
    drawn = one.chosen(range(100), 5)
    assert drawn == again.chosen(range(100), 5) == sorted(drawn)
    assert drawn != other.chosen(range(100), 5)
    assert one.chosen(range(3), 5) == [0, 1, 2]


@pytest.mark.parametrize(
    ("said", "heard", "people", "edits"),
    [
        ("twenty one dogs", "21 dogs", True, 0),
        ("twenty one dogs", "21 dogs", False, 2),
        ("I am here", "I'm here.", True, 0),
        ("CAFÉ", "cafe", False, 0),
    ],
)
def test_words_of_people_are_normalized_as_whisper_does(
    said: str, heard: str, people: bool, edits: int
) -> None:
    assert ClipSet("x", [], by_people=people).errors(said, heard).edits == edits


def test_chinese_is_counted_in_characters_without_blanks_and_punctuation() -> None:
    said = {"said": "你好,  世界!A1", "heard": "你好世 介a1。"}
    found = character_errors([said], language="zh")
    assert (found.edits, found.length) == (1, 6)
    assert plain("ＡＢ c，中文。", "zh") == "abc中文"
    clips = [Utterance(Path("x.wav"), "中", language="zh")]
    assert ClipSet("x", clips).errors("你好", "你").edits == 1


def test_numbers_become_digits() -> None:
    assert spoken_words("Nineteen eighty four.") == "1984"


def test_without_the_synthesizer_public_sets_are_still_measured(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    def missing(text: str, voice: object) -> None:
        raise DependencyError("speech synthesis needs espeak-ng")

    monkeypatch.setattr("voiceglm.evaluation.nano_world.speak_alone", missing)
    one = subject(tmp_path / "out", data=data)
    sets, skipped = clip_sets(one)
    assert {clips.name for clips in sets} == {"LibriSpeech test-clean", "AISHELL-1 test"}
    for name in nano_world.READINGS.values():
        assert Skipped(name, "speech synthesis needs espeak-ng") in skipped
    for found in (pair_sets(one), question_sets(one)):
        assert found[0] == []
        assert "espeak-ng" in found[1][0].reason
