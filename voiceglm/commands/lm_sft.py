"""``voiceglm lm sft``: the language model learns from dialogues."""

import argparse

from voiceglm.commands.language_training import add_language_arguments, run_language_training
from voiceglm.commands.training import recipe_settings

_ADAPTED = {"peak_lr": 2e-4, "muon_lr": None}  # of adapters: AdamW, as they were published


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
    standard = recipe_settings("nano", "language_model", "finetuning")
    if args.lora:
        standard = {**standard, "train": {**standard["train"], **_ADAPTED}, "lora": {}}
    return run_language_training(args, standard)
