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

    from voiceglm.evaluation.subject import Settings

TABLES = (
    "codes",
    "reconstruction",
    "spoken-lm",
    "spoken-qa",
    "reply",
    "turns",
    "style",
    "intent",
    "people",
)
SUMMARY = "nano"  # the tables that nano's bars need, and a page of these
ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "tables",
        nargs="+",
        choices=(*TABLES, ALL, SUMMARY),
        metavar="TABLE",
        help=f"{', '.join(TABLES)}; {ALL} of these; {SUMMARY}: what docs/nano.md must reach",
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
    parser.add_argument(
        "--resume", action="store_true", help="keep the tables that are in the output folder"
    )
    parser.add_argument("--table", type=Path, help="also write the Markdown to this file")
    parser.add_argument(
        "--bench",
        type=Path,
        metavar="JSON",
        help=f"what voiceglm bench -o wrote, for the speeds of {SUMMARY}",
    )
    parser.add_argument("--questions", type=positive, default=500, help="asked of each set")
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

    bench = () if args.bench is None else (args.bench,)
    for path in (*args.manifest, *args.noise, *args.recordings, *bench):
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
    from voiceglm.evaluation.bars import needed
    from voiceglm.evaluation.run import measure_tables, missing
    from voiceglm.report import summarize

    wanted = [*(needed() if SUMMARY in names else ()), *(TABLES if ALL in names else names)]
    tables = [name for name in dict.fromkeys(wanted) if name in TABLES]
    if args.resume:
        tables = missing(args.output, tables)
    if tables:
        yield from measure_tables(_settings(args), tables, command)
    if SUMMARY in names:
        yield summarize(args.output, args.model, args.bench)


def _settings(args: argparse.Namespace) -> "Settings":
    from voiceglm.evaluation.subject import Settings

    return Settings(
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
