"""Resynthesis: the measures say nothing of a copy and more the worse it is; tables hold them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from data_synth.world import LANGUAGES
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.vocoder import HiFTGenerator
from decoder.voice import Voice, write_voice
from tests.decoder.test_streaming import FLOW, VOCODERS
from tests.voiceglm.evaluation.tiny import Ear, figure, reasons, record, rows, subject
from voiceglm.audio import load_audio
from voiceglm.chat import VoiceChat
from voiceglm.evaluation import reconstruction
from voiceglm.evaluation.nano_world import READINGS
from voiceglm.evaluation.reconstruction import (
    BESIDE_VOCODED,
    WORSE,
    measure,
    own_voice,
    to_vocoded,
    vocoded,
)
from voiceglm.evaluation.sound import MEASURES, align, median_pitch, speaker_similarity
from voiceglm.evaluation.subject import Subject

RATE = 16_000
BEST = {"STOI": 1.0, "extended STOI": 1.0, "PESQ, wide band": 4.64}  # distances: 0


@pytest.fixture
def speech(nano: Path) -> Tensor:
    """The bundled question."""
    return load_audio(nano.parent / "question.wav", RATE)


@pytest.mark.parametrize("measure_", MEASURES, ids=lambda each: each.name)
def test_a_copy_is_perfect_and_noise_is_heard(measure_, speech: Tensor) -> None:
    if not measure_.is_available:
        pytest.skip(f"{measure_.package} is not installed")
    noise = torch.randn(len(speech), generator=torch.Generator().manual_seed(0))
    best = measure_.compare(speech, speech, RATE)
    some, more = (measure_.compare(speech, speech + k * noise, RATE) for k in (0.003, 0.1))
    assert best == pytest.approx(BEST.get(measure_.name, 0.0), abs=0.01)
    assert abs(some - best) <= abs(more - best)
    assert abs(more - best) > 0.02 or measure_.name == "median pitch error"


def test_a_pitch_error_is_in_semitones(tmp_path: Path) -> None:
    one, other = (load_audio(record(tmp_path / f"{hz}.wav", 1.0, hz)) for hz in (200, 225))
    (pitch,) = (each for each in MEASURES if each.name == "median pitch error")
    assert pitch.compare(one, other, RATE) == pytest.approx(2.04, abs=0.15)
    assert median_pitch(torch.zeros(RATE), RATE) is None


def test_what_is_too_short_is_not_measured(tmp_path: Path) -> None:
    short = load_audio(record(tmp_path / "s.wav", 0.2))
    for each in MEASURES[:2]:
        if each.is_available:
            assert each.compare(short, short, RATE) is None


def test_waveforms_are_compared_over_their_common_length() -> None:
    one, other = align(torch.arange(5.0), torch.arange(3.0))
    assert one.tolist() == other.tolist() == [0.0, 1.0, 2.0]


class Loudness:
    """A speaker encoder that tells speakers apart by how loud they are."""

    def embed(self, samples: Tensor, sample_rate: int) -> Tensor:
        return torch.tensor([1.0, float(samples.abs().max() > 0.5)])


def test_speakers_are_alike_by_the_angle_between_them() -> None:
    loud, soft = torch.ones(10), 0.1 * torch.ones(10)
    assert speaker_similarity(Loudness(), loud, loud, RATE) == pytest.approx(1.0)
    assert speaker_similarity(Loudness(), loud, soft, RATE) == pytest.approx(0.5**0.5)


def voiced_subject(folder: Path, *, ear: Ear | None = None, **settings: Any) -> Subject:
    """Return a subject that speaks with a tiny decoder, whose voices are in a folder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = FlowModel(replace(FLOW, num_codes=20))
        decoder = SpeechDecoder(flow, HiFTGenerator(VOCODERS["as nano"])).eval()
    for name, place in (("bruno", 0), ("somebody", 1)):
        embedding = torch.eye(2, 192)[place].tolist()
        voice = Voice(
            name=name,
            decoder=decoder.fingerprint,
            sample_rate=decoder.sample_rate,
            seconds=1.0,
            embedding=tuple(embedding),
        )
        (folder / "voices").mkdir(parents=True, exist_ok=True)
        write_voice(voice, folder / "voices")
    plain = subject(folder, ear=ear, model=str(folder), voices=folder / "voices", **settings)
    return replace(plain, chat=VoiceChat(plain.tokenizer, plain.chat.model, decoder))


