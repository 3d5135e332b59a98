"""The size of a language model, and the network of that size."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import (
    Glm4ForCausalLM,
    GlmConfig,
    GlmForCausalLM,
    LlamaForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

from voiceglm.checkpoint import fill
from voiceglm.errors import ConfigError

Network = GlmForCausalLM  # to type checkers all of them are this one: they have the same parts
NETWORKS: Mapping[str, Any] = {
    "glm": GlmForCausalLM,
    "glm4": Glm4ForCausalLM,
    "llama": LlamaForCausalLM,
    "qwen2": Qwen2ForCausalLM,
    "qwen3": Qwen3ForCausalLM,
}
"""By ``model_type``: networks whose logits are their head's product with their last states."""

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig:
    """The size of a GLM decoder; the defaults are those of nano.

    Attributes:
        hidden_size: Channels of one position.
        num_layers: Decoder layers.
        num_heads: Query heads; ``hidden_size / num_heads`` channels each.
        num_key_value_heads: Key and value heads, shared among the query heads.
        intermediate_size: Channels of the gated feed-forward layers.
        context_length: The most ids it reads.
        conversation_length: The most ids of a conversation it was trained to hold; older turns
            are forgotten. ``None``: as many as it reads.
        norm_epsilon: Added to the mean square before its root.
        rope_theta: Base of the rotary frequencies, which turn half of each head.
    """

    hidden_size: int = 256
    num_layers: int = 6
    num_heads: int = 4
    num_key_value_heads: int = 2
    intermediate_size: int = 768
    context_length: int = 2_048
    conversation_length: int | None = None
    norm_epsilon: float = 1e-5
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        """Refuse sizes that do not divide."""
        if self.hidden_size % self.num_heads or self.hidden_size // self.num_heads % 4:
            raise ConfigError(
                f"hidden_size {self.hidden_size} must be {self.num_heads} heads of a multiple of 4"
            )
        if self.num_heads % self.num_key_value_heads:
            raise ConfigError(
                f"num_heads {self.num_heads} must be a multiple of num_key_value_heads "
                f"{self.num_key_value_heads}"
            )

    def network(self, vocabulary_size: int) -> GlmForCausalLM:
        """Build the network; its weights are random, drawn from torch's global generator."""
        config = GlmConfig(
            vocab_size=vocabulary_size,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            num_key_value_heads=self.num_key_value_heads,
            head_dim=self.hidden_size // self.num_heads,
            max_position_embeddings=self.context_length,
            rms_norm_eps=self.norm_epsilon,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": self.rope_theta,
                "partial_rotary_factor": 0.5,
            },
            tie_word_embeddings=False,
            pad_token_id=None,
            eos_token_id=0,  # unused: VoiceLM decides what ends a reply
        )
        network = GlmForCausalLM(config)
        network.set_attn_implementation("sdpa")
        return network.eval()


@dataclass(frozen=True, kw_only=True)
class GrownModelConfig:
    """A text model of transformers whose vocabulary was grown by special and speech ids.

    Attributes:
        architecture: What its ``config.json`` says, ``model_type`` among it.
        context_length: The most ids it reads.
        conversation_length: See :class:`LanguageModelConfig`.
    """

    architecture: dict[str, Any]
    context_length: int
    conversation_length: int | None = None

    def __post_init__(self) -> None:
        """Refuse networks that are not known to fit."""
        kind = self.architecture.get("model_type")
        if kind not in NETWORKS:
            raise ConfigError(
                f"cannot build on a network of model_type {kind!r}; known: {', '.join(NETWORKS)}"
            )
        if "sliding_attention" in self.architecture.get("layer_types", ()):
            raise ConfigError("cannot build on a network with sliding windows of attention")

    def network(self, vocabulary_size: int) -> Network:
        """Build the network; its weights are random, drawn from torch's global generator."""
        kind = NETWORKS[self.architecture["model_type"]]
        config = kind.config_class(**{**self.architecture, "vocab_size": vocabulary_size})
        network = kind(config)
        network.set_attn_implementation("sdpa")
        return network.eval()


ModelConfig = LanguageModelConfig | GrownModelConfig


def fill_network(
    network: Network, parts: Iterable[Mapping[str, Tensor]], *, where: str | Path
) -> None:
    """Give a network built on the meta device its weights; see :func:`voiceglm.checkpoint.fill`.

    Raises:
        CheckpointError: Listing missing, unexpected and mis-shaped tensors.
    """
    tied = network.config.tie_word_embeddings
    fill(network, _named(parts, tied=tied), where=where)
    if tied:
        network.tie_weights()
    # The rotary frequencies are a formula, so no file holds them.
    network.model.rotary_emb = type(network.model.rotary_emb)(network.config)


def stored_tensors(network: Network) -> dict[str, Tensor]:
    """Return the weights by name, a head that is the embedding left out."""
    tensors = network.state_dict()
    if network.config.tie_word_embeddings:
        del tensors[_HEAD]
    return tensors


def _named(parts: Iterable[Mapping[str, Tensor]], *, tied: bool) -> Iterator[dict[str, Tensor]]:
    """Yield parts as the network names them: with a head, without what is computed."""
    for part in parts:
        named = {n: tensor for n, tensor in part.items() if not n.endswith("rotary_emb.inv_freq")}
        if tied:
            named.pop(_HEAD, None)
        if tied and _EMBEDDING in named:
            named[_HEAD] = named[_EMBEDDING]
        yield named
