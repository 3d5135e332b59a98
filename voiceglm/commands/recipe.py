"""``voiceglm recipe``: every stage of a model in order, to a checkpoint like the bundled one."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voiceglm.commands.options import (
    add_digits_argument,
    add_recordings_argument,
    add_threads_argument,
    positive,
    use_threads,
    write_json,
)

if TYPE_CHECKING:
    from voiceglm.recipe_config import RecipeConfig

_MACHINE = {  # options of the dry run, and what they set of the recipe's machine
    "gpus": "how many GPUs",
    "gpu_memory": "GB of each",
    "gpu_tflops": "10^12 dense bfloat16 operations a second of each",
    "utilisation": "share of that which training reaches",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("name", nargs="?", help="a recipe of this package, or a YAML file")
    parser.add_argument("--list", action="store_true", help="show the recipes there are")
    parser.add_argument("--output", type=Path, help="folder of the run (default runs/NAME)")
    parser.add_argument("--smoke", action="store_true", help="the same stages, tiny, in minutes")
    parser.add_argument(
        "--only", action="append", default=[], metavar="STAGE", help="run this stage (repeatable)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting, as in tokenizer.train.steps=100 (repeatable)",
    )
    add_recordings_argument(parser)
    add_digits_argument(parser)
    parser.add_argument(
        "--noises",
        type=Path,
        metavar="PLACE",
        help="manifest or folder of recorded noise, which speech is disturbed with",
    )
    add_threads_argument(parser)
    dry = parser.add_argument_group("dry run (each value: what the recipe says)")
    dry.add_argument("--dry-run", action="store_true", help="say what it would cost; run nothing")
    dry.add_argument("--json", action="store_true", help="as one JSON object")
    dry.add_argument("--sharding", choices=["ddp", "fsdp"], help="of the language models' weights")
    for name, text in _MACHINE.items():
        kind = positive if name == "gpus" else float
        dry.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=text)


def run(args: argparse.Namespace) -> int:
    """Run what is not done yet, or say what it would cost."""
    from voiceglm.config import build
    from voiceglm.errors import ConfigError
    from voiceglm.recipe_config import RecipeConfig, recipe_values

    if args.list:
        return _list()
    if args.name is None:
        raise ConfigError("which recipe? name one, or see voiceglm recipe --list")
    use_threads(args)
    values = recipe_values(f"{args.name}-smoke" if args.smoke else args.name, args.set)
    recipe = build(RecipeConfig, values)
    if args.dry_run:
        return _dry_run(recipe, args)
    folder = args.output or Path("runs") / recipe.name
    if recipe.corpora is not None:
        return _write(recipe, values, folder)
    return _run(recipe, folder, args)


def _write(recipe: "RecipeConfig", values: dict[str, Any], folder: Path) -> int:
    """Write the commands of a recipe that learns from corpora."""
    from voiceglm.recipe_script import write_script

    script = write_script(recipe, values, folder)
    sys.stdout.write(f"{script}\n")
    sys.stderr.write(f"look at it, then: sh {script}\n")
    return 0


def _run(recipe: "RecipeConfig", folder: Path, args: argparse.Namespace) -> int:
    from voiceglm.recipe import Run, run_recipe

    sources = {"digits": args.digits, "noises": args.noises}
    run_recipe(Run(recipe, folder, tuple(args.recordings), **sources), args.only)
    return 0


def _list() -> int:
    from voiceglm.recipe_config import load_recipe, recipe_names

    for name in recipe_names():
        sys.stdout.write(f"{name:12} {load_recipe(name).about}\n")
    return 0


def _dry_run(recipe: "RecipeConfig", args: argparse.Namespace) -> int:
    """Print the estimate; returns 1 if a stage does not fit into the memory."""
    from dataclasses import replace

    from voiceglm.dry_run import dry_run
    from voiceglm.estimate_table import as_dict, table

    given = {name: getattr(args, name) for name in _MACHINE if getattr(args, name) is not None}
    machine = replace(recipe.machine, **given)
    estimates = []
    for estimate in dry_run(recipe, machine, args.sharding, args.only):
        sys.stderr.write(f"{estimate.stage}\n")
        estimates.append(estimate)
    if args.json:
        write_json(as_dict(recipe.name, machine, estimates))
    else:
        sys.stdout.write(table(recipe.name, machine, estimates))
    return 0 if all(estimate.fits for estimate in estimates) else 1
