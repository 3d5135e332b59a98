"""One way to train: transformers' ``Trainer`` around any module that returns its own loss.

A model is called with the fields of a batch and returns a dict of scalar tensors, one of which is
``loss``; all of them are averaged and logged. A run's folder holds its checkpoints; a run that was
stopped goes on from the newest complete one. Started by ``torchrun``, several processes share every
batch, and the run is the one that a single process would make.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    PreTrainedConfig,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from voiceglm.batches import Batches
from voiceglm.errors import ConfigError, TrainingError
from voiceglm.ranks import is_first, wait
from voiceglm.resume import check_same_model, drop_incomplete, newest_checkpoint, step_of
from voiceglm.train_config import TrainConfig, shows_samples
from voiceglm.trainer import BatchTrainer, Logging, Numbered, Progress, Shield
from voiceglm.training_log import Gauge, TrainingLog, plot_run

SAMPLES = "samples"
TRAIN = "train"  # the folder of checkpoints within that of a run


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
    batches: Batches,
    config: TrainConfig,
    folder: Path,
    *,
    samples: Callable[[Path], None] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train ``model`` in place, from scratch or from where a stopped run left off.

    A step is ``config.accumulate`` batches. The folder's ``metrics.jsonl``, ``tensorboard/`` and
    ``curves.png`` say how it went.

    Args:
        model: Called as ``model(**batch)``; returns scalar tensors, ``loss`` among them. What it
            averages over a batch goes through :func:`voiceglm.ranks.mean_over_ranks`.
        batches: What is learned from, of ``config.items_per_batch`` items each.
        config: Steps, learning rate and so on.
        folder: Checkpoints and metrics are kept here.
        samples: Shows what the model does now in a new folder, every ``config.sample_every`` steps
            and at the end; called in evaluation mode, in the first process.
        callbacks: Called by the Trainer, behind its own; a :class:`Gauge` gets the log.

    Raises:
        TrainingError: If the loss is not finite, or the memory does not suffice.
        CheckpointError: If the folder's run is of another architecture.
        ConfigError: If this machine cannot do what is asked for.
        OutputError: If a checkpoint cannot be written; the one before it is kept.
    """
    shield = Shield(model)
    if is_first():
        drop_incomplete(folder)
    wait()
    newest = newest_checkpoint(folder)
    if newest:
        check_same_model(shield, newest)
    if config.recompute:
        recompute(model)
    log = TrainingLog(folder, step_of(newest) if newest else 0) if is_first() else None
    watching: list[TrainerCallback] = [Logging(log)]
    if is_first():
        watching.append(Progress(folder.name if folder.name != TRAIN else folder.parent.name))
    if is_first() and samples:
        watching.append(_Samples(model, folder / SAMPLES, samples, config))
    watching += _with_log(callbacks, log)
    count, ahead = config.steps * config.accumulate, config.loader_workers == 0
    numbered = Numbered(batches, count, ahead=ahead)
    trainer = BatchTrainer(
        model=shield,
        args=_arguments(model, config, folder),
        train_dataset=numbered,
        callbacks=watching,
    )
    trainer.remove_callback(PrinterCallback)  # writes to stdout, where data belongs
    trainer.config = config
    try:
        with _explained(trainer):
            trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    finally:
        numbered.close()
        if log:
            log.close()
    if is_first():
        plot_run(folder)


def _arguments(model: nn.Module, config: TrainConfig, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=config.steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.peak_lr,
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
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # who keeps averages keeps them equal in every process
        report_to=[],
        disable_tqdm=True,
        **_sharding(config, model),
    )


def _with_log(
    callbacks: Sequence[TrainerCallback], log: TrainingLog | None
) -> Sequence[TrainerCallback]:
    """Give the log to those that have something to write."""
    for each in callbacks:
        if isinstance(each, Gauge):
            each.log = log
    return callbacks


def recompute(model: nn.Module) -> None:
    """Let every layer of transformers in ``model`` be computed again in the backward pass.

    Raises:
        ConfigError: If it has none.
    """
    layers = [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
    if not layers:
        raise ConfigError("train.recompute is for stacks of transformers layers; here is none")
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = _again  # type: ignore[assignment]  as transformers does


def _again(function: Callable[..., Any], *inputs: Any) -> Any:
    return checkpoint(function, *inputs, use_reentrant=False)


def _sharding(config: TrainConfig, model: nn.Module) -> dict[str, Any]:
    """Return the Trainer's arguments for weights in parts."""
    if config.sharding == "none":
        return {}
    if not torch.cuda.is_available():  # accelerate would take whole copies, and not say so
        raise ConfigError("train.sharding fsdp needs GPUs; leave it at none here")
    layers = {
        type(part).__name__
        for part in model.modules()
        if isinstance(part, GradientCheckpointingLayer)
    }
    return {
        "fsdp": "full_shard auto_wrap",
        "fsdp_config": {
            "version": 2,
            "transformer_layer_cls_to_wrap": sorted(layers),
            "state_dict_type": "FULL_STATE_DICT",
        },
    }


@contextmanager
def _explained(trainer: BatchTrainer) -> Iterator[None]:
    """Say of a machine that is too small what to do about it."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        starved = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not starved and "allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"out of memory at step {trainer.state.global_step}; raise train.accumulate or set "
            "train.recompute, lower train.batch_size or the ids of a batch"
        ) from None


class _Samples(TrainerCallback):
    """Lets the model show what it does; its own draws and its state are as if it had not."""

    def __init__(
        self, model: nn.Module, folder: Path, show: Callable[[Path], None], config: TrainConfig
    ):
        self._model = model
        self._folder = folder
        self._show = show
        self._config = config

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        step = state.global_step
        if not shows_samples(step, self._config.steps, self._config.sample_every):
            return
        folder = self._folder / f"step_{step}"
        folder.mkdir(parents=True, exist_ok=True)
        training = {part: part.training for part in self._model.modules()}
        self._model.eval()
        with torch.random.fork_rng(), torch.no_grad():
            self._show(folder)
        for part, was in training.items():
            part.training = was
