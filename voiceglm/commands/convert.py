"""``voiceglm convert``: a released folder in our own layout."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("source", help="a released folder, or its name on the Hugging Face hub")
    parser.add_argument("target", type=Path, help="the folder to make")


def run(args: argparse.Namespace) -> int:
    """Write the folder."""
    from voiceglm.convert import convert

    convert(args.source, args.target)
    return 0
