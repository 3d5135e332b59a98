"""What is measured of a decoder: distances that are zero where nothing differs, rows, a table."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from decoder.evaluate import WAYS, Judges, measure_clips, own_voice, summarize, table
from decoder.features import LogMel
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.reconstruction import distances, median_pitch, pitch_distance
from decoder.speaker import SpeakerConfig, SpeakerEncoder
from decoder.vocoder import HiFTGenerator
from tests.decoder.buzzers import RATE, buzz, write_buzzers
from tests.decoder.test_streaming import FLOW, VOCODERS
from voiceglm.manifest import read_manifest

LOG_MEL = LogMel()


def test_equal_speech_has_no_distance() -> None:
    sound = buzz("ann", [0, 1, 2, 3] * 3)
    found = distances(sound, sound, LOG_MEL)
    assert found == {"mel": 0.0, "decibels": 0.0, "voicing_error": 0.0, "pitch_error": 0.0}
    other = distances(buzz("cid", [0, 1, 2, 3] * 3), sound, LOG_MEL)
    assert min(other["mel"], other["decibels"]) > 0.1
    assert other["pitch_error"] == pytest.approx(0.336, abs=0.05)  # ln(210 / 150)
    assert median_pitch(sound, LOG_MEL) == pytest.approx(210, rel=0.02)
    assert median_pitch(torch.zeros(RATE), LOG_MEL) == 0


def test_pitch_is_compared_where_both_are_voiced() -> None:
    ours, theirs = torch.tensor([100.0, 0.0, 110.0, 0.0]), torch.tensor([100.0, 90.0, 100.0, 0.0])
    found = pitch_distance(ours, theirs)
    assert found["voicing_error"] == 0.25
    assert found["pitch_error"] == pytest.approx(0.0477, abs=1e-3)
    assert pitch_distance(torch.zeros(3), theirs[:3])["pitch_error"] == 0


class Hearing:
    """Hears two letters of four."""

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        assert sample_rate == 16_000
        return "la"


def test_clips_are_measured_on_both_ways(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = SpeechDecoder(FlowModel(FLOW), HiFTGenerator(VOCODERS["as nano"])).eval()
        encoder = SpeakerEncoder(SpeakerConfig(channels=8, dilations=(1,))).eval()
    utterances = read_manifest(write_buzzers(tmp_path, 1))
    clips = [(one, list(one.extra["codes"])) for one in utterances]
    judges = Judges(recognizer=Hearing(), encoder=encoder)
    rows = measure_clips(decoder, clips, judges, own_voice(decoder, encoder))
    assert [row["speaker"] for row in rows] == ["ann", "ben", "cid", "dora"]
    for row in rows:
        assert row["voice"] == "own"
        assert row["recording"]["similarity"] == pytest.approx(1.0)
        assert row["recording"]["voice_similarity"] == pytest.approx(1.0, abs=1e-3)
        assert row["decoded"]["mel"] > 0.1
        assert row["vocoded"].keys() == row["decoded"].keys()
    summary = summarize(rows)
    assert summary["decoded"]["mel"] == pytest.approx(
        sum(row["decoded"]["mel"] for row in rows) / 4, abs=1e-3
    )
    assert {summary[way]["character_errors"] for way in WAYS} == {60.0}  # "la" for "la la"
    text = table(summary)
    assert "| wrong characters, % | 60.000 | 60.000 | 60.000 |" in text
    assert "| distance of log-mels |  | " in text
    plain = measure_clips(decoder, clips[:1], Judges())
    assert plain[0]["voice"] is None
    assert not {"heard", "similarity"} & plain[0]["decoded"].keys()
