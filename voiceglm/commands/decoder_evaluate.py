"""``voiceglm decoder evaluate``: how speech survives the way through its codes and back."""

import argparse
import sys
from pathlib import Path

from voiceglm.commands.options import (
    add_model_arguments,
    add_voice_arguments,
    positive,
    use_threads,
)
from voiceglm.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="of recordings")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--clips", type=positive, default=100, help="how many, from the start")
    parser.add_argument(
        "--recognizer",
        help="a tokenizer that writes down what is heard, best one that shares nothing with the "
        "model's; by default the model's own",
    )
    parser.add_argument(
        "--own-voice", action="store_true", help="speak each clip with the voice heard in it"
    )
    add_voice_arguments(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, keep the raw rows, print the table."""
    import json

    from data_synth.codes import read_coded
    from decoder.evaluate import Judges, measure_clips, own_voice, summarize, table
    from decoder.model import SpeechDecoder
    from decoder.speaker import SpeakerEncoder
    from decoder.voice import DEFAULT
    from decoder.voices import find_voice
    from tokenizer.model import SpeechTokenizer
    from voiceglm.files import new_folder, write_file, write_json_lines
    from voiceglm.manifest import read_manifest

    if args.own_voice and args.voice != DEFAULT:
        raise ConfigError("--own-voice and --voice exclude each other")
    use_threads(args)
    listed = [one for one in read_manifest(args.manifest) if one.path][: args.clips]
    if not listed:
        raise ConfigError(f"{args.manifest} has no recordings")
    decoder = SpeechDecoder.from_pretrained(args.model)
    encoder = SpeakerEncoder.find(args.model)
    hearer = SpeechTokenizer.from_pretrained(args.recognizer or args.model)
    voice = find_voice(args.voice, decoder, args.model, args.voices)
    if args.own_voice:
        voice = own_voice(decoder, encoder or SpeakerEncoder.from_pretrained(args.model))
    with new_folder(args.output) as draft:
        coded = read_coded(
            [listed],
            lambda: SpeechTokenizer.from_pretrained(args.model),
            draft,
            num_codes=decoder.num_codes,
        )
        judges = Judges(recognizer=hearer if hearer.recognizer else None, encoder=encoder)
        clips = [(one, list(one.extra["codes"])) for one in coded if one.extra["codes"]]
        rows = measure_clips(decoder, clips, judges, voice)
        write_json_lines(draft / "rows.jsonl", rows)
        summary = summarize(rows)
        asked = {name: str(value) for name, value in vars(args).items() if name != "output"}
        text = json.dumps({"clips": len(rows), "asked": asked, **summary}, indent=1)
        write_file(draft / "summary.json", text.encode())
        write_file(draft / "table.md", table(summary).encode())
    sys.stdout.write(table(summary))
    return 0
