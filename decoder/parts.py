"""A flow or a vocoder by itself, out of its own checkpoint or out of a whole decoder.

Training starts from such a part, and puts one into the place of another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from decoder.config import DecoderConfig, FlowConfig, VocoderConfig
from decoder.convert import is_released, read_released
from decoder.flow_model import FlowModel
from decoder.vocoder import HiFTGenerator
from voiceglm.checkpoint import load_into, read_config, read_tensors, resolve
from voiceglm.config import build
from voiceglm.errors import CheckpointError, ConfigError

C = TypeVar("C")


@dataclass(frozen=True)
class Part(Generic[C]):
    """A part's sizes and weights."""

    config: C
    tensors: Mapping[str, Tensor]  # under the names of the part's own class
    where: str


def read_flow(name_or_folder: str | Path) -> Part[FlowConfig]:
    """Read a flow: of a model, of a decoder, or a checkpoint that ``decoder train-flow`` made.

    Raises:
        CheckpointError: If there is none, or it is damaged.
    """
    return _read(name_or_folder, "flow", FlowConfig)


def read_vocoder(name_or_folder: str | Path) -> Part[VocoderConfig]:
    """Read a vocoder: of a model, of a decoder, or one that ``decoder train-vocoder`` made.

    Raises:
        CheckpointError: If there is none, or it is damaged.
    """
    return _read(name_or_folder, "vocoder", VocoderConfig)


def new_flow(part: Part[FlowConfig]) -> FlowModel:
    """Build a flow and give it its weights.

    Raises:
        CheckpointError: If they do not fit.
    """
    flow = FlowModel(part.config)
    load_into(flow, part.tensors, where=part.where)
    return flow.eval()


def new_vocoder(part: Part[VocoderConfig]) -> HiFTGenerator:
    """Build a vocoder and give it its weights.

    Raises:
        CheckpointError: If they do not fit.
    """
    vocoder = HiFTGenerator(part.config)
    load_vocoder(vocoder, part)
    return vocoder.eval()


def load_vocoder(vocoder: HiFTGenerator, part: Part[VocoderConfig]) -> None:
    """Give a vocoder that is trained the weights of another.

    Those of a whole decoder are stored without their normalisation, which is put back.

    Raises:
        CheckpointError: If they do not fit.
    """
    names = [name for name, module in vocoder.named_modules() if _is_normalised(module)]
    if any(f"{name}.weight" not in part.tensors for name in names):
        load_into(vocoder, part.tensors, where=part.where)
        return
    tensors = dict(part.tensors)
    for name in names:
        weight, stem = tensors.pop(f"{name}.weight"), f"{name}.parametrizations.weight."
        gain = torch.linalg.vector_norm(weight.float(), dim=(1, 2), keepdim=True)
        tensors |= {f"{stem}original0": gain, f"{stem}original1": weight}
    load_into(vocoder, tensors, where=part.where)


def _is_normalised(module: Any) -> bool:
    return parametrize.is_parametrized(module, "weight")


def _read(name_or_folder: str | Path, name: str, kind: type[C]) -> Part[C]:
    folder = resolve(name_or_folder, "decoder")
    where = f"the {name} of {name_or_folder}"
    try:
        if is_released(folder):
            whole, tensors = read_released(folder)
            return Part(getattr(whole, name), _under(tensors, name), where)
        values, tensors = read_config(folder), read_tensors(folder)
        if {"flow", "vocoder"} <= values.keys():
            whole = build(DecoderConfig, values, where="decoder.")
            return Part(getattr(whole, name), _under(tensors, name), where)
        return Part(build(kind, values, where=f"{name}."), tensors, where)
    except ConfigError as error:
        raise CheckpointError(f"{folder} holds no {name}: {error}") from None


def _under(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    stem = f"{name}."
    return {key.removeprefix(stem): t for key, t in tensors.items() if key.startswith(stem)}
