"""``voiceglm lm pretrain``: the language model learns from corpora of text and speech."""

import argparse

from voiceglm.commands.language_training import add_language_arguments, run_language_training

_STANDARD = {
    "train": {"steps": 2_000, "peak_lr": 3e-4, "beta2": 0.95, "weight_decay": 0.1},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    add_language_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, or go on."""
    return run_language_training(args, _STANDARD)
