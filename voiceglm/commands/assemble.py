"""``voiceglm assemble``: a whole model from parts that were trained apart."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--model", default="nano", help="where the other parts come from")
    for part in ("tokenizer", "language-model", "decoder", "speaker-encoder"):
        parser.add_argument(f"--{part}", type=Path, metavar="FOLDER", help="this one instead")


def run(args: argparse.Namespace) -> int:
    """Write the model."""
    from voiceglm.assemble import OPTIONAL, PARTS, assemble

    given = {part: path for part in (*PARTS, *OPTIONAL) if (path := getattr(args, part))}
    assemble(args.output, args.model, given)
    sys.stdout.write(f"{args.output}\n")
    return 0