def test_tables_hold_both_languages_and_say_what_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    bare = subject(tmp_path, ear=Ear("the cat"), num_readings=2)
    table = measure(bare)
    for name in (READINGS["en"], own_voice("alice", "en")):
        assert figure(table, "wrong words, resynthesis", name).count == 2
        assert figure(table, "mean difference of log-mels", name).value > 0.1
        assert figure(table, f"wrong words, {WORSE}", name).value == 0.0, "it always hears the same"
    assert figure(table, "wrong characters, resynthesis", own_voice("alice", "zh")).count == 2
    left_out = reasons(table)
    assert "no voice bruno" in left_out[own_voice("bruno", "zh")]
    assert "no vocoder" in left_out["vocoded"]
    assert "no speaker encoder" in left_out["speaker similarity"]
    assert "weights" in left_out["VisQOL, MOSNet, UTMOS"]
    told = measure(replace(bare, speakers=Loudness(), recognizer=None))
    assert figure(told, "speaker similarity", READINGS["en"]).count == 2
    assert "--recognizer" in reasons(told)["error of the recognizer"]
    kept = rows(tmp_path / "reconstruction" / "nano_world_readings_en.jsonl")
    assert {"said", "speaker similarity", "STOI"} - kept[0].keys() <= {"STOI"}


def test_errors_of_a_resynthesis_are_told_from_those_of_its_original() -> None:
    clips = reconstruction.ClipSet("a set", [], by_people=False)
    heard = [("one two", "one two"), ("one two", "one"), ("one", "one two")]
    made = [
        {"said": "one two", "heard_original": original, "heard_again": again}
        for original, again in heard
    ]
    figures = {each.what: each for each in reconstruction._heard_figures(clips, made)}
    assert figures["wrong words, original"].value == pytest.approx(100 / 6)
    worse = figures[f"wrong words, {WORSE}"]
    assert (worse.value, worse.unit) == (pytest.approx(0.0), "points")
    figures = {each.what: each for each in reconstruction._heard_figures(clips, made[:2])}
    assert figures[f"wrong words, {WORSE}"].value == pytest.approx(25.0)
    assert "wrong words, vocoded" not in figures


def test_assistants_are_vocoded_and_decoded_in_their_own_voices(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    table = measure(voiced_subject(tmp_path, ear=Ear("one"), num_readings=1))
    for name in (own_voice(who, language) for who in ("alice", "bruno") for language in LANGUAGES):
        for what in BESIDE_VOCODED:
            each = [f for f in table.figures if (f.set, f.what) == (name, to_vocoded(what))]
            assert len(each) == 1 or what == "median pitch error", "noise has no pitch"
        unit = "words" if name.endswith("en") else "characters"
        assert figure(table, f"wrong {unit}, vocoded", name).count == 1
    alice, bruno = (
        figure(table, "mean difference of log-mels", own_voice(who, "en")).value
        for who in ("alice", "bruno")
    )
    assert alice != bruno
    clips = reconstruction.nano_world.read_manifest(tmp_path / "speech" / "bruno_zh.jsonl")
    assert {clip.speaker.split("+")[0] for clip in clips} == {"cmn"}


def test_what_is_vocoded_is_as_long_and_the_same_for_a_seed(tmp_path: Path) -> None:
    decoder = voiced_subject(tmp_path).chat.decoder
    assert isinstance(decoder, SpeechDecoder)
    samples = load_audio(record(tmp_path / "a.wav"), decoder.sample_rate)
    made = vocoded(decoder, samples, seed=1)
    assert abs(len(made) - len(samples)) < 256
    assert torch.equal(made, vocoded(decoder, samples, seed=1))
