"""The vocoder learns, and a run that was stopped goes on as if it never had been."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import decoder.train_vocoder
from decoder.clips import Clips
from decoder.config import VocoderConfig
from decoder.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from decoder.features import MelConfig
from decoder.parts import Part
from decoder.pitch import PitchConfig, pitch
from decoder.spectral_loss import SpectralLoss, log_spectral_distance
from decoder.train_vocoder import VocoderTrainConfig, learning_rate, train_vocoder
from tests.conftest import ROOT
from voiceglm.errors import CheckpointError, ConfigError, OutputError, TrainingError
from voiceglm.manifest import read_manifest

CPU = torch.device("cpu")

TINY = VocoderConfig(
    base_channels=16,
    f0_channels=8,
    upsample_rates=(4, 4),
    upsample_kernel_sizes=(8, 8),
    istft_n_fft=64,
    istft_hop=16,
    resblock_kernel_sizes=(3,),
    resblock_dilations=(1,),
    source_resblock_dilations=(1,),
)
SMALL = DiscriminatorConfig(
    periods=(2, 3), period_channels=(2, 4), fft_sizes=(256,), spectrogram_channels=2
)
TRAIN = VocoderTrainConfig(
    steps=8,
    adversarial_from=4,
    own_pitch_from=2,
    batch_size=2,
    segment_frames=12,
    warmup_steps=2,
    fft_sizes=(512,),
    discriminator=SMALL,
    save_every=3,
    log_every=1,
    held_out=1,
    precision="float32",
)


def hum(hertz: float, seconds: float) -> torch.Tensor:
    """A buzz with ten harmonics, loud in the middle."""
    time = torch.arange(int(22_050 * seconds)) / 22_050
    sound = sum(torch.sin(2 * math.pi * hertz * h * time) / h for h in range(1, 11))
    return 0.2 * torch.as_tensor(sound) * torch.sin(math.pi * time / seconds)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    rows = []
    for index in range(5):
        sound = hum(90 + 20 * index, 0.1 + 0.1 * index)  # the first is shorter than a segment
        soundfile.write(folder / f"{index}.wav", sound.numpy(), 22_050)
        rows.append(json.dumps({"path": f"{index}.wav", "text": "hum"}))
    (folder / "manifest.jsonl").write_text("\n".join(rows) + "\n")
    return folder / "manifest.jsonl"


def rows_of(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


class KilledError(Exception):
    """Stands in for a signal."""


def test_resume_is_exact(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_vocoder(manifest, TINY, TRAIN, tmp_path / "whole")

    learn = decoder.train_vocoder.VocoderRun.learn

    def fail_at_five(run: decoder.train_vocoder.VocoderRun, batch: object) -> dict[str, float]:
        if run.step == 5:
            raise KilledError
        return learn(run, batch)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(decoder.train_vocoder.VocoderRun, "learn", fail_at_five)
        with pytest.raises(KilledError):
            train_vocoder(manifest, TINY, TRAIN, tmp_path / "stopped")
    assert rows_of(tmp_path / "stopped")[-1]["step"] == 5, "two steps after its checkpoint"
    torch.manual_seed(99)  # the global generator has no say
    resumed = train_vocoder(manifest, TINY, TRAIN, tmp_path / "stopped")

    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "stopped")


KILL = """
import os, signal, sys
from pathlib import Path
import torch
import voiceglm.files
from decoder.train_vocoder import train_vocoder
from tests.decoder.test_train_vocoder import TINY, TRAIN
torch.set_num_threads(1)
sync = voiceglm.files._sync
written = []
def die_at_the_second(path):
    written.append(path)
    if len(written) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    sync(path)
voiceglm.files._sync = die_at_the_second
train_vocoder(Path(sys.argv[1]), TINY, TRAIN, Path(sys.argv[2]))
"""


def test_killed_between_its_writes_it_goes_on_exactly(manifest: Path, tmp_path: Path) -> None:
    """Its draft is written and not yet in its place when the second checkpoint is killed."""
    arguments = [str(manifest), str(tmp_path / "killed"), "2"]
    done = subprocess.run(
        [sys.executable, "-c", KILL, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    names = [path.name for path in (tmp_path / "killed").glob("checkpoint-*.pt")]
    assert names == ["checkpoint-00000003.pt"]
    resumed = train_vocoder(manifest, TINY, TRAIN, tmp_path / "killed")
    whole = train_vocoder(manifest, TINY, TRAIN, tmp_path / "whole")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "killed")


def test_a_truncated_checkpoint_is_left_aside(
    manifest: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned: list[int] = []
    learn = decoder.train_vocoder.VocoderRun.learn

    def watch(run: decoder.train_vocoder.VocoderRun, batch: object) -> dict[str, float]:
        learned.append(run.step)
        return learn(run, batch)  # type: ignore[arg-type]

    whole = train_vocoder(manifest, TINY, TRAIN, tmp_path)
    kept = sorted(tmp_path.glob("checkpoint-*.pt"))
    assert [path.name for path in kept] == ["checkpoint-00000006.pt", "checkpoint-00000008.pt"]
    kept[-1].write_bytes(kept[-1].read_bytes()[:2000])
    monkeypatch.setattr(decoder.train_vocoder.VocoderRun, "learn", watch)
    resumed = train_vocoder(manifest, TINY, TRAIN, tmp_path)
    assert learned == [6, 7], "from the one before, not from nothing"
    assert f"{kept[-1]} is damaged and left aside" in caplog.text
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_loss_that_is_no_number_moves_nothing(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the generator, if it is the discriminators' loss."""
    run = decoder.train_vocoder.VocoderRun(TINY, replace(TRAIN, adversarial_from=0), CPU)
    clips = Clips(read_manifest(manifest), MelConfig(), PitchConfig())
    nan = torch.tensor(math.nan)
    monkeypatch.setattr(decoder.train_vocoder, "discriminator_loss", lambda *_: nan)
    before = {name: weight.clone() for name, weight in run.generator.state_dict().items()}
    with pytest.raises(TrainingError, match=r"discriminator is nan at step 0.*train\.peak_lr"):
        run.learn(run.batch(clips))
    for name, weight in run.generator.state_dict().items():
        assert torch.equal(weight, before[name]), name


