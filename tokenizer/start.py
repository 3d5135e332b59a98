"""Where training starts from: a Whisper model in its original layout, or a tokenizer of ours.

Whisper's encoder is cut in two, pooling and a codebook come between, and its decoder becomes the
attention recognizer (GLM-4-Voice, arXiv 2412.02612, section 2.1). The position table above the
codes is new and begins at zero, so that the layers above see what they were trained on.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor

from tokenizer.asr import attention_half
from tokenizer.convert import is_released
from tokenizer.model import SpeechTokenizer
from voiceglm.checkpoint import load_into, read_config, read_tensors, resolve
from voiceglm.errors import CheckpointError
from voiceglm.text_tokenizer import TOKENIZER_FILE, load_text_tokenizer

Parts = Literal["all", "encoder"]
_OURS = ("encoder.quantizer.", "encoder.embed_positions2.")  # what no Whisper has
_TABLE = "encoder.embed_positions.weight"


def starting_settings(name_or_folder: str | Path) -> dict[str, Any]:
    """Return the settings of a model that starts from another: its sizes, as plain values.

    Raises:
        CheckpointError: If there is no such model, or it is of no kind known here.
    """
    folder = resolve(name_or_folder, "tokenizer")
    values = read_config(folder)
    if not _is_whisper(values):
        return asdict(SpeechTokenizer.from_pretrained(folder).config)
    try:
        return _whisper_settings(values)
    except KeyError as error:
        raise CheckpointError(f"{folder} is no Whisper model: {error} is missing") from None


def take_over(tokenizer: SpeechTokenizer, name_or_folder: str | Path, parts: Parts) -> None:
    """Copy the weights of another model into a new tokenizer.

    Args:
        tokenizer: Of the sizes of :func:`starting_settings`; untouched if something does not fit.
        name_or_folder: A Whisper model, or a tokenizer.
        parts: ``encoder`` leaves the recognizer new, for another alphabet or text vocabulary.

    Raises:
        CheckpointError: If a part has other sizes, or a codebook of another kind or size.
    """
    folder = resolve(name_or_folder, "tokenizer")
    if _is_whisper(read_config(folder)):
        found = _from_whisper(tokenizer, read_tensors(folder), folder)
    else:
        other = SpeechTokenizer.from_pretrained(folder)
        found = other.state_dict()
    if parts == "encoder":
        found = {name: tensor for name, tensor in found.items() if name.startswith("encoder.")}
        own = tokenizer.state_dict()
        found |= {name: own[name] for name in own if not name.startswith("encoder.")}
    load_into(tokenizer, found, where=folder)


def starting_text_tokenizer(name_or_folder: str | Path) -> Tokenizer | None:
    """Return what spells the texts of a model one starts from, if it has such a thing.

    Raises:
        CheckpointError: If it is damaged.
    """
    path = resolve(name_or_folder, "tokenizer") / TOKENIZER_FILE
    return load_text_tokenizer(path) if path.is_file() else None


def _is_whisper(values: Mapping[str, Any]) -> bool:
    return values.get("model_type") == "whisper" and not is_released(values)


def _whisper_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    if values.get("scale_embedding") or values.get("activation_function", "gelu") != "gelu":
        raise CheckpointError("a Whisper model with scaled embeddings or without gelu is unknown")
    for name in ("attention_heads", "ffn_dim"):
        below, above = values[f"encoder_{name}"], values[f"decoder_{name}"]
        if below != above:
            raise CheckpointError(
                f"a Whisper model whose encoder_{name} ({below}) is not its decoder_{name} "
                f"({above}) is unknown"
            )
    middle = max(1, values["encoder_layers"] // 2)
    return {
        "features": {"num_mel_bins": values["num_mel_bins"]},
        "encoder": {
            "width": values["d_model"],
            "num_heads": values["encoder_attention_heads"],
            "feedforward_width": values["encoder_ffn_dim"],
            "num_layers": values["encoder_layers"],
            "max_frames": values["max_source_positions"],
            "pool_after": middle,
            "quantize_after": middle,
            "encoder_only": False,
        },
        "quantizer": {"kmeans_init": True},
        "recognizer": {
            "kind": "attention",
            "num_layers": values["decoder_layers"],
            "vocab_size": values["vocab_size"],
            "max_text_ids": values["max_target_positions"],
            "start_id": values["decoder_start_token_id"],
            "end_id": values["eos_token_id"],
            "pad_id": values["pad_token_id"],
        },
    }


def _from_whisper(
    tokenizer: SpeechTokenizer, tensors: Mapping[str, Tensor], folder: Path
) -> dict[str, Tensor]:
    """Return a whole state of the tokenizer, with Whisper's weights wherever it has some."""
    own = tokenizer.state_dict()
    decoder = _decoder_name(tokenizer)
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("model.")
        if name.startswith("encoder."):
            found[name] = tensor
        elif decoder and name.startswith("decoder."):
            found[f"{decoder}{name.removeprefix('decoder.')}"] = tensor
    _check_table(found.get(_TABLE), own[_TABLE], folder)
    ours = {
        name: tensor
        for name, tensor in own.items()
        if name.startswith(_OURS) or not name.startswith(("encoder.", decoder or "encoder."))
    }
    above = "encoder.embed_positions2.weight"
    return {**found, **ours, above: torch.zeros_like(own[above])}


def _decoder_name(tokenizer: SpeechTokenizer) -> str | None:
    """Return what the names of the attention recognizer's weights begin with, if it has one."""
    attention = attention_half(tokenizer.recognizer)
    if attention is None:
        return None
    half = "" if attention is tokenizer.recognizer else "attention."
    return f"recognizer.{half}decoder."


def _check_table(stored: Tensor | None, formula: Tensor, folder: Path) -> None:
    """Refuse positions that are not the formula, which is all that a tokenizer stores of them."""
    if stored is None or stored.shape != formula.shape:
        return  # load_into says so
    if not torch.allclose(stored.float(), formula, atol=1e-2):  # as rounded as bfloat16
        raise CheckpointError(f"{folder} has learned positions below its encoder; sines expected")
