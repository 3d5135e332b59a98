"""The released decoder's files, read as they are: ``config.yaml``, ``flow.pt``, ``hift.pt``.

The published ``config.yaml`` is a program: its tags name classes to be built and functions to be
called. Here a tag is only a label, no class is looked up, and a label that this decoder does not
know is refused. Facts: docs/porting.md, decoder.
"""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from decoder.config import (
    DecoderConfig,
    EncoderConfig,
    EstimatorConfig,
    FlowConfig,
    VocoderConfig,
)
from decoder.vocoder import parametrized
from voiceglm.errors import CheckpointError, ConfigError

CONFIG = "config.yaml"
FLOW = "flow.pt"
VOCODER = "hift.pt"
_CALLS = "__set_seed|random.seed|numpy.random.seed|torch.manual_seed|torch.cuda.manual_seed_all"
_REFERENCE = re.compile(r"<(\w+)>")


def is_released(folder: Path) -> bool:
    """Say whether a folder is in the released layout."""
    return (folder / CONFIG).is_file()


def read_released(folder: Path) -> tuple[DecoderConfig, dict[str, Tensor]]:
    """Read a released folder.

    Returns:
        The sizes, and the weights under the names of :class:`decoder.model.SpeechDecoder`, weight
        normalisation folded in.

    Raises:
        CheckpointError: If a file is missing, damaged, or holds anything but numbers and names.
    """
    config = read_config(folder / CONFIG)
    flow = {f"flow.{name}": tensor for name, tensor in read_weights(folder / FLOW).items()}
    vocoder = fold(parametrized(read_weights(folder / VOCODER)))
    return config, {**flow, **{f"vocoder.{name}": tensor for name, tensor in vocoder.items()}}


def read_config(path: Path) -> DecoderConfig:
    """Read the sizes out of the published ``config.yaml``.

    Raises:
        CheckpointError: If it is missing, damaged, or describes another kind of network.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise CheckpointError(f"{path} is refused: {' '.join(str(error).split())}") from None
    try:
        resolved = _resolve(values, values)
        return DecoderConfig(flow=_flow(resolved["flow"]), vocoder=_vocoder(resolved["hift"]))
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path} is no decoder config: {error} is missing") from None
    except ConfigError as error:
        raise CheckpointError(f"{path} is no decoder config: {error}") from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of ``torch.save`` that holds tensors by name, and nothing else.

    Raises:
        CheckpointError: If it is missing, damaged, or holds anything but tensors.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} is refused, it holds more than weights: {error}") from None
    except (RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} is damaged: {reason}") from None
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise CheckpointError(f"{path} holds no tensors by name")
    return {str(name).removeprefix("generator."): tensor for name, tensor in tensors.items()}


def fold(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Multiply weight normalisation out: w = g v / |v| for each first index."""
    gain, direction = ".parametrizations.weight.original0", ".parametrizations.weight.original1"
    folded = {}
    for name, tensor in tensors.items():
        if name.endswith(gain):
            stem = name.removesuffix(gain)
            v = tensors.get(stem + direction)
            if v is None:
                raise CheckpointError(f"{stem} has a gain and no direction")
            norm = v.flatten(1).norm(dim=1).view(-1, *[1] * (v.dim() - 1))
            folded[f"{stem}.weight"] = tensor * v / norm
        elif not name.endswith(direction):
            folded[name] = tensor
    return folded


class _Loader(yaml.SafeLoader):
    """Plain values; a tag of the published files becomes a key, any other is an error."""


