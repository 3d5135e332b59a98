"""``voiceglm synth plan``: freeze what a corpus will be made of."""

import argparse
import sys
from pathlib import Path

from voiceglm.commands.options import add_settings_arguments, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "texts",
        type=Path,
        nargs="+",
        metavar="TEXTS",
        help="files of .parquet, .jsonl, .jsonl.gz or .jsonl.zst, or folders of them",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add_settings_arguments(parser, example="spans.share=0.2")


def run(args: argparse.Namespace) -> int:
    """Make the plan and say what it holds."""
    from data_synth.models import model_digests, model_folders
    from data_synth.plan import SynthesisConfig, make_plan, write_plan
    from voiceglm.config import build

    config = build(SynthesisConfig, read_settings(args))
    plan = make_plan(args.texts, config, model_digests(model_folders(config)))
    is_new = write_plan(plan, args.output)
    documents = sum(source.num_rows for source in plan.sources)
    duplicates = sum(len(shard.duplicates) for shard in plan.shards)
    sys.stdout.write(
        f"{'planned' if is_new else 'planned already'}: {len(plan.shards)} shards of "
        f"{documents} documents in {len(plan.sources)} files, {duplicates} of them duplicates\n"
    )
    for path, reason in plan.unreadable.items():
        sys.stderr.write(f"left out {path}: {reason}\n")
    sys.stdout.write(f"go on with: voiceglm synth run {args.output}\n")
    return 0
