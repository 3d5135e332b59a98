"""The released tokenizer's files, read as they are.

``config.json`` is that of a Whisper model with a codebook inside; the weights come under two
layouts, the encoder alone or inside the whole recognizer, whose rest is left out. Facts:
docs/porting.md, tokenizer.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tokenizer.config import EncoderConfig, FeatureConfig, QuantizerConfig, TokenizerConfig
from voiceglm.errors import CheckpointError, ConfigError

_CODEBOOK = "encoder.quantizer.library._codebook."
_BUFFERS = {"codebook.weight": "embed", "ema_weight": "embed_avg", "ema_count": "cluster_size"}
_LAYER = re.compile(r"layers\.(\d+)\.")
_PREFIX = "model.encoder."


def is_released(values: Mapping[str, Any]) -> bool:
    """Say whether a ``config.json`` is that of a released tokenizer."""
    return "quantize_vocab_size" in values


def convert_config(values: Mapping[str, Any]) -> TokenizerConfig:
    """Return the sizes that a released ``config.json`` describes, encoder only.

    Raises:
        CheckpointError: If it lacks a value, or asks for what this encoder does not do.
    """
    if values.get("scale_embedding") or values.get("activation_function", "gelu") != "gelu":
        raise CheckpointError("a Whisper encoder with scaled embeddings or without gelu is unknown")
    try:
        encoder = EncoderConfig(
            width=values["d_model"],
            num_heads=values["encoder_attention_heads"],
            feedforward_width=values["encoder_ffn_dim"],
            num_layers=values["encoder_layers"],
            max_frames=values["max_source_positions"],
            pool_kernel=values["pooling_kernel_size"],
            pool_type=values["pooling_type"],
            pool_after=values["pooling_position"],
            quantize_after=values["quantize_position"],
            block_frames=values["quantize_causal_block_size"],
            causal_below_quantizer=values["quantize_causal_encoder"],
            causal_attention=values["encoder_causal_attention"],
            causal_convolution=values["encoder_causal_convolution"],
        )
        decay = values["quantize_ema_decay"]
        quantizer = QuantizerConfig(
            codebook_size=values["quantize_vocab_size"],
            ema_decay=0.99 if decay is None else decay,
            commitment_weight=(
                values["quantize_commit_coefficient"] * values["quantize_loss_scale"]
            ),
        )
    except KeyError as error:
        raise CheckpointError(f"no tokenizer config: {error} is missing") from None
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"no tokenizer config: {error}") from None
    features = FeatureConfig(num_mel_bins=values.get("num_mel_bins", 128))
    return TokenizerConfig(features=features, encoder=encoder, quantizer=quantizer)


def convert_tensors(tensors: Mapping[str, Tensor], config: TokenizerConfig) -> dict[str, Tensor]:
    """Return the same weights under the names of :class:`tokenizer.model.SpeechTokenizer`.

    Raises:
        CheckpointError: If there is no codebook among them.
    """
    if any(name.startswith(_PREFIX) for name in tensors):
        tensors = {
            name.removeprefix(_PREFIX): tensor
            for name, tensor in tensors.items()
            if name.startswith(_PREFIX)
        }
    codebook = tensors.get("codebook.weight")
    if codebook is None:
        raise CheckpointError("these are no weights of a tokenizer: codebook.weight is missing")
    defaults = {"ema_weight": codebook, "ema_count": torch.ones(len(codebook))}
    converted = {f"{_CODEBOOK}initted": torch.tensor(True)}
    for name, tensor in {**defaults, **tensors}.items():
        layer = _LAYER.match(name)
        if layer and int(layer[1]) >= config.encoder.quantize_after:
            continue
        if name in _BUFFERS:
            converted[_CODEBOOK + _BUFFERS[name]] = tensor[None]
        elif not name.startswith(("layer_norm.", "embed_positions.")):  # the latter a formula
            converted[f"encoder.{name}"] = tensor
    return converted
