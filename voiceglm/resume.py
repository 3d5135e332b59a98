"""Which checkpoint a run goes on from: the newest that is whole and of the same model."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from voiceglm.checkpoint import check_fit

_STATE = "trainer_state.json"  # written last
_WEIGHTS = "model.safetensors"
_PICKLED = ("optimizer.pt", "scheduler.pt")


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint of a run, or ``None``."""
    return next((path for path in _checkpoints(folder) if is_complete(path)), None)


def drop_incomplete(folder: Path) -> None:
    """Remove what a kill or a full disk left unfinished behind the newest complete checkpoint.

    The Trainer would count it among those it keeps, and delete a good one for it. Each is named on
    stderr.
    """
    good = newest_checkpoint(folder)
    instead = f"going on from {good.name}" if good else "starting anew"
    for path in _checkpoints(folder):
        if path == good:
            break
        sys.stderr.write(f"{path} is not complete; {instead}\n")
        shutil.rmtree(path, ignore_errors=True)


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, newest first."""
    found = folder.glob("checkpoint-*")
    return sorted(found, key=lambda path: -int(path.name.rpartition("-")[2]))


def is_complete(checkpoint: Path) -> bool:
    """Say whether every file of a checkpoint is there and whole."""
    try:
        json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        with safe_open(checkpoint / _WEIGHTS, framework="pt") as tensors:
            whole = bool(tensors.keys())
    except (OSError, ValueError, SafetensorError):
        return False
    return whole and all(zipfile.is_zipfile(checkpoint / name) for name in _PICKLED)


def step_of(checkpoint: Path) -> int:
    """Return how many steps a checkpoint has behind it."""
    return int(json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))["global_step"])


def check_same_model(model: nn.Module, checkpoint: Path) -> None:
    """Refuse a checkpoint of another architecture.

    Raises:
        CheckpointError: Listing what does not fit.
    """
    with safe_open(checkpoint / _WEIGHTS, framework="pt") as tensors:
        shapes = {
            name: torch.Size(tensors.get_slice(name).get_shape()) for name in list(tensors.keys())
        }
    check_fit(model, shapes, checkpoint)
