"""Training the language model: rows of ids and text, to batches, to weights.

Input is JSON lines (UTF-8), one training row each; ``codes`` are speech codes, 0 .. num_codes - 1:

    {"kind": "asr", "codes": [5, 9, ...], "text": "..."}      hear, then write
    {"kind": "tts", "text": "...", "codes": [...]}            read, then say
    {"kind": "streaming", "text": "...", "codes": [...]}      write and say, 13 : 26
    {"kind": "interleaved", "segments": [{"text": "..."}, {"codes": [...]}, ...]}
    {"kind": "text", "text": "..."}
    {"kind": "dialogue", "turns": [{"codes": [...]} or {"text": "..."},
                                   {"text": "...", "codes": [...]}, ...]}

The turns of a dialogue alternate between the user's and the replies; a reply may lack ``codes``,
its end is not learned then. ``instructions`` of a dialogue stand in its system text, for models
that follow any. With ``learn`` a row of any kind is for its text (``"text"``) or its speech
(``"speech"``) alone. Any further fields of a row are ignored. ``voiceglm.prompt`` says which ids a
row becomes and which of them are learned.

A run mixes any number of sources, each with its exact share of the ids (``voiceglm.mixing``).
Pre-training and fine-tuning are runs of the same function, the second from the first's model.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from voiceglm.documents import Documents, ListedDocuments
from voiceglm.errors import ConfigError
from voiceglm.language_model import VoiceLM
from voiceglm.mixing import Portion, shares_of
from voiceglm.packing import BatchPlan, DocumentBatches
from voiceglm.prompt import IGNORED, Example, PromptWriter
from voiceglm.ranks import is_first, mean_over_ranks
from voiceglm.train_config import TrainConfig
from voiceglm.training import fit, plain_attention
from voiceglm.vocabulary import Vocabulary

_LOOKED_AT = 8  # batches in which there must be speech to be learned


@dataclass(frozen=True)
class Source:
    """Documents, and how much of a run comes from them."""

    documents: Documents
    portion: Portion = field(default_factory=Portion)


@dataclass(frozen=True, kw_only=True)
class LanguageTraining:
    """What a run of the language model learns from a row.

    Attributes:
        text_loss_weight: Of each learned text or special id; 0 trains on speech alone.
        speech_loss_weight: Of each learned speech id; 0 trains on text alone.
        dropout: Of what each attention and feed-forward layer adds, while training.
        allow_text_only: Let a run teach no speech at all; what speaks is then only as good as what
            it was before, and gets worse the longer the run is.
        compile_layers: Compile them for this machine before the first step, which takes minutes
            and makes each step quicker, on a CPU by a third. Where there is no GPU this needs a
            C++ compiler.
        plan: How rows become batches.
    """

    text_loss_weight: float = 1.0
    speech_loss_weight: float = 1.0
    dropout: float = 0.0
    allow_text_only: bool = False
    compile_layers: bool = False
    plan: BatchPlan = field(default_factory=BatchPlan)

    def __post_init__(self) -> None:
        """Refuse weights under which nothing is learned."""
        weights = (self.text_loss_weight, self.speech_loss_weight)
        if min(weights) < 0 or not any(weights):
            raise ConfigError("loss weights must not be negative, and not both zero")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be at least 0 and under 1, got {self.dropout}")


def read_examples(path: Path, writer: PromptWriter) -> Iterator[Example]:
    """Read the rows of a file as documents of ids.

    Raises:
        ConfigError: If the file is missing or a row cannot be used, naming its line.
    """
    if not path.is_file():
        raise ConfigError(f"no such training file: {path}")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield writer.example(json.loads(line)).compact()
            except (ValueError, AttributeError) as error:  # JSON that is broken, or no object
                raise ConfigError(f"{path}, line {number}: {error}") from None


def read_source(path: Path, writer: PromptWriter) -> Source:
    """Read a whole file of rows into memory; see :func:`read_examples`."""
    return Source(ListedDocuments(path.name, read_examples(path, writer)))


def train_language_model(
    model: VoiceLM,
    sources: Sequence[Source],
    config: LanguageTraining,
    train: TrainConfig,
    folder: Path,
    *,
    samples: Callable[[Path], None] | None = None,
) -> VoiceLM:
    """Train ``model`` in place, from its weights or from where a stopped run left off.

    Weights that take no gradient stay. ``train.batch_size`` is not used: a batch has
    ``config.plan.ids_per_batch`` ids. Logged beside ``loss``: ``text_loss`` and ``speech_loss``,
    each unweighted, per learned id.

    Args:
        model: Fresh (``VoiceLM.new``), grown (``VoiceLM.grow``) or trained before.
        sources: The mix.
        config: What is learned from it.
        train: Steps and optimizer.
        folder: Checkpoints and metrics.
        samples: See :func:`voiceglm.training.fit`.

    Raises:
        ConfigError: If the mix is empty, does not add up, does not fit the model, or would unlearn
            speech; or if layers are to be compiled and there is no compiler.
        TrainingError: If the loss is not finite.
    """
    batches = mixed_batches(model, sources, config, train.steps * train.accumulate)
    objective = Objective(model, config)
    if config.compile_layers:
        objective.compile_layers()
    try:
        with plain_attention(model.network.config):
            fit(objective, batches, train, folder, samples=samples)
    finally:
        objective.release()
    model.network.float().eval()
    return model


def mixed_batches(
    model: VoiceLM, sources: Sequence[Source], config: LanguageTraining, num_batches: int
) -> DocumentBatches:
    """Return the batches of a run, after telling on stderr how much comes from each source.

    Raises:
        ConfigError: See :func:`train_language_model`.
    """
    plan, longest = config.plan, model.config.context_length
    if plan.row_length > longest:
        raise ConfigError(
            f"plan.row_length is {plan.row_length}, the model reads at most {longest} ids; lower it"
        )
    if not sources:
        raise ConfigError("there is nothing to train on: the mix is empty")
    documents = [plan.fitting(source.documents) for source in sources]
    sizes = [int(each.lengths.sum(dtype="int64")) for each in documents]
    num_ids = num_batches * plan.ids_per_batch
    shares = shares_of([source.portion for source in sources], sizes, num_ids)
    batches = DocumentBatches(documents, shares, plan)
    for each, size, share in zip(documents, sizes, shares, strict=True):
        if not is_first():
            break
        sys.stderr.write(
            f"{each.name}: {len(each.lengths):,} documents, {size:,} ids; "
            f"{share:.2%} of the run, {share * num_ids / size:.2f} epochs\n"
        )
    if not config.allow_text_only and not _teaches_speech(batches, model.vocabulary, config):
        raise ConfigError(
            "the mix teaches no speech, so the model would unlearn to speak; add rows with codes "
            "to it (docs/training.md), or set objective.allow_text_only"
        )
    return batches


def _teaches_speech(
    batches: DocumentBatches, vocabulary: Vocabulary, config: LanguageTraining
) -> bool:
    labels = (batches.batch(number)["labels"] for number in range(_LOOKED_AT))
    start, end = vocabulary.speech_start_id, vocabulary.speech_start_id + vocabulary.num_codes
    return config.speech_loss_weight > 0 and any(
        bool(((each >= start) & (each < end)).any()) for each in labels
    )


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
        self._layers: Callable[[Tensor, Tensor | None], Tensor] = self._hidden_states
        self._hooks: list[RemovableHandle] = []
        if config.dropout:
            branches = [
                module
                for name, module in self.network.named_modules()
                if name.endswith((".o_proj", ".mlp"))
            ]
            self._hooks = [branch.register_forward_hook(self._drop) for branch in branches]

    def compile_layers(self) -> None:
        """Compile the layers at the first step; the model itself stays as it is.

        Raises:
            ConfigError: If there is neither a GPU nor a C++ compiler.
        """
        compiler = os.environ.get("CXX", "g++")
        if not torch.cuda.is_available() and shutil.which(compiler) is None:
            raise ConfigError(
                f"there is no C++ compiler {compiler!r}, which objective.compile_layers needs; "
                "install it, name another in CXX, or set objective.compile_layers to false"
            )
        self._layers = torch.compile(self._hidden_states, dynamic=True)  # batches have any length

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
        hidden = self._layers(ids, position_ids)  # (B, L, D)
        targets = labels[:, 1:]
        learned = targets != IGNORED  # (B, L - 1)
        logits = self.network.lm_head(hidden[:, :-1][learned])  # (N, V)
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

    def _hidden_states(self, ids: Tensor, position_ids: Tensor | None) -> Tensor:
        out = self.network.model(ids, position_ids=position_ids, use_cache=False)
        return out.last_hidden_state

    def _drop(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        del inputs
        return F.dropout(output, self._config.dropout, module.training)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return mean_over_ranks((values * weights).sum(), weights.sum())
