"""``voiceglm lm pretrain``: the language model learns from corpora of text and speech."""

import argparse

from voiceglm.commands.language_training import add_language_arguments, run_language_training
from voiceglm.commands.training import recipe_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    add_language_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, or go on."""
    return run_language_training(args, recipe_settings("nano", "language_model", "pretraining"))
