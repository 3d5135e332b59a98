"""``voiceglm synth world``: written documents of the nano world, to try the synthesis on."""

import argparse
from pathlib import Path

from voiceglm.commands.options import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="JSONL")
    parser.add_argument("--documents", type=positive, default=1_000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other documents")


def run(args: argparse.Namespace) -> int:
    """Write them."""
    from data_synth.documents import document_lines
    from voiceglm.files import write_file

    lines = document_lines(args.documents, args.seed)
    write_file(args.output, "".join(f"{line}\n" for line in lines).encode())
    return 0
