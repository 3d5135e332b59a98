"""``voiceglm decoder join``: a flow and a vocoder that were trained apart become a decoder."""

import argparse
import sys
from pathlib import Path

from voiceglm.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("--model", default="nano", help="where the part comes from that is not new")
    parser.add_argument("--flow", help="the model/ of a run of train-flow, or another model")
    parser.add_argument("--vocoder", help="the model/ of a run of train-vocoder, or another model")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")


def run(args: argparse.Namespace) -> int:
    """Write the decoder, whole or not at all."""
    import torch

    from decoder.model import SpeechDecoder
    from decoder.parts import new_flow, new_vocoder, read_flow, read_vocoder

    if not (args.flow or args.vocoder):
        raise ConfigError("nothing to join: give --flow, --vocoder or both")
    flow = new_flow(read_flow(args.flow or args.model))
    vocoder = new_vocoder(read_vocoder(args.vocoder or args.model))
    SpeechDecoder(flow, vocoder).save(args.output, dtype=torch.float16)
    sys.stdout.write(f"{args.output}\n")
    sys.stderr.write(
        f"use it with: voiceglm assemble --decoder {args.output} -o MODEL "
        "(and --speaker-encoder, of several voices)\n"
    )
    return 0
