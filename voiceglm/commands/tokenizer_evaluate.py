"""``voiceglm tokenizer evaluate``: error rate through the codes, use of the codebook, bit rate."""

import argparse
import sys
from pathlib import Path

from voiceglm.commands.options import add_threads_argument, positive, use_threads

_ROWS, _SUMMARY, _TABLE = "rows.jsonl", "summary.json", "table.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("model", metavar="MODEL", help="a bundled model, or a tokenizer's folder")
    parser.add_argument(
        "manifests", type=Path, nargs="+", metavar="MANIFEST", help="recordings never trained on"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help=f"keep {_ROWS}, {_SUMMARY}, {_TABLE}"
    )
    parser.add_argument("--limit", type=positive, help="measure the first so many recordings only")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_threads_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, keep the raw rows, print the figures."""
    import json
    from dataclasses import asdict

    from tokenizer.evaluate import figures, read_recordings, table
    from tokenizer.model import SpeechTokenizer
    from voiceglm.files import check_folder_place, new_folder, write_file, write_json_lines
    from voiceglm.manifest import read_manifest

    use_threads(args)
    if args.output:
        check_folder_place(args.output)
    listed = [one for path in args.manifests for one in read_manifest(path) if one.path]
    tokenizer = SpeechTokenizer.from_pretrained(args.model)
    rows = read_recordings(tokenizer, listed[: args.limit])
    found = figures(tokenizer, rows)
    summary = json.dumps(
        {"model": args.model, "manifests": [*map(str, args.manifests)], **asdict(found)}, indent=1
    )
    if args.output:
        with new_folder(args.output) as folder:
            write_json_lines(folder / _ROWS, rows)
            write_file(folder / _SUMMARY, f"{summary}\n".encode())
            write_file(folder / _TABLE, table(found).encode())
    sys.stdout.write(f"{summary}\n" if args.json else table(found))
    return 0