def _labelled(kind: str) -> Callable[[_Loader, str, yaml.Node], Any]:
    def construct(loader: _Loader, name: str, node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            return {"class": name.rpartition(".")[2], **loader.construct_mapping(node, deep=True)}
        if kind == "!apply:" and re.fullmatch(_CALLS, name.strip()):
            return None  # seeds the generators of a whole process; nothing here needs that
        if kind == "!name:" and isinstance(node, yaml.ScalarNode):
            return {"class": name.rpartition(".")[2]}
        raise yaml.constructor.ConstructorError(None, None, f"{kind}{name} is not known here")

    return construct


def _named(loader: _Loader, node: yaml.Node) -> str:
    """Keep ``<name>`` for :func:`_resolve`."""
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.constructor.ConstructorError(None, None, "!ref needs a name")
    return str(loader.construct_scalar(node))


for _kind in ("!new:", "!name:", "!apply:"):
    _Loader.add_multi_constructor(_kind, _labelled(_kind))
_Loader.add_constructor("!ref", _named)


def _resolve(value: Any, top: Mapping[str, Any]) -> Any:
    """Replace ``<name>`` by the value of that name at the top of the file."""
    if isinstance(value, dict):
        return {key: _resolve(inner, top) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolve(inner, top) for inner in value]
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return _resolve(top[match[1]], top) if match else value


def _expect(values: Mapping[str, Any], **expected: Any) -> None:
    """Refuse a network that this one is not.

    Raises:
        CheckpointError: Naming the value.
    """
    for name, value in expected.items():
        if values.get(name, value) != value:
            raise CheckpointError(
                f"a decoder with {name} {values[name]!r} is not known here, expected {value!r}"
            )


def _flow(values: Mapping[str, Any]) -> FlowConfig:
    encoder, decoder = values["encoder"], values["decoder"]
    estimator, solver = decoder["estimator"], decoder["cfm_params"]
    _expect(values, **{"class": "MaskedDiffWithXvec"}, output_type="mel")
    _expect(
        encoder,
        **{"class": "BlockConformerEncoder"},
        use_cnn_module=False,
        macaron_style=False,
        normalize_before=True,
        input_layer="linear",
        selfattention_layer_type="block_rel_selfattn",
    )
    _expect(values["length_regulator"], sampling_ratios=[1, 1, 1, 1])
    _expect(estimator, **{"class": "ConditionalDecoder"}, act_fn="gelu")
    _expect(decoder, **{"class": "ConditionalCFM"})
    if isinstance(solver, dict) and "content" in solver:  # a DictConfig around the values
        solver = solver["content"]
    _expect(solver, solver="euler", t_scheduler="cosine")
    return FlowConfig(
        num_codes=values["vocab_size"],
        code_rate=values["input_frame_rate"],
        num_mels=values["output_size"],
        speaker_dim=values["spk_embed_dim"],
        encoder=EncoderConfig(
            dim=encoder["output_size"],
            num_heads=encoder["attention_heads"],
            hidden_dim=encoder["linear_units"],
            num_layers=encoder["num_blocks"],
            dropout=encoder["dropout_rate"],
            block_size=encoder["block_size"],
        ),
        estimator=EstimatorConfig(
            channels=tuple(estimator["channels"]),
            num_blocks=estimator["n_blocks"],
            num_mid_blocks=estimator["num_mid_blocks"],
            num_heads=estimator["num_heads"],
            head_dim=estimator["attention_head_dim"],
            dropout=float(estimator["dropout"]),
        ),
        guidance=solver["inference_cfg_rate"],
        sigma_min=float(solver["sigma_min"]),
        guidance_dropout=solver["training_cfg_rate"],
    )


def _vocoder(values: Mapping[str, Any]) -> VocoderConfig:
    pitch, transform = values["f0_predictor"], values["istft_params"]
    dilations = [*values["resblock_dilation_sizes"], *values["source_resblock_dilation_sizes"]]
    if len({tuple(each) for each in dilations}) != 1:
        raise CheckpointError(f"blocks with different dilations are not known here: {dilations}")
    return VocoderConfig(
        in_channels=values["in_channels"],
        base_channels=values["base_channels"],
        num_harmonics=values["nb_harmonics"],
        sample_rate=values["sampling_rate"],
        nsf_alpha=values["nsf_alpha"],
        nsf_sigma=values["nsf_sigma"],
        voiced_threshold=float(values["nsf_voiced_threshold"]),
        upsample_rates=tuple(values["upsample_rates"]),
        upsample_kernel_sizes=tuple(values["upsample_kernel_sizes"]),
        istft_n_fft=transform["n_fft"],
        istft_hop=transform["hop_len"],
        resblock_kernel_sizes=tuple(values["resblock_kernel_sizes"]),
        resblock_dilations=tuple(dilations[0]),
        source_resblock_kernel_sizes=tuple(values["source_resblock_kernel_sizes"]),
        source_resblock_dilations=tuple(dilations[0]),
        lrelu_slope=values["lrelu_slope"],
        audio_limit=values["audio_limit"],
        f0_channels=pitch["cond_channels"],
    )
