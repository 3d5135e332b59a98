"""``voiceglm voice add``: a voice out of recordings of one speaker."""

import argparse
import sys
from pathlib import Path

from voiceglm.commands.options import add_model_arguments, add_voices_argument, use_threads
from voiceglm.errors import OutputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("name", help="what it will be called")
    parser.add_argument(
        "recordings",
        type=Path,
        nargs="+",
        metavar="ME.wav",
        help="one speaker alone, a second of speech at least, better ten",
    )
    parser.add_argument("--replace", action="store_true", help="an older voice of that name")
    add_voices_argument(parser, "-o", "--output")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write ``NAME.json`` and say where it is."""
    from decoder.model import SpeechDecoder
    from decoder.speaker import SpeakerEncoder
    from decoder.voice import Recording, check_name, make_voice, write_voice
    from decoder.voices import user_folder
    from voiceglm.audio import load_audio, probe_audio

    check_name(args.name)
    use_threads(args)
    folder: Path = args.voices or user_folder(args.model)
    if (folder / f"{args.name}.json").exists() and not args.replace:
        raise OutputError(f"there is a voice {args.name} in {folder} already; give --replace")
    rates = [probe_audio(path).sample_rate for path in args.recordings]
    recordings = [
        Recording(str(path), load_audio(path, rate), rate)
        for path, rate in zip(args.recordings, rates, strict=True)
    ]
    encoder = SpeakerEncoder.from_pretrained(args.model)
    decoder = SpeechDecoder.from_pretrained(args.model)
    voice = make_voice(
        args.name,
        recordings,
        encoder,
        sample_rate=decoder.sample_rate,
        decoder=decoder.fingerprint,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}") from None
    sys.stdout.write(f"{write_voice(voice, folder)}\n")
    return 0
