"""``voiceglm synth train-text-to-token``: a model that says as codes what is written."""

import argparse
import sys
from pathlib import Path

from voiceglm.commands.options import (
    add_model_arguments,
    add_settings_arguments,
    read_settings,
    use_threads,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "manifests",
        type=Path,
        nargs="+",
        metavar="MANIFEST",
        help="of recordings with texts; codes are made where they lack (docs/data.md)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add_settings_arguments(parser, example="train.steps=2000")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, or go on."""
    from importlib.resources import files

    from data_synth.codes import read_coded
    from data_synth.text_to_token import TextToTokenConfig, train_text_to_token, write_pairs
    from tokenizer.model import SpeechTokenizer
    from voiceglm.config import build, load_yaml
    from voiceglm.errors import OutputError
    from voiceglm.language_model import read_language_model
    from voiceglm.manifest import read_manifest

    use_threads(args)
    recipe = load_yaml(Path(str(files("voiceglm").joinpath("recipes", "nano.yaml"))))
    standard = {name: recipe["text_to_token"][name] for name in ("model", "objective", "train")}
    config = build(TextToTokenConfig, read_settings(args, standard))
    folder: Path = args.output
    if folder.exists() and any(folder.iterdir()) and not args.resume:
        raise OutputError(f"{folder} exists already; name another folder, or go on with --resume")
    folder.mkdir(parents=True, exist_ok=True)
    _, text_tokenizer, vocabulary, _ = read_language_model(args.model)
    listed = (read_manifest(manifest) for manifest in args.manifests)
    heard = read_coded(
        [[one for one in utterances if one.text and one.path] for utterances in listed],
        lambda: SpeechTokenizer.from_pretrained(args.model),
        folder,
    )
    count = write_pairs(folder / "rows.jsonl", heard)
    sys.stderr.write(f"{count} recordings to learn from\n")
    model = train_text_to_token(
        folder / "rows.jsonl", text_tokenizer, vocabulary.num_codes, config, folder / "train"
    )
    model.save(folder / "text_to_token", replace=True)
    sys.stdout.write(f"use it with: --set text_to_token={folder / 'text_to_token'}\n")
    return 0
