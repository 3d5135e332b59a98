"""What every task that trains shares: its arguments, and the folder of its run."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from voiceglm.commands.options import (
    add_settings_arguments,
    add_threads_argument,
    read_settings,
    use_threads,
)

T = TypeVar("T")


def add_training_arguments(
    parser: argparse.ArgumentParser, *, example: str, manifests: str | None = None
) -> None:
    """Declare where a run is kept, its settings, and whether it goes on.

    Args:
        parser: Of the task.
        example: A setting, for the help.
        manifests: What to say of the manifests that the task learns from, if it takes any.
    """
    if manifests:
        parser.add_argument("manifests", type=Path, nargs="+", metavar="MANIFEST", help=manifests)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add_settings_arguments(parser, example=example)
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    add_threads_argument(parser)


def begin(
    args: argparse.Namespace,
    kind: type[T],
    standard: dict[str, Any],
    given: Mapping[str, Any] | None = None,
) -> T:
    """Read the settings of a run and open its folder.

    Args:
        args: With what :func:`add_training_arguments` declares.
        kind: The dataclass of everything the run is asked for.
        standard: Settings that the file and the single ones go over.
        given: Settings that are arguments of the task, such as its manifests: they go over all.

    Raises:
        ConfigError: If a setting is wrong, or a run that goes on was started with others.
        OutputError: If the folder is taken.
    """
    from voiceglm.config import build
    from voiceglm.ranks import is_first, wait
    from voiceglm.runs import open_run

    use_threads(args)
    config = build(kind, {**read_settings(args, standard), **(given or {})})
    if is_first():
        open_run(args.output, config, resume=args.resume)
    wait()
    return config


def started_from(
    args: argparse.Namespace, standard: dict[str, Any], sizes: Callable[[str], Any]
) -> dict[str, Any]:
    """Return standard settings, their ``model`` that of what ``start_from`` asks to start from.

    Args:
        args: With what :func:`add_training_arguments` declares.
        standard: Settings of a run that starts from nothing.
        sizes: Gives the dataclass of a checkpoint's sizes.

    Raises:
        CheckpointError: If there is no such checkpoint.
    """
    from dataclasses import asdict

    start = read_settings(args).get("start_from")
    return {**standard, "model": asdict(sizes(str(start)))} if start else standard


def finish(folder: Path, hint: str, save: Callable[[Path], None] | None = None) -> int:
    """Save the model of a run and say where it is, in the first process; return the exit status.

    Args:
        folder: Of the model.
        hint: What to do with it.
        save: Writes it there, if that was not done.
    """
    from voiceglm.ranks import is_first

    if not is_first():
        return 0
    if save:
        save(folder)
    sys.stdout.write(f"{folder}\n")
    sys.stderr.write(f"{hint}\n")
    return 0


def recipe_settings(name: str, *parts: str) -> dict[str, Any]:
    """Return the settings under ``parts`` of a recipe of this package, as they are written."""
    from importlib.resources import files

    from voiceglm.config import load_yaml

    settings = load_yaml(Path(str(files("voiceglm").joinpath("recipes", f"{name}.yaml"))))
    for part in parts:
        settings = settings[part]
    return settings
