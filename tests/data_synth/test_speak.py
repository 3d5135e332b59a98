"""Packs: a killed run goes on without losing or repeating a line."""

import random
from pathlib import Path

import pytest
import soundfile

import data_synth.speak
from data_synth.corpus import answered
from data_synth.speak import Line, speak
from data_synth.speech_sets import VoicesData, answers_to, cast, speak_voices
from data_synth.tts import ASSISTANT, Espeak, Voice, trim
from voiceglm.errors import SynthesisError
from voiceglm.manifest import Utterance, read_manifest, read_samples

pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven")


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_synth.speak, "LINES_PER_PACK", 3)


def line(number: int, rng: random.Random) -> Line:
    voice = Voice(rng.choice(("en-us+f2", "en+m3")), rate=rng.randint(150, 200))
    return Line(f"{NUMBERS[number % 7]} {rng.choice(NUMBERS)}.", voice, {"number": number})


def run(folder: Path, num_lines: int = 8, seed: str = "a") -> list[Utterance]:
    return speak(folder, line, num_lines=num_lines, sample_rate=16_000, seed=seed)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_lines_become_packs_and_a_manifest(tmp_path: Path) -> None:
    utterances = run(tmp_path / "set")
    assert read_manifest(tmp_path / "set" / "manifest.jsonl") == utterances
    assert [utterance.extra["number"] for utterance in utterances] == list(range(8))
    names = [utterance.recording.name for utterance in utterances]
    assert names == ["pack_0000.wav"] * 3 + ["pack_0001.wav"] * 3 + ["pack_0002.wav"] * 2
    for utterance in utterances:
        samples = read_samples(utterance, 16_000)
        assert len(samples) == utterance.num_samples
        assert 0.2 < len(samples) / 16_000 < 4
        assert samples.abs().max() > 0.05, "something is said"
    info = soundfile.info(utterances[0].recording)
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert info.frames == sum(utterance.num_samples or 0 for utterance in utterances[:3])


@pytest.mark.parametrize("killed", ["before the manifest", "before the pack", "in the middle"])
def test_a_killed_run_goes_on(tmp_path: Path, killed: str) -> None:
    folder = tmp_path / "set"
    before = run(folder)
    kept = {name: data for name, data in files(folder).items() if "0001" not in name}
    (folder / "pack_0001.jsonl").unlink()
    if killed != "before the manifest":
        (folder / "pack_0001.wav").unlink()
    if killed == "in the middle":
        (folder / "manifest.jsonl").unlink()
    stamp = (folder / "pack_0000.wav").stat().st_mtime_ns

    after = run(folder)
    said = [(u.text, u.speaker, u.extra, u.path, u.start > 0) for u in before]
    assert [(u.text, u.speaker, u.extra, u.path, u.start > 0) for u in after] == said
    assert (folder / "pack_0000.wav").stat().st_mtime_ns == stamp, "finished packs are kept"
    again = files(folder)
    del kept["manifest.jsonl"]  # espeak's noise differs a little, and with it the lengths
    assert kept.items() <= again.items()
    assert sorted(again) == sorted([*kept, "manifest.jsonl", "pack_0001.jsonl", "pack_0001.wav"])


def test_a_finished_set_needs_no_synthesizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(tmp_path / "set")

    def absent() -> None:
        raise AssertionError("a synthesizer was started")

    monkeypatch.setattr(data_synth.speak, "Espeak", absent)
    assert run(tmp_path / "set") == before


def test_what_is_said_follows_from_the_seed(tmp_path: Path) -> None:
    once, other = (run(tmp_path / seed, 4, seed) for seed in "ab")
    assert [u.text for u in once] != [u.text for u in other]
    longer = run(tmp_path / "longer", 6, "a")
    drawn = [((u.text or "").split()[1], u.speaker) for u in longer]
    assert drawn[:3] != drawn[3:], "packs do not repeat one another"
    assert [u.text for u in longer[:3]] == [u.text for u in once[:3]], "whole packs do not change"


def test_answers_are_spoken_once_in_each_dialect() -> None:
    asked = [
        Utterance(Path("a.wav"), "q", extra={"answer": answer, "style": style})
        for answer, style in (
            ("B.", []),
            ("A.", ["british", "fast_1"]),
            ("B.", ["fast_1", "loud"]),
            ("A.", ["british"]),
            ("B.", ["scottish"]),
        )
    ]
    found = [(line.text, line.extra["dialect"]) for line in answers_to(asked)]
    assert found == [("B.", ""), ("A.", "british"), ("B.", "scottish")]


def test_assistants_read_what_the_first_reads_at_her_pace(tmp_path: Path) -> None:
    plain = [
        answered("The capital of South Korea is Seoul, and that of Nepal is Kathmandu.", "en"),
        answered("韩国的首都是首尔，尼泊尔的首都是加德满都。", "zh"),
    ]
    said = speak(
        tmp_path / "plain", lambda n, _: plain[n], num_lines=2, sample_rate=22_050, seed=""
    )
    lengths = {one.text: one.num_samples or 0 for one in said}
    data = VoicesData(lines=40, made_up=2, made_up_share=0.25)
    spoken = speak_voices(tmp_path / "voices", data, plain)
    assert [one.speaker for one in spoken[:10]] == ["voice_000", "voice_001"] * 5
    assistants = spoken[10:]
    assert {one.speaker for one in assistants} == set(cast())
    for one in assistants:
        assert plain[one.extra["plain"]].text == one.text
        assert abs((one.num_samples or 0) / lengths[one.text] - 1) < 0.05, one.speaker


def test_a_voice_that_is_not_there_is_named() -> None:
    with pytest.raises(SynthesisError, match="has no voice 'en-nowhere'"):
        Espeak().speak("hello", Voice("en-nowhere"))
    with pytest.raises(SynthesisError, match="said nothing"):
        Espeak().speak("", ASSISTANT)


def test_silence_at_the_ends_is_cut() -> None:
    samples = Espeak().speak("hello", ASSISTANT)
    loud = (samples.abs() > 0.005).nonzero()
    assert int(loud[0]) <= 1_100
    assert len(samples) - int(loud[-1]) <= 1_101
    silence = samples.new_zeros(100)
    assert len(trim(silence)) == 100
