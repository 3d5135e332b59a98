"""Resynthesis: the measures say nothing of a copy and more the worse it is; tables hold them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.voiceglm.evaluation.tiny import Ear, figure, reasons, record, rows, subject
from voiceglm.audio import load_audio
from voiceglm.evaluation.nano_world import READINGS
from voiceglm.evaluation.reconstruction import OWN_VOICE, measure
from voiceglm.evaluation.sound import MEASURES, align, median_pitch, speaker_similarity

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


def test_tables_hold_both_voices_and_say_what_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    bare = subject(tmp_path, ear=Ear("the cat"), num_readings=2)
    table = measure(bare)
    for name in (READINGS, OWN_VOICE):
        assert figure(table, "wrong words, resynthesis", name).count == 2
        assert figure(table, "mean difference of log-mels", name).value > 0.1
    assert "no speaker encoder" in reasons(table)["speaker similarity"]
    assert "weights" in reasons(table)["VisQOL, MOSNet, UTMOS"]
    told = measure(replace(bare, speakers=Loudness(), recognizer=None))
    assert figure(told, "speaker similarity", READINGS).count == 2
    assert "--recognizer" in reasons(told)["error of the recognizer"]
    kept = rows(tmp_path / "reconstruction" / "nano_world_held_out_voices.jsonl")
    assert {"said", "speaker similarity", "STOI"} - kept[0].keys() <= {"STOI"}
