"""``voiceglm synth``: training data, one line per task."""

import argparse
from importlib import import_module

TASKS = {  # name: (module with add_arguments() and run(), help)
    "speak": ("voiceglm.commands.synth_speak", "speak lines of text into packs with a manifest"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the task; its own arguments are read once it is known."""
    listed = "; ".join(f"{name}: {text}" for name, (_, text) in TASKS.items())
    parser.add_argument("task", choices=TASKS, metavar="TASK", help=listed)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="--help says more")


def run(args: argparse.Namespace) -> int:
    """Run one task."""
    home, text = TASKS[args.task]
    module = import_module(home)
    parser = argparse.ArgumentParser(
        prog=f"voiceglm synth {args.task}",
        description=f"{text[0].upper()}{text[1:]}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    module.add_arguments(parser)
    return module.run(parser.parse_args(args.arguments))
