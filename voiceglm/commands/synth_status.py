"""``voiceglm synth status``: how far a synthesis has come."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

_UNUSUAL = {"unreadable_spans", "spans_without_words", "spans_too_long"}  # told if there are any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with a plan")
    parser.add_argument("--watch", action="store_true", help="again every two seconds")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--verify", action="store_true", help="also compare every file with its checksum"
    )


def run(args: argparse.Namespace) -> int:
    """Print a table."""
    import json

    from data_synth.plan import read_plan
    from data_synth.shards import damaged, finished
    from data_synth.statistics import status

    plan = read_plan(args.folder)
    while True:
        found = status(args.folder, plan).to_json()
        text = f"{json.dumps(found, indent=1)}\n" if args.json else describe(found)
        sys.stdout.write(f"\x1b[H\x1b[J{text}" if args.watch else text)
        sys.stdout.flush()
        if not args.watch or found["shards"] == found["total"]:
            break
        time.sleep(2)
    if not args.verify:
        return 0
    numbers = finished(args.folder, len(plan.shards))
    bad = [name for number in numbers for name in damaged(args.folder, number)]
    for name in bad:
        sys.stdout.write(f"damaged: {name}\n")
    return 1 if bad else 0


def describe(found: dict[str, Any]) -> str:
    """Return a status as lines for a person."""
    counts = found["counts"]
    rows = [
        ("shards", f"{found['shards']} of {found['total']}"),
        ("documents", f"{counts.get('documents', 0):,}"),
        ("rows", f"{counts.get('rows', 0):,}"),
        ("ids", f"{counts.get('ids', 0):,}"),
        ("of them speech", _with(found["speech_share_percent"], "%")),
        ("spans", f"{counts.get('spans', 0):,}"),
        ("left as text", f"{counts.get('spans_left_text', 0):,}"),
        ("codes per span", _with(found["codes_per_span"], "")),
        ("wrong characters, read back", _with(found["character_error_percent"], "%")),
        ("speed", _with(found["ids_per_second"] and round(found["ids_per_second"]), " ids/s")),
        ("time left", _duration(found["seconds_left"])),
        ("begun again", str(found["retries"])),
    ]
    rows += [
        (name.replace("_", " "), f"{count:,}")
        for name, count in counts.items()
        if count and (name.startswith("redone: ") or name in _UNUSUAL)
    ]
    rows += [(f"left out: {why}", f"{count:,}") for why, count in found["left_out"].items()]
    rows += [(f"shard {number} failed", why) for number, why in found["failures"].items()]
    return "".join(f"{name:<30} {value}\n" for name, value in rows)


def _with(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value}{unit}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
