"""``voiceglm tokenizer train``: speech to codes, learned by recognizing text through them."""

import argparse
from pathlib import Path
from typing import Any

from voiceglm.commands.options import read_settings
from voiceglm.commands.training import add_training_arguments, begin, finish, recipe_settings

_QUANTIZERS = {  # nano's is of kind ema; what others are where nothing else is set
    "fsq": {"codebook_size": 1024, "levels": [4, 4, 4, 4, 4]},
    "simvq": {"codebook_size": 1024, "commitment_weight": 1.0},
}
_GENTLE = {"steps": 2_000, "peak_lr": 1e-4, "muon_lr": None, "warmup_steps": 100}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "manifests",
        type=Path,
        nargs="*",
        metavar="MANIFEST",
        help="of recordings with texts; a mix in fixed shares is the setting manifests",
    )
    add_training_arguments(parser, example="model.quantizer.kind=simvq")


def run(args: argparse.Namespace) -> int:
    """Train, or go on."""
    from tokenizer.sources import TokenizerRunConfig, read_sources
    from tokenizer.train import train_tokenizer
    from voiceglm.runs import MODEL
    from voiceglm.training import TRAIN

    config = begin(args, TokenizerRunConfig, _standard(args))
    sources, weights = read_sources(config.manifests)
    tokenizer = train_tokenizer(sources, config, args.output / TRAIN, weights=weights)
    return finish(
        args.output / MODEL,
        f"measure it: voiceglm tokenizer evaluate {args.output / MODEL} MANIFEST",
        lambda folder: tokenizer.save(folder, replace=True),
    )


def _standard(args: argparse.Namespace) -> dict[str, Any]:
    """Return what is not set: the sizes of the model to start from, or nano's; the manifests."""
    from tokenizer.start import starting_settings
    from voiceglm.errors import ConfigError

    given = read_settings(args)
    if args.manifests and given.get("manifests"):
        raise ConfigError("manifests are given twice, as arguments and as a setting; choose one")
    standard = recipe_settings("nano", "tokenizer")
    if given.get("start_from"):
        standard["model"] = starting_settings(given["start_from"])
        standard["train"] |= _GENTLE
    kind = ((given.get("model") or {}).get("quantizer") or {}).get("kind")
    if kind in _QUANTIZERS:
        standard["model"]["quantizer"] = {**_QUANTIZERS[kind], "kind": kind}
    if args.manifests:
        standard["manifests"] = [{"path": str(path)} for path in args.manifests]
    return standard
