"""The folder of a training run: its settings, its checkpoints, its model.

``config.yaml`` holds what the run was started with, ``train/`` checkpoints and metrics, ``model/``
what came out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from voiceglm.config import load_yaml
from voiceglm.errors import ConfigError, OutputError
from voiceglm.files import write_file

CONFIG = "config.yaml"
MODEL = "model"
_FREE = ("train.steps", "train.save_every", "train.log_every")  # may change when a run goes on


def open_run(folder: Path, config: Any, *, resume: bool) -> None:
    """Make the folder of a run, or check that one which goes on is the same run.

    Args:
        folder: Of the run.
        config: A dataclass: everything the run was asked for. What is not written in it (a list of
            files, say) may change unnoticed, so leave nothing out.
        resume: Whether a folder that exists is gone on with.

    Raises:
        OutputError: If the folder is taken, or cannot be written.
        ConfigError: If the settings of a run that goes on are not those it was started with.
    """
    # Settings alone are what a run leaves that failed before it did anything.
    taken = folder.is_dir() and any(path.name != CONFIG for path in folder.iterdir())
    if taken and not resume:
        raise OutputError(f"{folder} exists already; name another folder, or go on with --resume")
    settings = yaml.safe_load(yaml.safe_dump(_plain(asdict(config))))
    stored = folder / CONFIG
    if taken and stored.is_file():
        _check_same(load_yaml(stored), settings, stored)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}") from None
    write_file(stored, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode())


def _plain(value: Any) -> Any:
    """Return ``value`` of types that YAML has."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    old, new = dict(_flat(before)), dict(_flat(now))
    changed = [
        f"{name} was {old.get(name)!r} and is {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and name not in _FREE
    ]
    if changed:
        more = f" ({len(changed)} settings differ)" if len(changed) > 3 else ""
        raise ConfigError(
            f"{where} is of another run: {'; '.join(changed[:3])}{more}; "
            "resume with its settings, or name another folder"
        )


def _flat(settings: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting by its whole name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{where}{name}.")
        else:
            yield f"{where}{name}", value
