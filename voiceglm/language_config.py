"""The size of a language model, and the network of that size."""

from dataclasses import dataclass

from transformers import GlmConfig, GlmForCausalLM

from voiceglm.errors import ConfigError


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
