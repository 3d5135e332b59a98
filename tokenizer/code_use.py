"""How many codes are in use while a tokenizer is trained, and the end of a run that uses too few.

Counts are exact: of every real frame, summed over all ranks. They are buffers beside the
tokenizer, so a run that goes on has counted what one that never stopped has.

Letters used in shapes below: N codes, B batch.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from tokenizer.model import SpeechTokenizer
from tokenizer.quantizer import perplexity
from voiceglm.errors import ConfigError, TrainingError
from voiceglm.ranks import sum_over_ranks
from voiceglm.training_log import Gauge


@dataclass(frozen=True, kw_only=True)
class CollapseConfig:
    """When a run is stopped because its codebook has collapsed."""

    min_share: float = 0.05
    """Least share of the codes that must occur within a window, or of its frames if those are
    fewer."""
    after_steps: int = 500
    """Steps before which nothing is judged."""
    window_steps: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= 1:
            raise ConfigError(f"collapse.min_share must be in [0, 1], got {self.min_share}")
        if self.window_steps < 1 or self.after_steps < 0:
            raise ConfigError("collapse.window_steps must be at least 1, after_steps at least 0")


class CountedTokenizer(nn.Module):
    """A tokenizer in training, with a tally of its codes.

    Args:
        tokenizer: Trained in place; with a codebook.
    """

    in_window: Tensor  # (N,), frames of each code since the last judgement
    in_pass: Tensor  # (N,), since the pass began

    def __init__(self, tokenizer: SpeechTokenizer):
        super().__init__()
        self.tokenizer = tokenizer
        for name in ("in_window", "in_pass"):
            self.register_buffer(name, torch.zeros(tokenizer.num_codes, dtype=torch.long))

    def forward(self, features: Tensor, mask: Tensor, **targets: Tensor) -> dict[str, Tensor]:
        """Return the losses of a batch; see :meth:`tokenizer.model.SpeechTokenizer.losses`.

        Args:
            features: (B, F, L).
            mask: (B, L).
            targets: Labels, and ``weights`` (B,).
        """
        weights = targets.pop("weights", None)
        encoded, scalars = self.tokenizer.losses(features, mask, targets, weights)
        assert encoded.codes is not None, "codes are counted where there is a codebook"
        if self.training:
            codes = encoded.codes[encoded.mask]
            hits = sum_over_ranks(torch.bincount(codes, minlength=len(self.in_pass)))
            self.in_window += hits
            self.in_pass += hits
        return scalars


class CodeUse(Gauge):
    """Writes down which codes a pass used, and stops a run that has collapsed.

    Args:
        model: Holds the tally.
        config: ``None``: a run is never stopped.
        steps_per_pass: Optimizer steps in which every recording comes about once.
    """

    def __init__(
        self, model: CountedTokenizer, config: CollapseConfig | None, steps_per_pass: float
    ):
        self._model = model
        self._config = config
        self._steps_per_pass = steps_per_pass
        self._moved = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write a pass down at its end, judge the use of a window at its end.

        Raises:
            TrainingError: If the codebook has collapsed.
        """
        self._moved = True
        step, length = state.global_step, self._steps_per_pass
        if step // length > (step - 1) // length:
            self._write(step)
        if self._config is not None and step % self._config.window_steps == 0:
            self._judge(step, self._config)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write down the part of a pass that a run ends with."""
        if self._moved and self._model.in_pass.any():
            self._write(state.global_step)

    def _write(self, step: int) -> None:
        tally = self._model.in_pass
        used = int((tally > 0).sum())
        row = {
            "codes_used_in_pass": used,
            "codes_unused_in_pass": len(tally) - used,
            "perplexity_of_pass": float(perplexity(tally)),
        }
        tally.zero_()
        if self.log is not None:
            self.log.write(step, row)

    def _judge(self, step: int, config: CollapseConfig) -> None:
        tally = self._model.in_window
        used, frames = int((tally > 0).sum()), int(tally.sum())
        tally.zero_()
        possible = min(len(tally), frames)
        if step < config.after_steps or used >= config.min_share * possible:
            return
        raise TrainingError(
            f"the codebook has collapsed at step {step}: {used} of {possible:,} codes "
            f"in the last {config.window_steps} steps, collapse.min_share asks for "
            f"{100 * config.min_share:g} %; the last checkpoint is kept; try "
            "quantizer.kmeans_init, a higher quantizer.revive_below, a lower train.peak_lr or "
            "quantizer.kind fsq"
        )
