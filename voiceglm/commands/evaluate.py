"""``voiceglm evaluate``: the tables of a model, measured on held-out voices and wordings."""

import argparse
from pathlib import Path


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
    parser.add_argument("--questions", type=int, default=240, help="how many are asked")
    parser.add_argument("--readings", type=int, default=300, help="how many are transcribed")
    parser.add_argument(
        "--recordings",
        action="append",
        default=[],
        type=Path,
        metavar="MANIFEST",
        help="recordings of people, measured on the speakers held out from training",
    )
    parser.add_argument("--threads", type=int, default=1, help="torch threads")


def run(args: argparse.Namespace) -> int:
    """Measure, keep the raw rows, print the table."""
    import sys

    from voiceglm.commands.options import use_threads
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
