"""Train the vocoder: recorded speech to log-mel and back.

It first learns by regression (spectra and pitch), which is quick; discriminators then take away the
buzz that regression leaves. Every random choice of a step is drawn from the seed and the step's
number, so a run that was stopped goes on as if it never had been.

Letters used in shapes: B batch, C mel bands, M mel frames, N = M * hop samples.
"""

import io
import logging
import math
import pickle
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from decoder.clips import Clips
from decoder.config import VocoderConfig
from decoder.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from decoder.features import LogMel, mel_config
from decoder.parts import Part, load_vocoder
from decoder.pitch import PitchConfig
from decoder.reconstruction import copy_synthesis_error
from decoder.samples import show_copies
from decoder.spectral_loss import SpectralLoss
from decoder.vocoder import HiFTGenerator
from voiceglm.errors import CheckpointError, ConfigError, TrainingError
from voiceglm.files import write_file
from voiceglm.manifest import read_manifest
from voiceglm.optimizers import rate_share
from voiceglm.ranks import average_gradients, is_first, join, rank, sum_over_ranks, world
from voiceglm.train_config import computes_bfloat16, shows_samples
from voiceglm.training import SAMPLES
from voiceglm.training_log import TrainingLog, plot_run

_messages = logging.getLogger(__name__)

CHECKPOINTS = "checkpoint-*.pt"
KEPT = 2
"""Checkpoints: the one before the newest is gone on from if that is damaged."""
PITCH_GAIN = 30.0


