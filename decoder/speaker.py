"""Who speaks: a recording to one vector, alike for recordings of one speaker.

A time-delay network (dilated convolutions) with attentive statistics pooling, after Snyder et al.
2018 (x-vectors) and Okabe et al. 2018. It reads the same log-mel as the rest of the decoder, so
that what the decoder made can be judged as well as what was recorded.

Letters used in shapes:

    B  batch
    N  mel channels, 80
    M  mel frames, 86.13 per second
    H  channels inside
    S  numbers of an embedding
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decoder.features import LogMel, MelConfig
from voiceglm.audio import resample
from voiceglm.checkpoint import (
    CONFIG,
    load_into,
    read_config,
    read_tensors,
    resolve,
    write_checkpoint,
)
from voiceglm.config import build
from voiceglm.errors import CheckpointError, ConfigError
from voiceglm.ranks import sum_with_gradient, world

PART = "speaker_encoder"
"""What its folder in a model's folder is called."""


@dataclass(frozen=True, kw_only=True)
class SpeakerConfig:
    """The speaker encoder."""

    mel: MelConfig = field(default_factory=MelConfig)
    dim: int = 192
    """Numbers of an embedding; ``speaker_dim`` of the flow that is told it."""
    channels: int = 128
    dilations: tuple[int, ...] = (1, 2, 3, 4)
    """One per layer; each layer looks at three frames that lie so far apart."""

    def __post_init__(self) -> None:
        """Refuse values that make no network."""
        if min(self.dim, self.channels) < 1 or not self.dilations or min(self.dilations) < 1:
            raise ConfigError("model.dim, model.channels and model.dilations must be positive")


class SpeakerEncoder(nn.Module):
    """Log-mel to an embedding of length one; how loud a recording is does not matter."""

    def __init__(self, config: SpeakerConfig) -> None:
        super().__init__()
        self.config = c = config
        self.log_mel = LogMel(c.mel)
        self.entry = _Layer(c.mel.num_bands, c.channels, 5, 1)
        self.layers = nn.ModuleList(_Layer(c.channels, c.channels, 3, d) for d in c.dilations)
        self.attention = nn.Sequential(
            nn.Conv1d(c.channels, c.channels // 2 + 1, 1),
            nn.Tanh(),
            # Without a bias: it would be the same in every frame, and so nothing to the softmax.
            nn.Conv1d(c.channels // 2 + 1, c.channels, 1, bias=False),
        )
        self.exit = nn.Linear(2 * c.channels, c.dim)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path) -> "SpeakerEncoder":
        """Load a speaker encoder.

        Args:
            name_or_folder: A model's folder, or that of the encoder itself.

        Raises:
            CheckpointError: If the model has none, or it is damaged.
        """
        encoder = cls.find(name_or_folder)
        if encoder is None:
            raise CheckpointError(
                f"{name_or_folder} has no speaker encoder, so it speaks with one voice only; "
                "docs/training.md says how several are trained"
            )
        return encoder

    @classmethod
    def find(cls, name_or_folder: str | Path) -> "SpeakerEncoder | None":
        """Load a speaker encoder as :meth:`from_pretrained`, ``None`` where a model has none."""
        folder = resolve(name_or_folder, PART)
        values = read_config(folder) if (folder / CONFIG).is_file() else {}
        if "dilations" not in values:
            return None
        encoder = cls(build(SpeakerConfig, values, where="speaker_encoder."))
        load_into(encoder, read_tensors(folder), where=folder)
        return encoder.eval()

    def save(self, folder: Path, *, replace: bool = False) -> None:
        """Write a checkpoint that :meth:`from_pretrained` reads."""
        write_checkpoint(folder, asdict(self.config), self.state_dict(), replace=replace)

    def forward(self, mel: Tensor) -> Tensor:
        """Return embeddings of length one: (B, N, M) log-mel -> (B, S)."""
        x = self.entry(mel - mel.mean(dim=(1, 2), keepdim=True))  # (B, H, M)
        for layer in self.layers:
            x = x + layer(x)
        weight = self.attention(x).softmax(-1)
        mean = (weight * x).sum(-1)
        variance = (weight * x.square()).sum(-1) - mean.square()
        statistics = torch.cat([mean, variance.clamp_min(1e-6).sqrt()], dim=1)  # (B, 2 H)
        return F.normalize(self.exit(statistics))

    @torch.inference_mode()
    def embed(self, samples: Tensor, sample_rate: int) -> Tensor:
        """Return the embedding of a recording: (num_samples,) -> (S,), length one.

        Args:
            samples: In [-1, 1], at least one mel frame of them.
            sample_rate: In hertz.
        """
        device = self.exit.weight.device
        mel = self.log_mel(resample(samples, sample_rate, self.config.mel.sample_rate).to(device))
        return self(mel[None])[0].cpu()


class _BatchNorm(nn.BatchNorm1d):
    """Normalises over the whole batch, also where several processes share it, on any device."""

    def forward(self, input: Tensor) -> Tensor:
        x = input
        if not self.training or world() == 1:
            return super().forward(x)
        own = torch.stack([x.mean((0, 2)), x.square().mean((0, 2))])
        mean, square = sum_with_gradient(own) / world()  # the shares are of equal size
        variance = square - mean.square()
        count = x.numel() // len(mean) * world()
        with torch.no_grad():
            for kept, now in (
                (self.running_mean, mean),
                (self.running_var, variance * count / (count - 1)),
            ):
                assert kept is not None, "this norm keeps averages"
                kept.lerp_(now, self.momentum or 0.0)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return (x - mean[:, None]) * scale[:, None] + self.bias[:, None]


class _Layer(nn.Module):
    """A dilated convolution, normalised over the batch: (B, H, M) -> (B, H, M)."""

    def __init__(self, in_channels: int, out_channels: int, size: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (size - 1) // 2
        self.conv = nn.Conv1d(in_channels, out_channels, size, padding=padding, dilation=dilation)
        self.norm = _BatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(F.relu(self.conv(x)))


def centre(embeddings: Sequence[Tensor]) -> Tensor:
    """Return the direction in the middle of embeddings: each (S,) -> (S,), length one."""
    return F.normalize(torch.stack(list(embeddings)).mean(0), dim=0)


def similarity(one: Tensor, other: Tensor) -> float:
    """Return the cosine of two embeddings, each (S,): 1 for the same voice."""
    return float(F.cosine_similarity(one, other, dim=0))
