"""``voiceglm decoder train-flow``: speech codes to log-mel, of one voice or of many."""

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
    parser.add_argument(
        "--model", default="nano", help="whose tokenizer makes the codes, and whose vocoder samples"
    )
    add_training_arguments(
        parser,
        example="start_from=nano",
        manifests="of recordings; codes are made where they lack (docs/data.md)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, or go on."""
    from dataclasses import asdict

    from data_synth.codes import read_coded
    from decoder.model import SpeechDecoder
    from decoder.parts import read_flow
    from decoder.speaker import SpeakerEncoder
    from decoder.train_flow import FlowTask, Start, train_flow
    from tokenizer.model import SpeechTokenizer
    from voiceglm.checkpoint import write_checkpoint
    from voiceglm.manifest import read_manifest, write_manifest
    from voiceglm.ranks import first_goes_first
    from voiceglm.runs import MODEL
    from voiceglm.training import TRAIN

    listed = [[one for one in read_manifest(path) if one.path] for path in args.manifests]
    given = {"manifests": [str(path) for path in args.manifests], "tokenizer": args.model}
    standard = recipe_settings("nano", "flow")
    standard = started_from(args, standard, lambda name: read_flow(name).config)
    config = begin(args, FlowTask, standard, given)
    other = read_flow(config.start_from) if config.start_from else None
    start = Start(
        other.tensors if other else None,
        other.where if other else "",
        SpeakerEncoder.from_pretrained(config.speaker_encoder) if config.speaker_encoder else None,
        SpeechDecoder.from_pretrained(args.model).vocoder if config.train.sample_every else None,
    )
    manifest = args.output / "spoken.jsonl"
    with first_goes_first():
        coded = read_coded(
            listed,
            lambda: SpeechTokenizer.from_pretrained(args.model),
            args.output,
            num_codes=config.model.num_codes,
        )
        write_manifest(manifest, coded)
    flow = train_flow(
        manifest,
        config.model,
        config.train,
        args.output / TRAIN,
        voices=config.voices,
        start=start,
    )
    model = args.output / MODEL
    return finish(
        model,
        f"use it with: voiceglm decoder join --flow {model} -o DECODER",
        lambda folder: write_checkpoint(
            folder, asdict(flow.config), flow.state_dict(), replace=True
        ),
    )
