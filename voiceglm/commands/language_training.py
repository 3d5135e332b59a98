"""What pre-training and fine-tuning of the language model share as tasks."""

import argparse
from pathlib import Path
from typing import Any

from voiceglm.commands.training import add_training_arguments, begin, finish

DEFAULT_MODEL = "nano"


def add_language_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sources and the model a run begins with."""
    parser.add_argument(
        "sources",
        type=Path,
        nargs="*",
        metavar="SOURCE",
        help="a corpus of voiceglm synth run, rows (.jsonl), texts or ids (.parquet, .jsonl), or a"
        " folder of such files; for shares of each set mix instead (docs/training.md)",
    )
    add_training_arguments(parser, example="train.steps=2000")
    parser.add_argument(
        "--model",
        help="a model's folder or name, to begin with (without it that of the settings, or"
        f" {DEFAULT_MODEL})",
    )


def run_language_training(args: argparse.Namespace, standard: dict[str, Any]) -> int:
    """Train, or go on.

    Args:
        args: With what :func:`add_language_arguments` declares.
        standard: Settings that the file and the single ones go over.
    """
    from voiceglm.commands.options import read_settings
    from voiceglm.errors import ConfigError
    from voiceglm.language_run import ADAPTER, LanguageRun, carry_out

    given = read_settings(args)
    for name, said in (("mix", args.sources), ("model", args.model)):
        if said and given.get(name) is not None:
            raise ConfigError(f"{name} is in the settings and on the command line; leave one out")
    said = {
        "model": args.model or DEFAULT_MODEL,
        "mix": [{"path": str(path)} for path in args.sources],
    }
    run = begin(args, LanguageRun, {**standard, **said})
    came_out = carry_out(run, args.output)
    if came_out.name == ADAPTER:
        hint = f"add it to the model: voiceglm lm merge {came_out} -o FOLDER --model {run.model}"
        return finish(came_out, hint)
    return finish(came_out, f"talk with it: voiceglm chat --model {came_out}")
