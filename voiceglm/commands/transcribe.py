"""``voiceglm transcribe``: what speech files say, one JSON line each."""

import argparse
from pathlib import Path

from voiceglm.commands.options import add_model_arguments, use_threads, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("audio", nargs="+", type=Path, metavar="FILE", help="WAV, FLAC, OGG or MP3")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write ``{"path": ..., "text": ...}`` to stdout, in the order given."""
    from tokenizer.model import SpeechTokenizer
    from voiceglm.audio import load_speech

    use_threads(args)
    tokenizer = SpeechTokenizer.from_pretrained(args.model)
    for path in args.audio:
        samples = load_speech(path, 16_000)
        write_json({"path": str(path), "text": tokenizer.transcribe(samples, 16_000)})
    return 0
