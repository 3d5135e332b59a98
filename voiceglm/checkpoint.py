"""A checkpoint is a folder: ``config.json``, ``model.safetensors`` and whatever else it names.

A model is a folder of such folders, one per part: ``tokenizer/``, ``decoder/``,
``language_model/``. Large weights may lie in several files that ``model.safetensors.index.json``
lists, as transformers stores them. Nothing here executes what it reads: JSON and safetensors only.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors.torch
import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from torch import Tensor, nn

from voiceglm.errors import CheckpointError
from voiceglm.files import new_folder

CONFIG = "config.json"
TENSORS = "model.safetensors"
INDEX = f"{TENSORS}.index.json"
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_HUB_FILES = ("*.json", "*.safetensors", "*.yaml", "*.pt", "tokenizer.model")
_ASSETS = Path(__file__).parent / "assets"
_BUNDLED = ("nano",)


def bundled(name: str) -> Path:
    """Return the folder of a model that comes with the package.

    Raises:
        CheckpointError: If there is no such model, or its files are missing.
    """
    if name not in _BUNDLED:
        near = difflib.get_close_matches(name, _BUNDLED, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join(_BUNDLED)
        raise CheckpointError(f"no model called {name!r}: expected {known} or a folder{hint}")
    folder = _ASSETS / name
    if not folder.is_dir():
        raise CheckpointError(f"the bundled model {name} is missing: there is no folder {folder}")
    return folder


def resolve(name_or_folder: str | Path, part: str | None = None) -> Path:
    """Return the folder of a model or of one of its parts.

    Args:
        name_or_folder: ``"nano"``, a model's folder, the folder of the part itself, or a name
            such as ``THUDM/glm-4-voice-tokenizer`` on the Hugging Face hub.
        part: ``"tokenizer"``, ``"decoder"`` or ``"language_model"``; None for the whole.

    Raises:
        CheckpointError: If nothing has that name, or it cannot be fetched.
    """
    name = str(name_or_folder)
    folder = bundled(name) if name in _BUNDLED else Path(name_or_folder)
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file, expected a model's folder")
    if not folder.is_dir():
        # bundled() says what is known
        folder = _fetch(name) if _HUB_NAME.fullmatch(name) else bundled(name)
    return folder / part if part and (folder / part).is_dir() else folder


def _fetch(name: str) -> Path:
    """Return the local copy of a model of the hub, fetched where it is not there yet."""
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(_HUB_FILES)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{name} is no folder here and cannot be fetched from the Hugging Face hub: "
            f"{_first_line(error)}"
        ) from None


def write_checkpoint(
    folder: str | Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    files: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> None:
    """Write a whole checkpoint or nothing: filled beside its final name, then renamed.

    Args:
        folder: Where it goes; its parents are made.
        config: What ``read_config`` will return; plain JSON values.
        tensors: Stored as they are: cast to float16 before, if that is wanted.
        files: Further files, by name.
        replace: Take the place of an older checkpoint of that name.

    Raises:
        OutputError: If the folder is taken, not writable, or the disk is full.
    """
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    contents = {
        CONFIG: config_json(config),
        TENSORS: safetensors.torch.save(whole, metadata={"format": "pt"}),
        **(files or {}),
    }
    with new_folder(folder, replace=replace) as draft:
        for name, data in contents.items():
            (draft / name).write_bytes(data)


def config_json(config: Mapping[str, Any]) -> bytes:
    """Return what ``config.json`` holds of a config of plain JSON values."""
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()


def read_config(folder: str | Path) -> dict[str, Any]:
    """Read ``config.json``.

    Raises:
        CheckpointError: If it is missing or not a JSON object.
    """
    path = Path(folder) / CONFIG
    _check_file(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError too
        raise CheckpointError(f"{path} is damaged, not JSON: {_first_line(error)}") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds {type(config).__name__}, expected a JSON object")
    return config


def read_tensors(folder: str | Path) -> dict[str, Tensor]:
    """Read all weights, on the CPU and in the types they are stored in.

    Raises:
        CheckpointError: If a file is missing, damaged or cut short.
    """
    return {name: tensor for path in shards(folder) for name, tensor in read_shard(path).items()}


def shards(folder: str | Path) -> list[Path]:
    """Return the files that hold the weights, one or those that the index lists.

    Raises:
        CheckpointError: If the index is damaged, or a file is missing.
    """
    path, index = Path(folder) / TENSORS, Path(folder) / INDEX
    if path.exists() or not index.is_file():
        _check_file(path)
        return [path]
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        found = [Path(folder) / Path(name).name for name in sorted(names)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged: {_first_line(error)}") from None
    for path in found:
        _check_file(path)
    return found


def read_shard(path: Path) -> dict[str, Tensor]:
    """Read one file of weights.

    Raises:
        CheckpointError: If it is damaged or cut short.
    """
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {_first_line(error)}") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], *, where: str | Path) -> None:
    """Copy tensors into a module of exactly these names and shapes, cast to its own types.

    Args:
        module: Left untouched if anything does not fit.
        tensors: What :func:`read_tensors` returned.
        where: What to call the checkpoint in the message.

    Raises:
        CheckpointError: Listing missing, unexpected and mis-shaped tensors.
    """
    check_fit(module, {name: tensor.shape for name, tensor in tensors.items()}, where)
    module.load_state_dict(dict(tensors))


def fill(module: nn.Module, parts: Iterable[Mapping[str, Tensor]], *, where: str | Path) -> None:
    """Give a module built on the meta device its tensors, part by part, none of them copied.

    Args:
        module: Without memory of its own; useless if this fails.
        parts: Each is taken over before the next is asked for, so that one shard at a time is
            in memory twice at the most.
        where: What to call the checkpoint in the message.

    Raises:
        CheckpointError: Listing missing, unexpected and mis-shaped tensors.
    """
    shapes: dict[str, torch.Size] = {}
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    for part in parts:
        shapes |= {name: tensor.shape for name, tensor in part.items()}
        fitting = {n: t for n, t in part.items() if expected.get(n) == t.shape}
        module.load_state_dict(fitting, strict=False, assign=True)
    check_fit(module, shapes, where)


def check_fit(module: nn.Module, shapes: Mapping[str, torch.Size], where: str | Path) -> None:
    """Refuse tensors that are not exactly those of a module.

    Raises:
        CheckpointError: Listing missing, unexpected and mis-shaped tensors.
    """
    expected = module.state_dict()
    problems = [
        _listing("missing", sorted(expected.keys() - shapes.keys())),
        _listing("unexpected", sorted(shapes.keys() - expected.keys())),
        _listing(
            "of another shape",
            [
                f"{name} {tuple(shapes[name])} instead of {tuple(value.shape)}"
                for name, value in expected.items()
                if name in shapes and shapes[name] != value.shape
            ],
        ),
    ]
    if any(problems):
        found = "; ".join(problem for problem in problems if problem)
        raise CheckpointError(f"{where} does not fit {type(module).__name__}: {found}")


def _check_file(path: Path) -> None:
    if not path.parent.is_dir():
        raise CheckpointError(f"no such folder: {path.parent}")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, expected a file")
    if not path.exists():
        raise CheckpointError(f"{path.parent} is no complete checkpoint: {path.name} is missing")


def _listing(kind: str, names: list[str], shown: int = 3) -> str:
    """Say how many there are and name the first few; empty if there is none."""
    if not names:
        return ""
    more = ", ..." if len(names) > shown else ""
    return f"{len(names)} {kind} ({', '.join(names[:shown])}{more})"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
