"""``voiceglm decoder train-vocoder``: log-mel to sound."""

import argparse

from voiceglm.commands.training import (
    add_training_arguments,
    begin,
    finish,
    recipe_settings,
    started_from,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    add_training_arguments(
        parser,
        example="start_from=nano",
        manifests="of recordings (docs/data.md); the last train.held_out are measured",
    )


def run(args: argparse.Namespace) -> int:
    """Train, or go on."""
    from dataclasses import asdict

    from decoder.parts import read_vocoder
    from decoder.train_vocoder import VocoderTask, train_vocoder
    from voiceglm.checkpoint import write_checkpoint
    from voiceglm.manifest import read_manifest, write_manifest
    from voiceglm.ranks import first_goes_first
    from voiceglm.runs import MODEL
    from voiceglm.training import TRAIN

    spoken = [one for path in args.manifests for one in read_manifest(path) if one.path]
    given = {"manifests": [str(path) for path in args.manifests]}
    standard = recipe_settings("nano", "vocoder")
    standard = started_from(args, standard, lambda name: read_vocoder(name).config)
    config = begin(args, VocoderTask, standard, given)
    start = read_vocoder(config.start_from) if config.start_from else None
    manifest = args.output / "spoken.jsonl"
    with first_goes_first():
        write_manifest(manifest, spoken)
    vocoder = train_vocoder(manifest, config.model, config.train, args.output / TRAIN, start=start)
    model = args.output / MODEL
    return finish(
        model,
        f"use it with: voiceglm decoder join --vocoder {model} -o DECODER",
        lambda folder: write_checkpoint(
            folder, asdict(vocoder.config), vocoder.state_dict(), replace=True
        ),
    )
