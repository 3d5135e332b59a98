"""``voiceglm voice list``: what a model can sound like."""

import argparse
import sys

from voiceglm.commands.options import (
    add_model_arguments,
    add_voices_argument,
    use_threads,
    write_json,
)
from voiceglm.errors import CheckpointError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    add_voices_argument(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print one JSON object a voice; those that cannot be used come last, on stderr."""
    from decoder.model import SpeechDecoder
    from decoder.voice import DEFAULT, read_voice
    from decoder.voices import known_voices

    use_threads(args)
    decoder = SpeechDecoder.from_pretrained(args.model)
    known = known_voices(args.model, args.voices)
    if DEFAULT not in known:
        write_json({"voice": DEFAULT, "path": None})
    problems = []
    for name, path in known.items():
        try:
            voice = read_voice(path)
            decoder.check_voice(voice)
        except CheckpointError as error:
            problems.append(f"{path}: {error}")
            continue
        found = {"voice": name, "path": str(path), "seconds": voice.seconds}
        write_json({**found, "tones": list(voice.tones)} if voice.tones else found)
    sys.stderr.write("".join(f"{problem}\n" for problem in problems))
    return 0
