"""``voiceglm lm sft``: the language model learns from dialogues."""

import argparse

from voiceglm.commands.language_training import add_language_arguments, run_language_training

_STANDARD = {
    "train": {"steps": 1_000, "peak_lr": 5e-5, "beta2": 0.95, "weight_decay": 0.1},
}
_ADAPTED = {"peak_lr": 2e-4}  # adapters begin at nothing and bear a higher rate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    add_language_arguments(parser)
    parser.add_argument(
        "--lora",
        action="store_true",
        help="learn small differences, as settings of lora say, instead of all weights",
    )


def run(args: argparse.Namespace) -> int:
    """Train, or go on."""
    if args.lora:
        adapted = {"train": {**_STANDARD["train"], **_ADAPTED}, "lora": {}}
        return run_language_training(args, adapted)
    return run_language_training(args, _STANDARD)
