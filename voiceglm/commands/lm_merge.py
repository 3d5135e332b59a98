"""``voiceglm lm merge``: adapters that were kept, added to the model they were made for."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("adapter", type=Path, metavar="ADAPTER", help="of voiceglm lm sft")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--model", default="nano", help="the model the adapter was made for")


def run(args: argparse.Namespace) -> int:
    """Merge and write the model."""
    from voiceglm.commands.training import finish
    from voiceglm.files import check_folder_place
    from voiceglm.language_model import VoiceLM
    from voiceglm.language_run import save_whole
    from voiceglm.lora import merge

    check_folder_place(args.output)
    model = VoiceLM.from_pretrained(args.model)
    merge(model, args.adapter)
    save_whole(model, args.output, companions=args.model)
    return finish(args.output, f"talk with it: voiceglm chat --model {args.output}")
