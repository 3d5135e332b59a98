"""``voiceglm voice train``: an encoder that hears who speaks, from recordings of many speakers."""

import argparse
import sys

from voiceglm.commands.training import add_training_arguments, begin, finish, recipe_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    add_training_arguments(
        parser,
        example="train.steps=2000",
        manifests="of recordings with their speaker (docs/data.md)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, or go on, and measure on the speakers held out."""
    import json
    from dataclasses import asdict

    from decoder.train_speaker import SpeakerTask, divide, equal_error_rate, train_speaker
    from voiceglm.files import write_file
    from voiceglm.manifest import read_manifest
    from voiceglm.ranks import is_first
    from voiceglm.runs import MODEL
    from voiceglm.training import TRAIN

    config = begin(
        args,
        SpeakerTask,
        recipe_settings("nano", "speaker"),
        {"manifests": [str(path) for path in args.manifests]},
    )
    speakers = divide(
        [one for path in args.manifests for one in read_manifest(path)], config.held_out
    )
    sys.stderr.write(f"{len(speakers.learned)} recordings of {len(speakers.names)} speakers\n")
    encoder = train_speaker(speakers, config, args.output / TRAIN)
    if config.held_out > 1 and is_first():
        rate = round(equal_error_rate(encoder, speakers.held_out), 2)
        sys.stderr.write(f"equal error rate of {config.held_out} speakers held out: {rate} %\n")
        figures = {"equal_error_rate_percent": rate, "recordings": len(speakers.held_out)}
        settings = {"held_out": config.held_out, "train": asdict(config.train)}
        text = json.dumps({**figures, **settings}, indent=1)
        write_file(args.output / "summary.json", text.encode())
    return finish(
        args.output / MODEL,
        "use it with: voiceglm decoder train-flow --set speaker_encoder=FOLDER",
        lambda folder: encoder.save(folder, replace=True),
    )
