"""The kinds of quantizer compared: the same short training of nano's tokenizer with each of them.

    python benchmarks/quantizers.py TRAIN.jsonl TEST.jsonl -o benchmarks/quantizers.json

TRAIN and TEST are manifests of recordings with texts. A few hundred steps say how a codebook
begins, not how good a tokenizer becomes.
"""

import argparse
import json
import platform
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from tokenizer.config import QuantizerConfig
from tokenizer.evaluate import figures, read_recordings
from tokenizer.train import TokenizerTrainConfig, train_tokenizer
from voiceglm.manifest import Utterance, read_manifest
from voiceglm.recipe_config import load_recipe
from voiceglm.training_log import METRICS

KINDS = {
    "ema": QuantizerConfig(
        codebook_size=1024, commitment_weight=0.25, revive_below=0.1, kmeans_init=True
    ),
    "ema, neither k-means nor revival": QuantizerConfig(
        codebook_size=1024, commitment_weight=0.25, revive_below=0.0
    ),
    "fsq": QuantizerConfig(
        kind="fsq", codebook_size=1024, levels=(4, 4, 4, 4, 4), revive_below=0.1
    ),
    "simvq": QuantizerConfig(
        kind="simvq", codebook_size=1024, commitment_weight=1.0, revive_below=0.1
    ),
}


def main() -> None:
    """Train and measure each kind; write all that was logged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--width", type=int, default=192, help="of the encoder; nano has 192")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    heard, held_out = read_manifest(args.train), read_manifest(args.test)
    recipe = load_recipe("nano").tokenizer
    encoder = replace(
        recipe.model.encoder,
        width=args.width,
        num_heads=args.width // 48,
        feedforward_width=4 * args.width,
    )
    train = replace(
        recipe.train,
        steps=args.steps,
        batch_size=args.batch_size,
        warmup_steps=50,
        log_every=25,
        save_every=10**6,
    )
    runs = {}
    for name, quantizer in KINDS.items():
        model = replace(recipe.model, encoder=encoder, quantizer=quantizer)
        config = replace(recipe, model=model, train=train, augmentation=None)
        runs[name] = measure(config, heard, held_out)
    result = {
        "machine": f"{platform.machine()}, {args.threads} thread",
        "torch": torch.__version__,
        "recordings": {"train": len(heard), "test": len(held_out)},
        "encoder": asdict(encoder),
        "train": asdict(train),
        "runs": runs,
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")


def measure(
    config: TokenizerTrainConfig, heard: list[Utterance], held_out: list[Utterance]
) -> dict[str, Any]:
    """Train one tokenizer and read held-out recordings back through its codes."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        tokenizer = train_tokenizer([heard], replace(config, collapse=None), Path(folder))
        seconds = time.perf_counter() - started
        logged = [json.loads(line) for line in (Path(folder) / METRICS).read_text().splitlines()]
    assert config.model.quantizer is not None, "there is one in every kind"
    return {
        "quantizer": asdict(config.model.quantizer),
        "seconds": round(seconds, 1),
        "held_out": asdict(figures(tokenizer, read_recordings(tokenizer, held_out))),
        "logged": logged,
    }


if __name__ == "__main__":
    main()
