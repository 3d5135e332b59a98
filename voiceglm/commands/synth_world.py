"""``voiceglm synth world``: documents or dialogues of the nano world, to try the synthesis on."""

import argparse
from pathlib import Path

from voiceglm.commands.options import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="JSONL")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--documents", type=positive, default=1_000, help="how many")
    kind.add_argument(
        "--dialogues",
        type=positive,
        nargs="?",
        const=1_000,
        help="written dialogues instead, for voiceglm synth dialogues: how many (1000)",
    )
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other texts")


def run(args: argparse.Namespace) -> int:
    """Write them."""
    from data_synth.documents import dialogue_lines, document_lines
    from voiceglm.files import write_file

    if args.dialogues:
        lines = dialogue_lines(args.dialogues, args.seed, args.language)
    else:
        lines = document_lines(args.documents, args.seed, language=args.language)
    write_file(args.output, "".join(f"{line}\n" for line in lines).encode())
    return 0
