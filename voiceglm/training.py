"""One way to train: transformers' ``Trainer`` around any module that returns its own loss.

A model is called with the fields of a batch and returns a dict of scalar tensors, one of which is
``loss``; all of them are averaged and logged to ``metrics.jsonl``. A run's folder holds its
checkpoints; a run that was stopped goes on from the newest complete one.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset, Sampler
from transformers import (
    PreTrainedConfig,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from voiceglm.errors import ConfigError, TrainingError

METRICS = "metrics.jsonl"
_STATE = "trainer_state.json"
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained."""

    steps: int
    batch_size: int = 16
    """Items per optimizer step, on each device."""
    peak_lr: float = 1e-3
    """Learning rate after warm-up; a cosine takes it to zero at ``steps``."""
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
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """``auto``: bfloat16 where the processor multiplies it fast, float32 elsewhere."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("peak_lr", "muon_lr"):
            rate = getattr(self, name)
            if rate is not None and rate <= 0:
                raise ConfigError(f"train.{name} must be positive, got {rate}")

    @property
    def bfloat16(self) -> bool:
        """Whether to compute in bfloat16 on this machine."""
        if self.precision != "auto":
            return self.precision == "bfloat16"
        return computes_bfloat16(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def computes_bfloat16(device: torch.device) -> bool:
    """Say whether ``device`` multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextmanager
def plain_attention(config: PreTrainedConfig) -> Iterator[None]:
    """Compute attention as plain products inside the block, where there is no GPU.

    On a CPU the backward pass of fused attention is several times slower than that of products
    and a softmax at the lengths trained here, up to a third of a whole step.

    Args:
        config: Of transformers layers, which look their kernel up in it at every call.
    """
    kernel = config._attn_implementation
    if not torch.cuda.is_available():
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        config._attn_implementation = kernel


