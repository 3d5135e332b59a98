"""``voiceglm synth dialogues``: spoken dialogues for fine-tuning from written ones."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from voiceglm.commands.options import positive

if TYPE_CHECKING:
    from data_synth.spoken_dialogues import Report

_SHOWN = 10  # things that could not be done, most frequent first


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "written", type=Path, metavar="WRITTEN.jsonl", help="a dialogue a line (docs/data.md)"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--model", default="nano", help="whose codes and ids: a name or a folder")
    parser.add_argument(
        "--views",
        choices=("both", "text", "speech", "two"),
        default="both",
        help="what is learned of a dialogue: text and speech in one row, one of them, or two rows"
        " with one of them each",
    )
    parser.add_argument("--workers", type=positive, default=2, help="processes that speak")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other users' voices")


def run(args: argparse.Namespace) -> int:
    """Speak, and say what was made and what was left out."""
    import sys

    from data_synth.processes import processes
    from data_synth.spoken_dialogues import SpokenConfig, speak_dialogues

    config = SpokenConfig(model=args.model, views=args.views, seed=args.seed)
    with processes(args.workers) as executor:
        report = speak_dialogues(args.written, args.output, config, executor)
    sys.stdout.writelines(f"{line}\n" for line in _summary(report))
    return 0


def _summary(report: "Report") -> Iterator[str]:
    yield f"{'dialogues':<12} {report.dialogues:,}"
    yield f"{'turns':<12} {report.turns:,}, {report.seconds / 3600:.2f} hours"
    yield f"{'left out':<12} {report.left_out.total():,}"
    for reason, count in report.left_out.most_common():
        yield f"{count:>12,} {reason}"
    yield f"{'styles unmet':<12} {report.unmet.total():,}"
    for wish, count in report.unmet.most_common(_SHOWN):
        yield f"{count:>12,} {wish}"
