"""ChatGLM checkpoints, the layout GLM-4-Voice is released in, as transformers' native GLM.

The two networks are the same function under other names (docs/porting.md, language model): one
fused query, key and value projection becomes three, and the rotary table is computed, not stored.
No remote code is run.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from voiceglm.errors import CheckpointError
from voiceglm.language_config import LanguageModelConfig
from voiceglm.prompt import PromptFormat
from voiceglm.text_tokenizer import load_ranks
from voiceglm.vocabulary import SPECIAL_NAMES, Vocabulary

_LAYER = re.compile(r"transformer\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_OUTER = {
    "transformer.embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "transformer.encoder.final_layernorm.weight": "model.norm.weight",
    "transformer.output_layer.weight": "lm_head.weight",
}
_INNER = {
    "input_layernorm": "input_layernorm",
    "post_attention_layernorm": "post_attention_layernorm",
    "self_attention.dense": "self_attn.o_proj",
    "mlp.dense_h_to_4h": "mlp.gate_up_proj",
    "mlp.dense_4h_to_h": "mlp.down_proj",
}
RANKS = "tokenizer.model"
_ADDED = "tokenizer_config.json"
_FIRST_CODE = "<|audio_0|>"
_ASSUMED = {"rmsnorm": True, "add_qkv_bias": True, "add_bias_linear": False, "original_rope": True}


def is_released(values: Mapping[str, Any]) -> bool:
    """Say whether a ``config.json`` is that of a ChatGLM network."""
    return values.get("model_type") == "chatglm" or "ffn_hidden_size" in values


def read_released(
    folder: Path, values: Mapping[str, Any]
) -> tuple[LanguageModelConfig, Tokenizer, Vocabulary, PromptFormat]:
    """Read all of a released folder but its weights.

    Args:
        folder: The folder.
        values: Its ``config.json``.

    Raises:
        CheckpointError: If it describes another kind of network, or a file is missing or damaged.
    """
    config = convert_config(values)
    text_tokenizer = load_ranks(folder / RANKS)
    vocabulary = released_vocabulary(folder, values, text_tokenizer)
    return config, text_tokenizer, vocabulary, PromptFormat.glm4voice()


def released_vocabulary(
    folder: Path, values: Mapping[str, Any], text_tokenizer: Tokenizer
) -> Vocabulary:
    """Return where the ids of a released model lie.

    The config only says how many rows there are. A list of added tokens beside it tells where
    speech begins; without one the layout of GLM-4-Voice is taken, if the text ids are its own.

    Raises:
        CheckpointError: If neither applies, or the rows do not hold the ids.
    """
    size, text_size = values["padded_vocab_size"], text_tokenizer.get_vocab_size()
    published = Vocabulary.glm4voice()
    added = _added_tokens(folder / _ADDED)
    if _FIRST_CODE in added:
        num_codes = sum(name.startswith("<|audio_") for name in added)
        # One string is missing of the released 16,384, though the codebook has the code.
        num_codes += num_codes % 2
        start = added[_FIRST_CODE]
    elif text_size == published.text_size:
        num_codes, start = published.num_codes, published.speech_start_id
    else:
        raise CheckpointError(
            f"{folder} has {text_size} text ids, GLM-4-Voice {published.text_size}; its "
            f"{_ADDED} must say where {_FIRST_CODE} is"
        )
    special = {f"<|{name}|>": text_size + n for n, name in enumerate(SPECIAL_NAMES)}
    moved = next((n for n, id_ in special.items() if added.get(n, id_) != id_), None)
    if moved:
        raise CheckpointError(f"{folder}: {moved} is id {added[moved]}, expected {special[moved]}")
    return Vocabulary(text_size, num_codes, start, size)


def _added_tokens(path: Path) -> dict[str, int]:
    """Return the ids of the strings that are no pieces of text; none if there is no list."""
    if not path.is_file():
        return {}
    try:
        listed = json.loads(path.read_text(encoding="utf-8")).get("added_tokens_decoder", {})
        return {entry["content"]: int(id_) for id_, entry in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def convert_config(values: Mapping[str, Any]) -> LanguageModelConfig:
    """Return the sizes a ChatGLM ``config.json`` describes.

    Raises:
        CheckpointError: If it describes another kind of network.
    """
    for name, expected in _ASSUMED.items():
        if values.get(name, expected) != expected:
            raise CheckpointError(f"a ChatGLM network with {name} = {values[name]} is not GLM-4's")
    try:
        heads, hidden = values["num_attention_heads"], values["hidden_size"]
        if values["kv_channels"] * heads != hidden:
            raise CheckpointError(f"{heads} heads of {values['kv_channels']} are not {hidden}")
        return LanguageModelConfig(
            hidden_size=hidden,
            num_layers=values["num_layers"],
            num_heads=heads,
            num_key_value_heads=values["multi_query_group_num"],
            intermediate_size=values["ffn_hidden_size"],
            context_length=values["seq_length"],
            norm_epsilon=values["layernorm_epsilon"],
            rope_theta=10_000.0 * values.get("rope_ratio", 1),
        )
    except KeyError as error:
        raise CheckpointError(f"no ChatGLM config: {error} is missing") from None


def convert_tensors(
    tensors: Mapping[str, Tensor], config: LanguageModelConfig
) -> dict[str, Tensor]:
    """Return the same weights under the names of ``GlmForCausalLM``.

    Raises:
        CheckpointError: On a name no ChatGLM network has.
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == "transformer.rotary_pos_emb.inv_freq":
            continue
        if name in _OUTER:
            converted[_OUTER[name]] = tensor
            continue
        match = _LAYER.fullmatch(name)
        if match and match[2] in _INNER:
            converted[f"model.layers.{match[1]}.{_INNER[match[2]]}.{match[3]}"] = tensor
        elif match and match[2] == "self_attention.query_key_value":
            head = config.hidden_size // config.num_heads
            shared = head * config.num_key_value_heads
            parts = tensor.split([config.hidden_size, shared, shared])
            for part, value in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
                converted[f"model.layers.{match[1]}.self_attn.{part}.{match[3]}"] = value
        else:
            raise CheckpointError(f"tensor {name} is not part of a ChatGLM network")
    return converted