def fit(
    model: nn.Module,
    dataset: Dataset[Any],
    collate: Callable[[list[Any]], Mapping[str, Any]],
    config: TrainConfig,
    folder: Path,
    *,
    lengths: Sequence[int] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train ``model`` in place, from scratch or from where a stopped run left off.

    Args:
        model: Called as ``model(**batch)``; returns scalar tensors, ``loss`` among them.
        dataset: Map-style. Its items may differ in every pass if it has a ``set_epoch``; they must
            not come from the global generator, because batches are fetched ahead of their step.
        collate: Items to one batch of keyword arguments.
        config: Steps, learning rate and so on.
        folder: Checkpoints and metrics are kept here.
        lengths: Size of each item; batches then hold items of about equal size.
        callbacks: Called by the Trainer, behind its own.

    Raises:
        TrainingError: If the loss is not finite.
    """
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.peak_lr,
        lr_scheduler_type="cosine",
        warmup_steps=min(config.warmup_steps, config.steps // 2),
        weight_decay=config.weight_decay,
        adam_beta2=config.beta2,
        max_grad_norm=config.max_grad_norm,
        save_steps=config.save_every,
        save_total_limit=2,
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,
        seed=config.seed,
        bf16=config.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to=[],
        disable_tqdm=False,
    )
    trainer = _Trainer(
        model=_Shield(model),
        args=arguments,
        train_dataset=dataset,
        data_collator=collate,
        callbacks=[_Metrics(folder / METRICS), _Epochs(dataset), *callbacks],
    )
    trainer.lengths = lengths
    trainer.muon_lr = config.muon_lr
    newest = newest_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint of a run, skipping any that a kill left unfinished."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    return next((path for path in reversed(found) if _is_complete(path)), None)


def _is_complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / _STATE).read_text())
        with safe_open(checkpoint / _WEIGHTS, framework="pt") as tensors:
            return bool(tensors.keys())
    except (OSError, ValueError, SafetensorError):
        return False


class _Shield(nn.Module):
    """Hides a model's own attributes from the Trainer, which writes to one called ``config``."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        return self.model(**batch)


class _Trainer(Trainer):
    """A Trainer that logs every scalar a model returns and groups items by length."""

    lengths: Sequence[int] | None = None
    muon_lr: float | None = None

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False
        self._sums: dict[str, float] = {}
        self._calls = 0

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        del num_items_in_batch
        scalars = model(**inputs)
        for name, value in scalars.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        self._calls += 1
        loss = float(scalars["loss"].detach())
        if not math.isfinite(loss):
            raise TrainingError(
                f"loss is {loss} at step {self.state.global_step}; "
                "the last checkpoint is kept, lower train.peak_lr"
            )
        return (scalars["loss"], scalars) if return_outputs else scalars["loss"]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self._calls and "loss" in logs:
            logs |= {name: total / self._calls for name, total in self._sums.items()}
            self._sums, self._calls = {}, 0
        super().log(logs, start_time)

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        if self.muon_lr is None or self.optimizer is not None:
            return super().create_optimizer(model)
        model, arguments = model or self.model, self.args
        assert model is not None, "the Trainer was given a model"
        matrices = hidden_matrices(model)
        by_muon = {id(weight) for weight in matrices}
        decayed = set(self.get_decay_parameter_names(model))
        groups: dict[float, list[Tensor]] = {arguments.weight_decay: [], 0.0: []}
        for name, weight in model.named_parameters():
            if weight.requires_grad and id(weight) not in by_muon:
                groups[arguments.weight_decay if name in decayed else 0.0].append(weight)
        muon = torch.optim.Muon(
            matrices,
            lr=self.muon_lr,
            weight_decay=arguments.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        adamw = torch.optim.AdamW(
            [{"params": weights, "weight_decay": decay} for decay, weights in groups.items()],
            lr=arguments.learning_rate,
            betas=(arguments.adam_beta1, arguments.adam_beta2),
            eps=arguments.adam_epsilon,
        )
        self.optimizer = SplitOptimizer([muon, adamw])
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        if self.lengths is None:
            return super()._get_train_sampler(train_dataset)
        return _LengthGroups(self.args.train_batch_size, list(self.lengths), self.args.seed)


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """Return the weights of the linear maps inside stacked layers: what Muon is meant for.

    Embeddings, position tables and the maps at both ends of a model stand outside its stacks.
    """
    stacks = (module for module in model.modules() if isinstance(module, nn.ModuleList))
    maps = (part for stack in stacks for part in stack.modules() if isinstance(part, nn.Linear))
    weights = {id(linear.weight): linear.weight for linear in maps if linear.weight.requires_grad}
    return list(weights.values())


class SplitOptimizer(Optimizer):
    """Several optimizers, each of parameters of its own, stepped, scheduled and stored as one.

    Muon (Jordan et al. 2024) takes matrices only, so it never comes alone. In 500 steps of the nano
    recognizer it reached the loss that AdamW needs some 2,000 for.
    """

    def __init__(self, parts: Sequence[Optimizer]):
        self._parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  no loss is computed
        """Step every part.

        Raises:
            ValueError: If a closure is given: it would be called once by each part.
        """
        if closure is not None:
            raise ValueError("several optimizers cannot share a closure")
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the parts."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the states of the parts."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        # Loading gives each part new groups; the scheduler must write to those.
        self.param_groups = [group for part in self._parts for group in part.param_groups]


class _LengthGroups(LengthGroupedSampler):
    """Items of about equal length together, in an order that follows from seed and epoch alone."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        self._order = torch.Generator().manual_seed(seed)
        super().__init__(batch_size, lengths=lengths, generator=self._order)
        self._seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch, so that a resumed run repeats it."""
        self._order.manual_seed(self._seed + epoch)


class _Epochs(TrainerCallback):
    """Tells a dataset with a ``set_epoch`` which pass begins, also when a run is resumed in it."""

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if hasattr(self._dataset, "set_epoch"):
            self._dataset.set_epoch(int(state.epoch or 0))


class _Metrics(TrainerCallback):
    """Appends what the Trainer logs to a file of JSON lines."""

    def __init__(self, path: Path):
        self._path = path

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
