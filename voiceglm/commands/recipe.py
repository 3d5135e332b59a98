"""``voiceglm recipe``: every stage of a model in order, to a checkpoint like the bundled one."""

import argparse
from pathlib import Path

from voiceglm.commands.options import (
    add_recordings_argument,
    add_threads_argument,
    use_threads,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("name", choices=["nano"], help="which recipe")
    parser.add_argument("--output", type=Path, help="folder of the run (default runs/NAME)")
    parser.add_argument("--smoke", action="store_true", help="the same stages, tiny, in minutes")
    parser.add_argument(
        "--only", action="append", default=[], metavar="STAGE", help="run this stage (repeatable)"
    )
    add_recordings_argument(parser)
    add_threads_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Run what is not done yet."""
    from voiceglm.recipe import Run, load_recipe, run_recipe

    use_threads(args)
    name = f"{args.name}-smoke" if args.smoke else args.name
    folder = args.output or Path("runs") / name
    run_recipe(Run(load_recipe(name), folder, tuple(args.recordings)), args.only)
    return 0
