"""Train the vocoder: recorded speech to log-mel and back.

It first learns by regression (spectra and pitch), which is quick; discriminators then take away the
buzz that regression leaves. Every random choice of a step is drawn from the seed and the step's
number, so a run that was stopped goes on as if it never had been.

Letters used in shapes: B batch, C mel bands, M mel frames, N = M * hop samples.
"""

import io
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from decoder.config import VocoderConfig
from decoder.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from decoder.features import QUIET, LogMel, MelConfig
from decoder.pitch import PitchConfig, pitch
from decoder.spectral_loss import SpectralLoss, log_spectral_distance
from decoder.vocoder import HiFTGenerator
from voiceglm.errors import CheckpointError, ConfigError, TrainingError
from voiceglm.files import write_file
from voiceglm.manifest import Utterance, read_manifest, read_samples
from voiceglm.ranks import average_gradients, is_first, join, rank, sum_over_ranks, world
from voiceglm.train_config import computes_bfloat16
from voiceglm.training_log import TrainingLog, plot_run

CHECKPOINT = "checkpoint.pt"
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
    max_utterances: int | None = None
    """Only this many of the manifest are used, from its start; they are kept in memory."""
    held_out: int = 8
    """The last of those utterances are measured and never learned from."""
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the convolutions; "auto" is bfloat16 where the machine computes in it."""

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        for name in ("steps", "batch_size", "segment_frames", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} must be positive, got {getattr(self, name)}")
        if self.segment_frames * 256 <= max(self.fft_sizes, default=0) // 2:
            raise ConfigError("train.segment_frames is too short for the largest of fft_sizes")


@dataclass(frozen=True)
class Clip:
    """One utterance with what the vocoder reads and predicts."""

    samples: Tensor  # (N,) int16
    mel: Tensor  # (C, M)
    f0: Tensor  # (M,) Hz, zero where not voiced


@dataclass(frozen=True)
class Batch:
    """Segments of equal length and the random numbers of their step."""

    samples: Tensor  # (B, N)
    mel: Tensor  # (B, C, M)
    f0: Tensor  # (B, M) Hz
    phase: Tensor  # (B, harmonics, 1) radians
    noise: Tensor  # (B, harmonics, N)


class Clips:
    """Utterances in memory, each read and measured when it is first used."""

    def __init__(self, utterances: Sequence[Utterance], mel: MelConfig, pitch: PitchConfig) -> None:
        self.utterances = list(utterances)
        self.pitch = pitch
        self.log_mel = LogMel(mel)
        self._clips: dict[int, Clip] = {}

    def __len__(self) -> int:
        """Return how many utterances there are."""
        return len(self.utterances)

    def __getitem__(self, index: int) -> Clip:
        """Return one utterance, cut to whole frames."""
        if index not in self._clips:
            mel = self.log_mel.config
            samples = read_samples(self.utterances[index], mel.sample_rate)
            samples = samples[: len(samples) // mel.hop * mel.hop]
            self._clips[index] = Clip(
                (samples.clamp(-1, 1) * 32767).round().to(torch.int16),
                self.log_mel(samples),
                pitch(samples, mel, self.pitch),
            )
        return self._clips[index]

    def segment(self, index: int, start: float, num_frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Cut samples (N,), log-mel (C, M) and pitch (M,) out of one utterance.

        Args:
            index: which utterance.
            start: where the cut begins, 0 for the earliest place and 1 for the latest.
            num_frames: M; a shorter utterance is followed by silence.
        """
        clip, hop = self[index], self.log_mel.config.hop
        first = int(start * max(0, len(clip.f0) - num_frames + 1))
        end = first + num_frames
        missing = max(0, end - len(clip.f0))
        samples = clip.samples[first * hop : end * hop].float() / 32767
        return (
            F.pad(samples, (0, missing * hop)),
            F.pad(clip.mel[:, first:end], (0, missing), value=QUIET),
            F.pad(clip.f0[first:end], (0, missing)),
        )


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
        self._move(0, self.generator, losses["loss"])
        if "discriminator" in losses:
            self._move(1, self.discriminators, losses["discriminator"])
        self.step += 1
        means = sum_over_ranks(torch.stack(list(losses.values()))) / world()
        return dict(zip(losses, means.tolist(), strict=True))

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

    def _move(self, which: int, part: nn.Module, loss: Tensor) -> None:
        if not math.isfinite(loss.item()):
            raise TrainingError(f"loss is {loss.item()} at step {self.step}; no weight was changed")
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
    manifest: Path, config: VocoderConfig, train: VocoderTrainConfig, folder: Path
) -> HiFTGenerator:
    """Train a vocoder on the speech of a manifest, going on from the folder's checkpoint if any.

    Args:
        manifest: JSON lines of utterances, see :mod:`voiceglm.manifest`.
        config: the network.
        train: how it learns.
        folder: where the checkpoint and ``metrics.jsonl`` are kept.

    Returns:
        The generator after ``train.steps`` steps, in evaluation mode.
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
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists():
        run.load_state_dict(torch.load(checkpoint, map_location=run.device, weights_only=True))
    log = TrainingLog(folder, run.step) if is_first() else None
    run.generator.train()
    _loop(run, clips, unseen, folder, log)
    if log:
        log.close()
        plot_run(folder)
    return run.generator.eval()


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
                seconds = round(time.monotonic() - start, 1)
                row = {"seconds": seconds, **losses}
                if save and len(unseen):
                    heard = (unseen[i] for i in range(len(unseen)))
                    row |= copy_synthesis_error(run.generator, heard)
                log.write(run.step, row)
            if save and is_first():
                _save(run, folder / CHECKPOINT)


@torch.no_grad()
def copy_synthesis_error(generator: HiFTGenerator, clips: Iterable[Clip]) -> dict[str, float]:
    """Measure how well recordings survive the way through their own log-mel.

    Returns:
        ``copy_mel``: mean absolute difference of the log-mels; ``copy_db``: log-spectral distance;
        ``voicing_error``: share of frames whose voicing is wrong; ``pitch_error``: mean relative
        error of the pitch where both are voiced.
    """
    config, device = generator.config, generator.window.device
    log_mel = LogMel(mel_config(config)).to(device)
    rows = []
    for clip in clips:
        real, mel = clip.samples.float().to(device) / 32767, clip.mel.to(device)
        made = generator(mel[None], generator=torch.Generator().manual_seed(0))
        f0, target = generator.f0(mel[None])[0], clip.f0.to(device)
        ours, theirs = f0 > config.voiced_threshold, target > config.voiced_threshold
        off = (f0[ours & theirs] / target[ours & theirs]).log().abs()
        rows.append(
            {
                "copy_mel": F.l1_loss(log_mel(made)[0], mel).item(),
                "copy_db": log_spectral_distance(made, real[None]).item(),
                "voicing_error": (ours != theirs).float().mean().item(),
                "pitch_error": off.mean().item() if len(off) else 0.0,
            }
        )
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def mel_config(config: VocoderConfig) -> MelConfig:
    """Return the log-mel that a vocoder reads."""
    return MelConfig(
        sample_rate=config.sample_rate, hop=config.hop_length, num_bands=config.in_channels
    )


def learning_rate(step: int, config: VocoderTrainConfig) -> float:
    """Return the learning rate of a step: a linear rise, then a cosine to a twentieth."""
    if step < config.warmup_steps:
        return config.peak_lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.peak_lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def _save(run: VocoderRun, path: Path) -> None:
    data = io.BytesIO()
    torch.save(run.state_dict(), data)
    write_file(path, data.getvalue())
