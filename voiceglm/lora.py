"""Low-rank adapters: fine-tuning that leaves the weights as they are and learns small differences.

Every linear map inside the layers, of attention and feed-forward, gets one (Hu et al. 2021, arXiv
2106.09685), by ``peft``. In the end they are added to the weights, or kept in a folder of their own
that :func:`merge` adds later. Rows of a vocabulary that was grown are learned whole beside them: no
adapter reaches the embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import nn

from voiceglm.checkpoint import read_shard
from voiceglm.errors import CheckpointError, ConfigError, DependencyError
from voiceglm.files import new_folder
from voiceglm.language_config import GrownModelConfig, Network
from voiceglm.language_model import VoiceLM

if TYPE_CHECKING:
    from peft import PeftModel

_CONFIG, _TENSORS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """How a model is adapted.

    Attributes:
        rank: Of each adapter.
        alpha: An adapter's product is multiplied by ``alpha / rank``.
        dropout: Of what an adapter reads, while training.
        new_rows: Whether the rows of special and speech ids, in embedding and head, are learned
            too; ``None`` for those of a model whose vocabulary was grown.
        keep: ``merged`` into the weights, or an ``adapter`` for ``voiceglm lm merge``.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    new_rows: bool | None = None
    keep: Literal["merged", "adapter"] = "merged"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.rank < 1 or self.alpha <= 0:
            raise ConfigError("lora.rank must be at least 1 and lora.alpha positive")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora.dropout must be at least 0 and under 1, got {self.dropout}")


class Adapter:
    """The adapters of a model that is being fine-tuned; they sit in its network.

    Args:
        model: Gets the adapters; of its weights only theirs take a gradient from now on.
        settings: Of the adapters.
        seed: Of their first weights.

    Raises:
        DependencyError: If peft is not installed.
    """

    def __init__(self, model: VoiceLM, settings: LoraSettings, *, seed: int = 0):
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError:
            raise DependencyError(
                "LoRA needs peft; install it with: pip install 'voiceglm[train]'"
            ) from None
        linear = {
            name.rpartition(".")[2]
            for name, part in model.network.model.layers.named_modules()
            if isinstance(part, nn.Linear)
        }
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,  # pyright: ignore[reportArgumentType]  a quotient of it is used
            lora_dropout=settings.dropout,
            target_modules=sorted(linear),
            trainable_token_indices=_new_rows(model, settings),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._adapted: PeftModel = get_peft_model(model.network, config)
        self._model = model

    def merge(self) -> None:
        """Add the adapters to the weights; the model's network is a plain one again."""
        self._model.network = cast(Network, self._adapted.merge_and_unload())

    def save(self, folder: Path, *, replace: bool = False) -> None:
        """Write the adapters alone, as peft does.

        Raises:
            OutputError: If the folder is taken or cannot be written.
        """
        with new_folder(folder, replace=replace) as draft:
            self._adapted.save_pretrained(str(draft), save_embedding_layers=False)


def merge(model: VoiceLM, folder: Path) -> None:
    """Add adapters that were kept to the weights of the model they were made for.

    Raises:
        CheckpointError: If the folder holds none, or those of another model.
        DependencyError: If peft is not installed.
    """
    try:
        from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
        from peft import set_peft_model_state_dict as set_state
    except ImportError:
        raise DependencyError(
            "LoRA needs peft; install it with: pip install 'voiceglm[train]'"
        ) from None
    if not (folder / _CONFIG).is_file():
        raise CheckpointError(f"{folder} holds no adapter: {_CONFIG} is missing")
    tensors = read_shard(folder / _TENSORS)
    try:
        adapted = get_peft_model(model.network, PeftConfig.from_pretrained(str(folder)))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"{folder} is no adapter of this model: {error}") from None
    expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    if _shapes(expected) != _shapes(tensors):
        raise CheckpointError(f"{folder} is an adapter of another model than the one it is put on")
    set_state(adapted, tensors)
    model.network = cast(Network, adapted.merge_and_unload())


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _new_rows(model: VoiceLM, settings: LoraSettings) -> dict[str, list[int]] | None:
    """Return which rows are learned whole, by the name of the matrix."""
    wanted = settings.new_rows
    if wanted is None:
        wanted = isinstance(model.config, GrownModelConfig)
    if not wanted:
        return None
    vocabulary = model.vocabulary
    rows = [*vocabulary.special_ids, *vocabulary.style_ids, *vocabulary.speech_ids]
    if model.network.config.tie_word_embeddings:
        return {"embed_tokens": rows}
    return {"embed_tokens": rows, "lm_head": rows}