def test_a_full_disk_keeps_the_last_checkpoint(
    manifest: Path,
    tmp_path: Path,
    full_disk: Callable[[], AbstractContextManager[None]],
) -> None:
    train_vocoder(manifest, TINY, replace(TRAIN, steps=3), tmp_path)
    checkpoints = {path: path.read_bytes() for path in tmp_path.glob("*.pt")}
    with full_disk(), pytest.raises(OutputError, match="cannot write"):
        train_vocoder(manifest, TINY, TRAIN, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.pt")} == checkpoints
    resumed = train_vocoder(manifest, TINY, TRAIN, tmp_path)
    assert not resumed.training


def test_it_starts_from_another(manifest: Path, tmp_path: Path) -> None:
    first = train_vocoder(manifest, TINY, TRAIN, tmp_path / "first")
    start = Part(TINY, first.state_dict(), "the first")
    still = replace(TRAIN, steps=1, peak_lr=1e-12)
    second = train_vocoder(manifest, TINY, still, tmp_path / "second", start=start)
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], tensor, rtol=0, atol=1e-6)


def test_a_finished_run_is_only_loaded(manifest: Path, tmp_path: Path) -> None:
    first = train_vocoder(manifest, TINY, TRAIN, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    second = train_vocoder(manifest, TINY, TRAIN, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")} == before
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
    with pytest.raises(CheckpointError, match="another configuration"):
        train_vocoder(manifest, replace(TINY, base_channels=32), TRAIN, tmp_path)


def test_the_losses_fall(manifest: Path, tmp_path: Path) -> None:
    train = replace(
        TRAIN, steps=60, adversarial_from=50, peak_lr=5e-3, warmup_steps=5, save_every=60
    )
    train_vocoder(manifest, TINY, train, tmp_path)
    rows = rows_of(tmp_path)
    first, late, last = rows[:5], rows[40:50], rows[-1]
    for name in ("mel", "spectral", "pitch"):
        start, end = (sum(row[name] for row in part) / len(part) for part in (first, late))
        assert end < 0.8 * start, f"{name} went from {start} to {end}"
    assert {"adversarial", "feature", "discriminator", "copy_mel", "copy_db"} <= last.keys()
    assert all(math.isfinite(value) for value in last.values())


def test_too_few_utterances(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has 5 utterances, 5 of them held out"):
        train_vocoder(manifest, TINY, replace(TRAIN, held_out=5), tmp_path)


@pytest.mark.parametrize("values", [{"steps": 0}, {"segment_frames": 3}, {"batch_size": 0}])
def test_a_run_that_cannot_learn_is_refused(values: dict) -> None:
    with pytest.raises(ConfigError):
        VocoderTrainConfig(**values)


def test_learning_rate() -> None:
    train = replace(TRAIN, steps=1000, warmup_steps=100, peak_lr=1.0)
    rates = [learning_rate(step, train) for step in range(1000)]
    assert rates[0] == 0.01
    assert max(rates) == rates[100] == 1.0
    assert math.isclose(rates[-1], 0.05, abs_tol=1e-3)


@pytest.mark.parametrize("hertz", [80.0, 131.0, 250.0])
def test_pitch_of_a_hum(hertz: float) -> None:
    found = pitch(hum(hertz, 1.0), MelConfig(), PitchConfig())
    assert found.shape == (22_050 // 256,)
    torch.testing.assert_close(found[20:60], torch.full((40,), hertz), rtol=0.01, atol=0)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 22_050).astype(np.float32)
    sound = torch.cat([torch.from_numpy(noise), torch.zeros(22_050)])
    assert (pitch(sound, MelConfig(), PitchConfig()) > 0).float().mean() < 0.05


def test_discriminators_see_every_view() -> None:
    judges = Discriminators(SMALL)
    made = torch.randn(2, 4099, requires_grad=True)
    real, fake = judges(torch.randn(2, 4099)), judges(made)
    assert len(real) == 3
    assert all(len(judgement.features) > 1 for judgement in real)
    assert discriminator_loss(real, fake) > 0
    (adversarial_loss(fake) + feature_loss(real, fake)).backward()
    assert made.grad is not None
    assert made.grad.abs().min() > 0, "every sample is looked at"
    assert feature_loss(fake, fake) == 0


def test_spectral_distances() -> None:
    sound = hum(100, 0.5)[None]
    loss = SpectralLoss((512, 1024))
    assert loss(sound, sound) == 0
    assert loss(0.5 * sound, sound) > 0.3
    louder = torch.randn(1, 22_050, generator=torch.Generator().manual_seed(0))
    assert math.isclose(log_spectral_distance(louder, louder / 10).item(), 20.0, abs_tol=0.1)
