"""``voiceglm evaluate``: the tables of the papers, measured on a model."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from voiceglm.commands.options import (
    add_digits_argument,
    add_model_arguments,
    add_recordings_argument,
    add_voice_arguments,
    positive,
    use_threads,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TABLES = (
    "codes",
    "reconstruction",
    "spoken-lm",
    "spoken-qa",
    "reply",
    "style",
    "intent",
    "people",
)
SUMMARY = "nano"  # the figures of docs/nano.md, with what they must reach
ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "tables",
        nargs="+",
        choices=(*TABLES, ALL, SUMMARY),
        metavar="TABLE",
        help=f"{', '.join(TABLES)}; {ALL} of these; {SUMMARY}: the figures of docs/nano.md",
    )
    add_model_arguments(parser)
    parser.add_argument("--device", default="cpu", help="where the model computes, such as cuda")
    parser.add_argument(
        "--run",
        type=Path,
        default=Path("runs/nano"),
        help="folder of a recipe's run: its test recordings and its recognizer are used",
    )
    parser.add_argument(
        "--recognizer",
        default="",
        metavar="FOLDER",
        help="who listens instead of the run's recognizer: a tokenizer or a Whisper model",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of the public sets (docs/training.md); those absent are skipped and named",
    )
    parser.add_argument(
        "--manifest",
        action="append",
        default=[],
        type=Path,
        help="recordings of your own (repeatable): with text, or with intent and slots",
    )
    parser.add_argument(
        "--noise", action="append", default=[], type=Path, help="noise for orders (repeatable)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("evaluation"), help="one folder of raw rows a table"
    )
    parser.add_argument("--table", type=Path, help="also write the Markdown to this file")
    parser.add_argument("--questions", type=positive, default=240, help="asked of each set")
    parser.add_argument("--readings", type=positive, default=300, help="transcribed of each set")
    parser.add_argument("--pairs", type=positive, default=300, help="compared of each set")
    parser.add_argument("--seed", type=int, default=0, help="of every draw")
    add_recordings_argument(parser)
    add_digits_argument(parser)
    add_voice_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, keep the raw rows, print the tables as they come."""
    from voiceglm.files import check_place, write_file

    use_threads(args)
    _check_inputs(args)
    if args.table:
        check_place(args.table)
    texts = []
    for text in _measured(args, list(dict.fromkeys(args.tables))):
        texts.append(text)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    if args.table:
        write_file(args.table, "\n".join(texts).encode())
    return 0


def _check_inputs(args: argparse.Namespace) -> None:
    """Refuse what cannot be there before a model is loaded.

    Raises:
        ConfigError: If a folder or a file that was named is missing.
    """
    from voiceglm.errors import ConfigError

    for path in (*args.manifest, *args.noise, *args.recordings):
        if not path.is_file():
            raise ConfigError(f"no such file: {path}")
    for path in (args.data, args.digits):
        if path is not None and not path.is_dir():
            raise ConfigError(f"no such folder: {path}")


def _measured(args: argparse.Namespace, names: "Sequence[str]") -> "Iterator[str]":
    counts = f"--questions {args.questions} --readings {args.readings} --pairs {args.pairs}"
    command = f"voiceglm evaluate {' '.join(args.tables)} --model {args.model} {counts}"
    if args.voice != "default":
        command += f" --voice {args.voice}"
    if SUMMARY in names:
        yield _summary(args, command)
    tables = TABLES if ALL in names else [name for name in names if name != SUMMARY]
    if tables:
        from voiceglm.evaluation.run import measure_tables
        from voiceglm.evaluation.subject import Settings

        settings = Settings(
            model=args.model,
            run=args.run,
            output=args.output,
            data=args.data,
            manifests=tuple(args.manifest),
            noises=tuple(args.noise),
            recordings=tuple(args.recordings),
            digits=args.digits,
            recognizer=args.recognizer,
            device=args.device,
            voice=args.voice,
            voices=args.voices,
            num_questions=args.questions,
            num_readings=args.readings,
            num_pairs=args.pairs,
            seed=args.seed,
        )
        yield from measure_tables(settings, tables, command)


def _summary(args: argparse.Namespace, command: str) -> str:
    from voiceglm.report import Measurement, measure, table

    measurement = Measurement(
        model=args.model,
        run=args.run,
        output=args.output,
        num_questions=args.questions,
        num_readings=args.readings,
        recordings=tuple(args.recordings),
        command=command,
        device=args.device,
        voice=args.voice,
        voices=args.voices,
    )
    return table(measure(measurement))
