"""``voiceglm evaluate``: the tables of a model, measured on held-out voices and wordings."""

import argparse
from pathlib import Path

from voiceglm.commands.options import (
    add_recordings_argument,
    add_threads_argument,
    positive,
    use_threads,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("model", nargs="?", default="nano", help="bundled model or its folder")
    parser.add_argument(
        "--run",
        type=Path,
        default=Path("runs/nano"),
        help="folder of a recipe's run: its test recordings and its recognizer are used",
    )
    parser.add_argument("--output", type=Path, default=Path("docs/results/nano"), help="raw rows")
    parser.add_argument("--table", type=Path, help="also write the Markdown table to this file")
    parser.add_argument("--questions", type=positive, default=240, help="how many are asked")
    parser.add_argument("--readings", type=positive, default=300, help="how many are transcribed")
    add_recordings_argument(parser)
    add_threads_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, keep the raw rows, print the table."""
    import sys

    from voiceglm.report import Measurement, measure, table

    use_threads(args)
    measurement = Measurement(
        model=args.model,
        run=args.run,
        output=args.output,
        num_questions=args.questions,
        num_readings=args.readings,
        recordings=tuple(args.recordings),
    )
    text = table(measure(measurement))
    if args.table:
        from voiceglm.files import write_file

        write_file(args.table, text.encode())
    sys.stdout.write(text)
    return 0
