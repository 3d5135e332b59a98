"""Who speaks: the encoder learns it, is small, ignores loudness, and resumes exactly."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from decoder.speaker import SpeakerConfig, SpeakerEncoder, centre, similarity
from decoder.train_speaker import (
    SpeakerDataset,
    Speakers,
    SpeakerTraining,
    SpeakerTrainingModel,
    crop,
    divide,
    equal_error,
    equal_error_rate,
    train_speaker,
)
from tests.decoder.buzzers import PITCHES, RATE, buzz, write_buzzers
from voiceglm.checkpoint import write_checkpoint
from voiceglm.errors import CheckpointError, ConfigError
from voiceglm.manifest import Utterance, read_manifest
from voiceglm.train_config import TrainConfig

SMALL = SpeakerConfig(channels=16, dim=12, dilations=(1, 2))
TRAINING = SpeakerTraining(
    model=SMALL,
    train=TrainConfig(
        steps=30,
        batch_size=8,
        peak_lr=5e-3,
        warmup_steps=2,
        save_every=10,
        log_every=5,
        precision="float32",
    ),
    crop_frames=40,
)


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> Speakers:
    """Five recordings of each of four speakers, all of whom are learned."""
    return divide(read_manifest(write_buzzers(tmp_path_factory.mktemp("buzz"), 5)), 0)


@pytest.fixture(scope="module")
def trained(speakers: Speakers, tmp_path_factory: pytest.TempPathFactory) -> SpeakerEncoder:
    """An encoder that has learned the four."""
    return train_speaker(speakers, TRAINING, tmp_path_factory.mktemp("run"))


def test_recordings_of_one_speaker_are_alike(trained: SpeakerEncoder) -> None:
    said = [[0, 1, 2, 3] * 5, [3, 3, 1, 0] * 5]
    heard = {name: [trained.embed(buzz(name, codes), RATE) for codes in said] for name in PITCHES}
    for name, (one, other) in heard.items():
        others = [similarity(one, heard[them][0]) for them in PITCHES if them != name]
        assert similarity(one, other) > max(others) + 0.2, name


def test_it_is_under_a_million_parameters() -> None:
    encoder = SpeakerEncoder(SpeakerConfig())
    assert sum(weight.numel() for weight in encoder.parameters()) < 1_000_000


def test_loudness_does_not_matter_and_length_is_one(trained: SpeakerEncoder) -> None:
    loud, quiet = (buzz("ann", [0, 1, 2, 3] * 3, level) for level in (0.4, 0.1))
    one, other = trained.embed(loud, RATE), trained.embed(quiet, RATE)
    assert similarity(one, other) > 0.95
    assert float(one.norm()) == pytest.approx(1.0, abs=1e-5)
    both = centre([one, other])
    assert float(both.norm()) == pytest.approx(1.0, abs=1e-5)


def test_a_batch_equals_its_items(trained: SpeakerEncoder) -> None:
    mel = torch.randn(3, 80, 50, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = trained(mel)
        for number in range(3):
            torch.testing.assert_close(together[number], trained(mel[number : number + 1])[0])


def test_resuming_equals_never_having_stopped(speakers: Speakers, tmp_path: Path) -> None:
    config = replace(TRAINING, train=replace(TRAINING.train, steps=12, save_every=5))
    whole = train_speaker(speakers, config, tmp_path)
    rows = [json.loads(row) for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "accuracy"} <= rows[0].keys()
    shutil.rmtree(tmp_path / "checkpoint-12")
    assert (tmp_path / "checkpoint-10").is_dir()
    resumed = train_speaker(speakers, config, tmp_path)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_the_margin_makes_it_harder() -> None:
    mel = torch.randn(4, 80, 40, generator=torch.Generator().manual_seed(0))
    losses = []
    for margin in (0.0, 0.3):
        torch.manual_seed(0)
        model = SpeakerTrainingModel(SpeakerEncoder(SMALL), 4, replace(TRAINING, margin=margin))
        losses.append(model(mel, torch.arange(4))["loss"].item())
    assert losses[1] > losses[0] + 0.5


def test_crops_differ_by_draw_and_are_repeated_when_short(speakers: Speakers) -> None:
    data = SpeakerDataset(speakers, TRAINING)
    first, number = data.draw(0, torch.Generator().manual_seed(1))
    assert first.shape == (80, 40)
    assert speakers.names[number] == speakers.learned[0].speaker
    assert torch.equal(first, data.draw(0, torch.Generator().manual_seed(1))[0])
    assert not torch.equal(first, data.draw(0, torch.Generator().manual_seed(2))[0])
    short = torch.arange(3.0).repeat(80, 1)
    found = crop(short, 7, torch.Generator().manual_seed(0))
    assert found.shape == (80, 7)
    assert set(found[0].tolist()) == {0.0, 1.0, 2.0}
    with pytest.raises(ConfigError, match="shorter than one mel frame"):
        crop(torch.zeros(80, 0), 7, torch.Generator())


def test_speakers_are_held_out_whole(tmp_path: Path) -> None:
    rows = [
        Utterance(path=tmp_path / "a.wav", text=None, speaker=name)
        for name in ("a", "a", "b", "b", "c", "c", "d", "d", "once", "")
    ]
    found = divide(rows, 2)
    assert len(found.names) == 2
    assert {one.speaker for one in found.learned} == set(found.names)
    assert {one.speaker for one in found.held_out} == {"a", "b", "c", "d"} - set(found.names)
    with pytest.raises(ConfigError, match="4 speakers with two recordings or more, 3 of them held"):
        divide(rows, 3)
    with pytest.raises(ConfigError, match="need a 'speaker'"):
        divide([replace(row, speaker="") for row in rows], 0)


def test_equal_error() -> None:
    scores = torch.tensor([0.9, 0.8, 0.2, 0.1])
    assert equal_error(scores, torch.tensor([True, True, False, False])) == 0
    assert equal_error(scores, torch.tensor([False, False, True, True])) == 100
    assert equal_error(scores, torch.tensor([True, False, True, False])) == 50


def test_equal_error_rate_of_recordings(trained: SpeakerEncoder, speakers: Speakers) -> None:
    assert equal_error_rate(trained, speakers.learned[:12]) < 10


def test_it_is_kept_and_found(trained: SpeakerEncoder, tmp_path: Path) -> None:
    trained.save(tmp_path / "model" / "speaker_encoder")
    found = SpeakerEncoder.from_pretrained(tmp_path / "model")
    sound = buzz("cid", [1, 2, 3] * 4)
    assert torch.equal(found.embed(sound, RATE), trained.embed(sound, RATE))
    write_checkpoint(tmp_path / "other", {"flow": {}, "vocoder": {}}, {})
    for without in (tmp_path / "other", tmp_path):
        assert SpeakerEncoder.find(without) is None
        with pytest.raises(CheckpointError, match="one voice only"):
            SpeakerEncoder.from_pretrained(without)


@pytest.mark.parametrize(
    "values", [{"margin": 2.0}, {"scale": 0.0}, {"crop_frames": 0}, {"held_out": -1}]
)
def test_a_training_that_cannot_be_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        replace(TRAINING, **values)  # type: ignore[arg-type]
