"""Released folders to our own layout: safetensors and ``config.json``, nothing else.

One shard is in memory at a time; what is written appears whole or not at all.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

import decoder.convert
import tokenizer.convert
from voiceglm import chatglm
from voiceglm.checkpoint import (
    CONFIG,
    INDEX,
    TENSORS,
    config_json,
    read_config,
    read_shard,
    resolve,
    shards,
)
from voiceglm.errors import CheckpointError, OutputError
from voiceglm.files import new_folder
from voiceglm.language_model import TOKENIZER_FILE, language_model_json


def convert(source: str | Path, target: Path) -> None:
    """Write a released tokenizer, decoder or language model in our layout.

    Args:
        source: A released folder, or its name on the hub.
        target: The folder to make.

    Raises:
        CheckpointError: If the source is none of the three, or damaged.
        OutputError: If the target exists or cannot be written.
    """
    folder = resolve(source)
    values = {} if decoder.convert.is_released(folder) else read_config(folder)
    with new_folder(target) as draft:
        if decoder.convert.is_released(folder):
            config, tensors = decoder.convert.read_released(folder)
            (draft / CONFIG).write_bytes(config_json(asdict(config)))
            _write_shards(draft, iter([tensors]), 1)
        elif tokenizer.convert.is_released(values):
            _tokenizer(folder, values, draft)
        elif chatglm.is_released(values):
            _language_model(folder, values, draft)
        else:
            raise CheckpointError(
                f"{folder} is not a released tokenizer, decoder or language model: convert knows "
                "their config.json or config.yaml only"
            )


def _tokenizer(folder: Path, values: dict[str, Any], draft: Path) -> None:
    config = tokenizer.convert.convert_config(values)
    paths = shards(folder)
    if len(paths) > 1:
        raise CheckpointError(f"{folder} has {len(paths)} files of weights, a tokenizer has one")
    tensors = tokenizer.convert.convert_tensors(read_shard(paths[0]), config)
    (draft / CONFIG).write_bytes(config_json(asdict(config)))
    _write_shards(draft, iter([tensors]), 1)


def _language_model(folder: Path, values: dict[str, Any], draft: Path) -> None:
    config, text_tokenizer, vocabulary, prompt_format = chatglm.read_released(folder, values)
    (draft / CONFIG).write_bytes(
        config_json(language_model_json(config, vocabulary, prompt_format))
    )
    (draft / TOKENIZER_FILE).write_text(text_tokenizer.to_str(), encoding="utf-8")
    paths = shards(folder)
    parts = (chatglm.convert_tensors(read_shard(path), config) for path in paths)
    _write_shards(draft, parts, len(paths))


def _write_shards(draft: Path, parts: Iterator[dict[str, Tensor]], count: int) -> None:
    weight_map: dict[str, str] = {}
    for number in tqdm(range(1, count + 1), desc="convert", unit="shard"):
        name = TENSORS if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"
        part = {key: tensor.contiguous() for key, tensor in next(parts).items()}
        try:
            save_file(part, draft / name, metadata={"format": "pt"})
        except Exception as error:  # the library wraps what the disk says in an error of its own
            raise OutputError(f"cannot write {draft.name}: {error}") from None
        weight_map |= dict.fromkeys(part, name)
    if count > 1:
        index = {"metadata": {}, "weight_map": weight_map}
        (draft / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
