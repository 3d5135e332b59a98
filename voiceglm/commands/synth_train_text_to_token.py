"""``voiceglm synth train-text-to-token``: a model that says as codes what is written."""

import argparse
import sys

from voiceglm.commands.training import add_training_arguments, begin, finish, recipe_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "--model", default="nano", help="whose tokenizer makes the codes, and whose text ids it has"
    )
    add_training_arguments(
        parser,
        example="train.steps=2000",
        manifests="of recordings with texts; codes are made where they lack (docs/data.md)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, or go on."""
    from data_synth.codes import read_coded
    from data_synth.text_to_token import TextToTokenTask, train_text_to_token, write_pairs
    from tokenizer.model import SpeechTokenizer
    from voiceglm.language_model import read_language_model
    from voiceglm.manifest import read_manifest
    from voiceglm.ranks import first_goes_first
    from voiceglm.runs import MODEL
    from voiceglm.training import TRAIN

    recipe = recipe_settings("nano", "text_to_token")
    standard = {name: recipe[name] for name in ("model", "objective", "train")}
    given = {"manifests": [str(path) for path in args.manifests], "tokenizer": args.model}
    config = begin(args, TextToTokenTask, standard, given)
    _, text_tokenizer, vocabulary, _ = read_language_model(args.model)
    listed = [read_manifest(manifest) for manifest in args.manifests]
    rows = args.output / "rows.jsonl"
    with first_goes_first():
        heard = read_coded(
            [[one for one in utterances if one.text and one.path] for utterances in listed],
            lambda: SpeechTokenizer.from_pretrained(args.model),
            args.output,
        )
        count = write_pairs(rows, heard)
    sys.stderr.write(f"{count} recordings to learn from\n")
    model = train_text_to_token(
        rows, text_tokenizer, vocabulary.num_codes, config, args.output / TRAIN
    )
    return finish(
        args.output / MODEL,
        f"use it with: voiceglm synth plan --set text_to_token={args.output / MODEL}",
        lambda folder: model.save(folder, replace=True),
    )
