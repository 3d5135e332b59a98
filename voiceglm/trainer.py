"""transformers' ``Trainer``, fed with numbered batches."""

import math
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler
from tqdm import tqdm
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from voiceglm.batches import Batch, Batches
from voiceglm.errors import OutputError, TrainingError
from voiceglm.optimizers import rate_share, with_muon
from voiceglm.ranks import rank, sum_over_ranks, world
from voiceglm.train_config import TrainConfig
from voiceglm.training_log import TrainingLog


class Shield(nn.Module):
    """Hides a model's own attributes from the Trainer, which writes to one called ``config``."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        """Call the model."""
        return self.model(**batch)


class Numbered(Dataset[Batch]):
    """The batches of this process, by number.

    Args:
        batches: Of all processes.
        count: How many there are.
        ahead: Whether a thread prepares the next one while one is used. Where processes prepare
            them there is none.
    """

    def __init__(self, batches: Batches, count: int, *, ahead: bool):
        self._batches = batches
        self._count = count
        self._rank, self._world = rank(), world()
        self._thread = ThreadPoolExecutor(1, "batches") if ahead else None
        self._next: tuple[int, Future[Batch]] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Batch:
        if self._thread is None:
            return self._make(number)
        found = self._next
        future = found[1] if found and found[0] == number else self._begin(number)
        self._next = None
        if number + 1 < self._count:
            self._next = (number + 1, self._begin(number + 1))
        return future.result()

    def close(self) -> None:
        """Forget what was prepared for nobody."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _begin(self, number: int) -> "Future[Batch]":
        assert self._thread is not None, "only a thread begins early"
        return self._thread.submit(self._make, number)

    def _make(self, number: int) -> Batch:
        return self._batches.batch(number, self._rank, self._world)


def _only(batches: list[Batch]) -> Batch:
    return batches[0]


class BatchTrainer(Trainer):
    """A Trainer of numbered batches that logs every scalar a model returns."""

    config: TrainConfig

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False
        self._sums: dict[str, Tensor] = {}
        self._calls = 0
        self._waited, self._since = 0.0, time.monotonic()

    def get_train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of this process in order."""
        # Not given to accelerate, which would share the batches out a second time.
        assert isinstance(self.train_dataset, Numbered), "fit numbers the batches"
        workers = self.config.loader_workers
        return DataLoader(
            self.train_dataset,
            batch_sampler=BatchSampler(SequentialSampler(self.train_dataset), 1, drop_last=False),
            collate_fn=_only,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # its own, so that it draws nothing from the model's
        )

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Fetch the batches of a step, and note how long that took."""
        began = time.monotonic()
        found = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._waited += time.monotonic() - began
        return found

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss, and keep every scalar for the log.

        Raises:
            TrainingError: If the loss is not finite.
        """
        del num_items_in_batch
        scalars = model(**inputs)
        for name, value in scalars.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach().float()
        self._calls += 1
        loss = float(scalars["loss"].detach())
        if not math.isfinite(loss):
            raise TrainingError(
                f"loss is {loss} at step {self.state.global_step}; "
                "the last checkpoint is kept, lower train.peak_lr"
            )
        return (scalars["loss"], scalars) if return_outputs else scalars["loss"]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the means since the last time."""
        if self._calls and "loss" in logs:
            logs |= self._means()
            now = time.monotonic()
            logs["waited_share"] = self._waited / max(1e-9, now - self._since)
            self._waited, self._since = 0.0, now
        super().log(logs, start_time)

    def _means(self) -> dict[str, float]:
        """Return the means since the last log, over all processes."""
        names = list(self._sums)
        sums = sum_over_ranks(torch.stack([self._sums[name] for name in names]))
        means = (sums / (self._calls * world())).tolist()
        self._sums, self._calls = {}, 0
        return dict(zip(names, means, strict=True))

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """Make the optimizer that the settings ask for."""
        if self.config.muon_lr is None or self.optimizer is not None:
            return super().create_optimizer(model)
        model, arguments = model or self.model, self.args
        assert model is not None, "the Trainer was given a model"
        self.optimizer = with_muon(
            model,
            muon_lr=self.config.muon_lr,
            lr=arguments.learning_rate,
            betas=(arguments.adam_beta1, arguments.adam_beta2),
            weight_decay=arguments.weight_decay,
            decayed=self.get_decay_parameter_names(model),
        )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the schedule that the settings ask for."""
        config = self.config
        warmup = min(config.warmup_steps, config.steps // 2)

        def share(step: int) -> float:
            return rate_share(
                step,
                steps=num_training_steps,
                warmup=warmup,
                schedule=config.schedule,
                final=config.final_lr_share,
            )

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, share)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        assert self.model is not None, "the Trainer was given a model"
        super()._save(output_dir, _apart(state_dict or self.model.state_dict()))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:
            draft = Path(self.args.output_dir or ".") / f"checkpoint-{self.state.global_step}"
            shutil.rmtree(draft, ignore_errors=True)
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise OutputError(
                f"cannot write {draft}: {why.splitlines()[0]}; the checkpoint before it is kept"
            ) from None


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share their memory, which a safetensors file cannot say."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found


class Logging(TrainerCallback):
    """Hands what the Trainer logs to the run's log."""

    def __init__(self, log: TrainingLog | None):
        self._log = log

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a row."""
        if logs and self._log:
            self._log.write(state.global_step, logs)


class Progress(TrainerCallback):
    """Shows on stderr how far a run is, and its last losses."""

    def __init__(self, title: str):
        self._title = title
        self._bar: Any = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Open the bar where the run goes on."""
        self._bar = tqdm(
            total=state.max_steps, initial=state.global_step, desc=self._title, unit="step"
        )

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Move the bar."""
        self._bar.update(state.global_step - self._bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the losses."""
        losses = {name: value for name, value in (logs or {}).items() if name.endswith("loss")}
        if "loss" in losses:
            self._bar.set_postfix(losses)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Close the bar."""
        self._bar.close()
