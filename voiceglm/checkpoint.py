"""A checkpoint is a folder: ``config.json``, ``model.safetensors`` and whatever else it names.

A model is a folder of such folders, one per part: ``tokenizer/``, ``decoder/``,
``language_model/``. Nothing here executes what it reads: JSON and safetensors only.
"""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from voiceglm.errors import CheckpointError
from voiceglm.files import new_folder

CONFIG = "config.json"
TENSORS = "model.safetensors"
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
        name_or_folder: ``"nano"``, a model's folder, or the folder of the part itself.
        part: ``"tokenizer"``, ``"decoder"`` or ``"language_model"``; None for the whole.

    Raises:
        CheckpointError: If neither a bundled model nor a folder has that name.
    """
    if str(name_or_folder) in _BUNDLED:
        folder = bundled(str(name_or_folder))
    else:
        folder = Path(name_or_folder)
        if folder.is_file():
            raise CheckpointError(f"{folder} is a file, expected a model's folder")
        if not folder.is_dir():
            folder = bundled(str(name_or_folder))  # says what is known
    return folder / part if part and (folder / part).is_dir() else folder


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
        CONFIG: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
        TENSORS: safetensors.torch.save(whole, metadata={"format": "pt"}),
        **(files or {}),
    }
    with new_folder(folder, replace=replace) as draft:
        for name, data in contents.items():
            (draft / name).write_bytes(data)


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
    """Read ``model.safetensors``, on the CPU and in the types it is stored in.

    Raises:
        CheckpointError: If it is missing, damaged or cut short.
    """
    path = Path(folder) / TENSORS
    _check_file(path)
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
    expected = module.state_dict()
    problems = [
        _listing("missing", sorted(expected.keys() - tensors.keys())),
        _listing("unexpected", sorted(tensors.keys() - expected.keys())),
        _listing(
            "of another shape",
            [
                f"{name} {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
                for name, value in expected.items()
                if name in tensors and tensors[name].shape != value.shape
            ],
        ),
    ]
    if any(problems):
        found = "; ".join(problem for problem in problems if problem)
        raise CheckpointError(f"{where} does not fit {type(module).__name__}: {found}")
    module.load_state_dict(dict(tensors))


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
