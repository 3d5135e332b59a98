"""Training the language model: rows of ids and text, to batches, to weights.

Input is JSON lines (UTF-8), one training row each; ``codes`` are speech codes, 0 .. num_codes - 1:

    {"kind": "asr", "codes": [5, 9, ...], "text": "..."}      hear, then write
    {"kind": "tts", "text": "...", "codes": [...]}            read, then say
    {"kind": "streaming", "text": "...", "codes": [...]}      write and say, 13 : 26
    {"kind": "interleaved", "segments": [{"text": "..."}, {"codes": [...]}, ...]}
    {"kind": "text", "text": "..."}
    {"kind": "dialogue", "turns": [{"codes": [...]} or {"text": "..."},
                                   {"text": "...", "codes": [...]}, ...]}

The turns of a dialogue alternate between the user's and the replies; a reply may lack ``codes``.
``instructions`` of a dialogue stand in its system text, for models that follow any. With ``learn``
a row of any kind is for its text (``"text"``) or its speech (``"speech"``) alone. Any further
fields of a row are ignored. ``voiceglm.prompt`` says which ids a row becomes and which of them are
learned.

Pre-training and fine-tuning are two runs of the same function, the second from the first's model.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from voiceglm.errors import ConfigError
from voiceglm.language_model import VoiceLM
from voiceglm.packing import BatchPlan, PlannedBatches
from voiceglm.prompt import IGNORED, Example, PromptWriter
from voiceglm.ranks import mean_over_ranks
from voiceglm.train_config import TrainConfig
from voiceglm.training import fit, plain_attention
from voiceglm.vocabulary import Vocabulary


@dataclass(frozen=True)
class Source:
    """One file of training rows.

    Attributes:
        path: JSON lines.
        repeat: How many times each row is seen in an epoch over all sources.
    """

    path: Path
    repeat: int = 1


@dataclass(frozen=True, kw_only=True)
class LanguageTraining:
    """What a run of the language model learns from a row.

    Attributes:
        text_loss_weight: Of each learned text or special id; 0 trains on speech alone.
        speech_loss_weight: Of each learned speech id; 0 trains on text alone.
        dropout: Of what each attention and feed-forward layer adds, while training.
        plan: How rows become batches.
    """

    text_loss_weight: float = 1.0
    speech_loss_weight: float = 1.0
    dropout: float = 0.0
    plan: BatchPlan = field(default_factory=BatchPlan)

    def __post_init__(self) -> None:
        """Refuse weights under which nothing is learned."""
        weights = (self.text_loss_weight, self.speech_loss_weight)
        if min(weights) < 0 or not any(weights):
            raise ConfigError("loss weights must not be negative, and not both zero")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be at least 0 and under 1, got {self.dropout}")


def read_examples(source: Source, writer: PromptWriter) -> Iterator[Example]:
    """Read the rows of a file as documents of ids.

    Raises:
        ConfigError: If the file is missing or a row cannot be used, naming its line.
    """
    if not source.path.is_file():
        raise ConfigError(f"no such training file: {source.path}")
    with source.path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                example = writer.example(json.loads(line)).compact()
            except (ValueError, AttributeError) as error:  # JSON that is broken, or no object
                raise ConfigError(f"{source.path}, line {number}: {error}") from None
            yield from [example] * source.repeat


def train_language_model(
    model: VoiceLM,
    sources: Sequence[Source],
    config: LanguageTraining,
    train: TrainConfig,
    folder: Path,
) -> VoiceLM:
    """Train ``model`` in place, from its weights or from where a stopped run left off.

    ``train.batch_size`` is not used: a batch has ``config.plan.ids_per_batch`` ids.
    Logged beside ``loss``: ``text_loss`` and ``speech_loss``, each unweighted, per learned id.

    Args:
        model: Fresh (``VoiceLM.new``) or trained before.
        sources: The mix of rows.
        config: What is learned from them.
        train: Steps and optimizer.
        folder: Checkpoints and metrics.
    """
    examples = [example for source in sources for example in read_examples(source, model.writer)]
    plan = config.plan
    if plan.row_length > model.config.context_length:
        plan = replace(plan, row_length=model.config.context_length)
    batches = PlannedBatches(examples, plan, train.steps * train.accumulate)
    objective = Objective(model, config)
    try:
        with plain_attention(model.network.config):
            fit(objective, batches, train, folder)
    finally:
        objective.release()
    model.network.float().eval()
    return model


class Objective(nn.Module):
    """The loss of next-id prediction, text and speech weighed apart.

    Args:
        model: Trained in place.
        config: Weights and dropout.
    """

    def __init__(self, model: VoiceLM, config: LanguageTraining):
        super().__init__()
        self.network = model.network
        self._vocabulary: Vocabulary = model.vocabulary
        self._config = config
        self._hooks: list[RemovableHandle] = []
        if config.dropout:
            branches = [
                module
                for name, module in self.network.named_modules()
                if name.endswith((".o_proj", ".mlp"))
            ]
            self._hooks = [branch.register_forward_hook(self._drop) for branch in branches]

    def release(self) -> None:
        """Take the dropout out of the network again."""
        for hook in self._hooks:
            hook.remove()

    def forward(
        self, ids: Tensor, labels: Tensor, position_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``loss``, ``text_loss`` and ``speech_loss``, all ().

        Args:
            ids: (B, L).
            labels: (B, L), ``IGNORED`` where nothing is learned.
            position_ids: (B, L), restarting at each document of a packed row.
        """
        out = self.network.model(ids, position_ids=position_ids, use_cache=False)
        targets = labels[:, 1:]
        learned = targets != IGNORED  # (B, L - 1)
        logits = self.network.lm_head(out.last_hidden_state[:, :-1][learned])  # (N, V)
        targets = targets[learned]  # (N,)
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
        speech = (targets >= self._vocabulary.speech_start_id).to(losses.dtype)
        weights = torch.lerp(
            losses.new_tensor(self._config.text_loss_weight),
            losses.new_tensor(self._config.speech_loss_weight),
            speech,
        )
        return {
            "loss": _mean(losses, weights),
            "text_loss": _mean(losses.detach(), 1 - speech),
            "speech_loss": _mean(losses.detach(), speech),
        }

    def _drop(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        del inputs
        return F.dropout(output, self._config.dropout, module.training)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return mean_over_ranks((values * weights).sum(), weights.sum())