@dataclass(frozen=True, kw_only=True)
class VocoderTrainConfig:
    """How the vocoder learns."""

    steps: int = 200_000
    adversarial_from: int = 50_000
    """First step with discriminators."""
    own_pitch_from: int = 1_000
    """First step whose source follows the predicted pitch, as in use, not the measured one."""
    batch_size: int = 16
    segment_frames: int = 32
    """Mel frames cut from each utterance."""
    peak_lr: float = 5e-4
    """Learning rate after warm-up; a cosine takes it to a twentieth at ``steps``."""
    warmup_steps: int = 200
    max_grad_norm: float = 10.0
    fft_sizes: tuple[int, ...] = (512, 1024, 2048)
    """Windows of the spectral loss, in samples."""
    spectral_weight: float = 3.0
    mel_weight: float = 15.0
    pitch_weight: float = 1.0
    adversarial_weight: float = 1.0
    feature_weight: float = 10.0
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    pitch: PitchConfig = field(default_factory=PitchConfig)
    save_every: int = 500
    log_every: int = 50
    sample_every: int | None = None
    """Steps between two samples of clips that are held out; there are some at the end, too."""
    max_utterances: int | None = None
    """Only this many of the manifest are used, from its start; they are kept in memory."""
    held_out: int = 8
    """The last of those utterances are measured and never learned from."""
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the convolutions; "auto" is bfloat16 where the machine computes in it."""

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        for name in (
            "steps",
            "batch_size",
            "segment_frames",
            "save_every",
            "log_every",
            "sample_every",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"train.{name} must be positive, got {value}")
        if self.segment_frames * 256 <= max(self.fft_sizes, default=0) // 2:
            raise ConfigError("train.segment_frames is too short for the largest of fft_sizes")


@dataclass(frozen=True, kw_only=True)
class VocoderTask:
    """A training by command: all that it is asked for."""

    manifests: tuple[str, ...]
    model: VocoderConfig
    train: VocoderTrainConfig
    start_from: str | None = None
    """A model, a decoder or the ``model/`` of another run, whose weights are gone on with."""


@dataclass(frozen=True)
class Batch:
    """Segments of equal length and the random numbers of their step."""

    samples: Tensor  # (B, N)
    mel: Tensor  # (B, C, M)
    f0: Tensor  # (B, M) Hz
    phase: Tensor  # (B, harmonics, 1) radians
    noise: Tensor  # (B, harmonics, N)


class VocoderRun:
    """Everything that must survive a restart, and the step that moves it."""

    def __init__(
        self, vocoder: VocoderConfig, train: VocoderTrainConfig, device: torch.device
    ) -> None:
        self.config, self.train_config, self.device = vocoder, train, device
        with torch.random.fork_rng():
            torch.manual_seed(train.seed)
            self.generator = HiFTGenerator(vocoder).to(device)
            # Pitch is about a hundred: from weights near zero it would take long to get there.
            with torch.no_grad():
                self.generator.f0_predictor.classifier.weight.mul_(PITCH_GAIN)
            self.discriminators = Discriminators(train.discriminator).to(device)
        self.optimizers = [
            torch.optim.AdamW(part.parameters(), train.peak_lr, betas=(0.8, 0.99))
            for part in (self.generator, self.discriminators)
        ]
        self.spectral = SpectralLoss(train.fft_sizes)
        self.log_mel = LogMel(mel_config(vocoder)).to(device)
        self.step = 0

    def batch(self, clips: Clips) -> Batch:
        """Draw the batch of the current step, and keep this process's share of it."""
        t = self.train_config
        rng = torch.Generator().manual_seed(t.seed * 1_000_003 + self.step)
        order = torch.randint(len(clips), (t.batch_size,), generator=rng).tolist()
        starts = torch.rand(t.batch_size, generator=rng).tolist()
        phase, noise = self.generator.draw(t.batch_size, t.segment_frames, rng)
        mine = slice(rank() * t.batch_size // world(), (rank() + 1) * t.batch_size // world())
        segments = [
            clips.segment(index, start, t.segment_frames)
            for index, start in zip(order[mine], starts[mine], strict=True)
        ]
        samples, mel, f0 = (
            torch.stack(list(x)).to(self.device) for x in zip(*segments, strict=True)
        )
        return Batch(samples, mel, f0, phase[mine], noise[mine])

    def learn(self, batch: Batch) -> dict[str, float]:
        """Take one optimizer step of each network; return the losses.

        Raises:
            TrainingError: If a loss is not finite; no weight was changed by it.
        """
        rate = learning_rate(self.step, self.train_config)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        made, losses = self._regression(batch)
        if self.step >= self.train_config.adversarial_from:
            with self._precision():
                real = self.discriminators(batch.samples)
                self.discriminators.requires_grad_(False)
                fake = self.discriminators(made)
                self.discriminators.requires_grad_(True)
                losses["adversarial"] = adversarial_loss(fake)
                losses["feature"] = feature_loss(real, fake)
                fake = self.discriminators(made.detach())
                losses["discriminator"] = discriminator_loss(real, fake)
        losses["loss"] = self._sum(losses)
        means = self._means(losses)
        self._move(0, self.generator, losses["loss"])
        if "discriminator" in losses:
            self._move(1, self.discriminators, losses["discriminator"])
        self.step += 1
        return means

    def _sum(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of the generator's losses."""
        weights = {n: getattr(self.train_config, f"{n}_weight", 0.0) for n in losses}
        return torch.stack([weights[n] * loss for n, loss in losses.items() if weights[n]]).sum()

    def _regression(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the samples made (B, N) and the losses that need no discriminator."""
        f0 = self.generator.f0(batch.mel)
        own = self.step >= self.train_config.own_pitch_from
        source = self.generator.source(
            f0.detach() if own else batch.f0, phase=batch.phase, noise=batch.noise
        )
        with self._precision():
            made = self.generator.synthesize(batch.mel, source)
        losses = {
            "pitch": F.l1_loss(f0, batch.f0) / 50,
            "mel": F.l1_loss(self.log_mel(made), self.log_mel(batch.samples)),
            "spectral": self.spectral(made, batch.samples),
        }
        return made, losses

    def _means(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """Return the losses of the whole batch, before any of the two networks is moved by them.

        Raises:
            TrainingError: If one is no number, in any process.
        """
        means = (sum_over_ranks(torch.stack(list(losses.values()))) / world()).tolist()
        for name, mean in zip(losses, means, strict=True):
            if not math.isfinite(mean):
                raise TrainingError(
                    f"{name} is {mean} at step {self.step}, where no weight was changed; "
                    "the last checkpoint is kept, lower train.peak_lr"
                )
        return dict(zip(losses, means, strict=True))

    def _move(self, which: int, part: nn.Module, loss: Tensor) -> None:
        optimizer = self.optimizers[which]
        loss.backward()
        average_gradients(part.parameters())
        nn.utils.clip_grad_norm_(part.parameters(), self.train_config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _precision(self) -> AbstractContextManager[Any]:
        t = self.train_config
        low = t.precision == "bfloat16" or (
            t.precision == "auto" and computes_bfloat16(self.device)
        )
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs to go on exactly here."""
        return {
            "vocoder": asdict(self.config),
            "step": self.step,
            "generator": self.generator.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another run of the same configuration stood."""
        if state["vocoder"] != asdict(self.config):
            raise CheckpointError("the checkpoint is of a vocoder of another configuration")
        self.step = state["step"]
        self.generator.load_state_dict(state["generator"])
        self.discriminators.load_state_dict(state["discriminators"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


def train_vocoder(
    manifest: Path,
    config: VocoderConfig,
    train: VocoderTrainConfig,
    folder: Path,
    *,
    start: Part[VocoderConfig] | None = None,
) -> HiFTGenerator:
    """Train a vocoder on the speech of a manifest, going on from the folder's checkpoint if any.

    Args:
        manifest: JSON lines of utterances, see :mod:`voiceglm.manifest`.
        config: the network.
        train: how it learns.
        folder: where checkpoints and ``metrics.jsonl`` are kept.
        start: weights to start from; discriminators always start anew.

    Returns:
        The generator after ``train.steps`` steps, in evaluation mode.

    Raises:
        CheckpointError: If a checkpoint or the weights to start from are of another network.
        OutputError: If the folder cannot be written; the last checkpoint is kept.
        TrainingError: If the manifest is too short, or a loss is not finite.
    """
    utterances = read_manifest(manifest)[: train.max_utterances]
    if len(utterances) <= train.held_out:
        raise TrainingError(
            f"{manifest} has {len(utterances)} utterances, {train.held_out} of them held out"
        )
    split = len(utterances) - train.held_out
    mel = mel_config(config)
    clips, unseen = (
        Clips(part, mel, train.pitch) for part in (utterances[:split], utterances[split:])
    )
    if train.batch_size % world():
        raise ConfigError(f"make train.batch_size a multiple of {world()}, the number of processes")
    run = VocoderRun(config, train, join())
    if start is not None:
        load_vocoder(run.generator, start)
    folder.mkdir(parents=True, exist_ok=True)
    _go_on(run, folder)
    log = TrainingLog(folder, run.step) if is_first() else None
    run.generator.train()
    _loop(run, clips, unseen, folder, log)
    if log:
        log.close()
        plot_run(folder)
    return run.generator.eval()


def _go_on(run: VocoderRun, folder: Path) -> None:
    """Go on from the newest checkpoint that is whole, and say which are not."""
    for path in sorted(folder.glob(CHECKPOINTS), reverse=True):
        try:
            state = torch.load(path, map_location=run.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
            _messages.warning("%s is damaged and left aside", path)
            continue
        run.load_state_dict(state)
        return


def _loop(
    run: VocoderRun, clips: Clips, unseen: Clips, folder: Path, log: TrainingLog | None
) -> None:
    """Learn up to the last step, saving and logging on the way."""
    train = run.train_config
    start = time.monotonic()
    bar = tqdm(
        total=train.steps, initial=run.step, desc="vocoder", unit="step", disable=not is_first()
    )
    with bar:
        while run.step < train.steps:
            losses = run.learn(run.batch(clips))
            bar.update()
            save = run.step == train.steps or run.step % train.save_every == 0
            if log and (save or run.step % train.log_every == 0):
                bar.set_postfix(mel=losses["mel"], pitch=losses["pitch"])
                errors = _errors(run, unseen) if save else {}
                seconds = round(time.monotonic() - start, 1)
                log.write(run.step, {"seconds": seconds, **losses, **errors})
            if log and shows_samples(run.step, train.steps, train.sample_every):
                show_copies(run.generator, unseen, folder / SAMPLES / f"step_{run.step}")
            if save and is_first():
                _save(run, folder)


def _errors(run: VocoderRun, unseen: Clips) -> dict[str, float]:
    """Measure the clips that are held out, if there are any."""
    if not len(unseen):
        return {}
    return copy_synthesis_error(run.generator, (unseen[i] for i in range(len(unseen))))


def learning_rate(step: int, config: VocoderTrainConfig) -> float:
    """Return the learning rate of a step: a linear rise, then a cosine to a twentieth."""
    if step < config.warmup_steps:
        return config.peak_lr * (step + 1) / config.warmup_steps
    return config.peak_lr * rate_share(
        step, steps=config.steps, warmup=config.warmup_steps, schedule="cosine", final=0.05
    )


def _save(run: VocoderRun, folder: Path) -> None:
    """Write a checkpoint, whole or not at all, then drop those that it makes superfluous."""
    data = io.BytesIO()
    torch.save(run.state_dict(), data)
    write_file(folder / f"checkpoint-{run.step:08d}.pt", data.getvalue())
    for old in sorted(folder.glob(CHECKPOINTS))[:-KEPT]:
        old.unlink()
