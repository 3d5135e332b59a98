"""``voiceglm synth check``: what is wrong with the recordings and texts of a manifest."""

import argparse
import os
from pathlib import Path

from voiceglm.commands.options import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="a list of utterances")
    parser.add_argument(
        "--workers", type=positive, default=os.cpu_count() or 1, help="processes that listen"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="LIMIT=VALUE",
        help="another limit than that of docs/data.md, such as max_seconds=60 (repeatable)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if there are errors."""
    import sys

    from data_synth.check import ERRORS, Limits, check_manifest, count_kinds
    from data_synth.check_report import report, report_json
    from voiceglm.config import build, override
    from voiceglm.files import check_place, write_file

    limits = build(Limits, override({}, args.set))
    if args.json:
        check_place(args.json)
    checked = check_manifest(args.manifest, limits, workers=args.workers)
    if args.json:
        write_file(args.json, report_json(args.manifest, checked, limits))
    sys.stdout.write(report(args.manifest, checked))
    return 1 if any(count_kinds(checked)[kind] for kind in ERRORS) else 0
