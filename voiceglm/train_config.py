"""How a model is trained, as plain values."""

from dataclasses import dataclass
from typing import Literal

import torch

from voiceglm.errors import ConfigError
from voiceglm.optimizers import Schedule


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained."""

    steps: int
    batch_size: int = 16
    """Items per optimizer step, over all devices and all parts of the step."""
    accumulate: int = 1
    """Parts that a step is computed in to save memory, one by one; each counts the same."""
    peak_lr: float = 1e-3
    """Learning rate after warm-up."""
    schedule: Schedule = "cosine"
    """How the rate falls to ``final_lr_share`` of its peak at ``steps``."""
    final_lr_share: float = 0.0
    muon_lr: float | None = None
    """Peak learning rate of the matrices inside layers, which then learn by Muon (in the scaling
    that matches AdamW's) instead of AdamW; the rest stays with AdamW at ``peak_lr``."""
    warmup_steps: int = 100
    weight_decay: float = 0.01
    beta2: float = 0.98
    """Decay of AdamW's second moment."""
    max_grad_norm: float = 1.0
    save_every: int = 500
    log_every: int = 50
    sample_every: int | None = None
    """Steps between two samples of what the model does, where its stage makes any."""
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """``auto``: bfloat16 where the processor multiplies it fast, float32 elsewhere."""
    recompute: bool = False
    """Compute layers again in the backward pass instead of keeping what they computed."""
    sharding: Literal["none", "fsdp"] = "none"
    """Where weights and optimizer states are: whole on every GPU, or a part on each (FSDP2)."""
    loader_workers: int = 0
    """Processes that prepare batches; with 0 a thread does, one batch ahead."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("peak_lr", "muon_lr"):
            rate = getattr(self, name)
            if rate is not None and rate <= 0:
                raise ConfigError(f"train.{name} must be positive, got {rate}")
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"train.batch_size ({self.batch_size}) must be a multiple of train.accumulate "
                f"({self.accumulate})"
            )
        if not 0 <= self.final_lr_share <= 1:
            raise ConfigError(f"train.final_lr_share must be in 0 .. 1, got {self.final_lr_share}")
        if self.sample_every is not None and self.sample_every < 1:
            raise ConfigError(f"train.sample_every must be at least 1, got {self.sample_every}")
        if self.loader_workers < 0:
            raise ConfigError("train.loader_workers must not be negative")
        if self.sharding == "fsdp" and self.muon_lr is not None:
            raise ConfigError(
                "train.muon_lr must be null with train.sharding fsdp: a matrix in parts"
            )

    @property
    def items_per_batch(self) -> int:
        """Items of one part of a step, over all devices."""
        return self.batch_size // self.accumulate

    @property
    def bfloat16(self) -> bool:
        """Whether to compute in bfloat16 on this machine."""
        if self.precision != "auto":
            return self.precision == "bfloat16"
        return computes_bfloat16(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def shows_samples(step: int, steps: int, every: int | None) -> bool:
    """Say whether samples are made behind a step: the last, and each ``every`` before it."""
    return step == steps or (every is not None and step % every == 0)


def computes_bfloat16(device: torch.device) -> bool:
    """Say whether ``device`` multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
