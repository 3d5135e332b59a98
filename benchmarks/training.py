"""What training costs beside the model: the steps of a run against those of a bare loop.

    python benchmarks/training.py --run runs/nano -o benchmarks/training.json

For every stage of the nano recipe that ``fit`` trains, the model and its batches are taken as the
recipe makes them. The bare loop computes the same steps on batches that are ready in memory, with
the same optimizer. The two take turns, so that a machine that is slow for a while is slow for both.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from transformers import TrainerCallback

from voiceglm import recipe as recipes
from voiceglm.batches import Batch, Batches
from voiceglm.optimizers import with_muon
from voiceglm.recipe import Run
from voiceglm.recipe_config import load_recipe
from voiceglm.report import commit
from voiceglm.train_config import TrainConfig
from voiceglm.training import fit
from voiceglm.training_log import read_metrics

STAGES = {  # name: where its ``fit`` is looked up
    "tokenizer": "tokenizer.train.fit",
    "flow": "decoder.train_flow.fit",
    "pretraining": "voiceglm.train.fit",
    "text_to_token": "voiceglm.train.fit",
}
WARM = 3  # steps that are not counted
ROUNDS = 3


class MeasuredError(Exception):
    """Ends a stage with what was measured in the place of its training."""


class Clock(TrainerCallback):
    """Notes when steps end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/nano"), help="of the nano recipe")
    parser.add_argument("--steps", type=int, default=25, help="of each of three rounds")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare batches")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one torch thread",
        "steps": args.steps,
        "rounds": ROUNDS,
        "loader_workers": args.workers,
        "stages": {name: measure(name, args) for name in args.stages},
    }
    text = json.dumps(found, indent=1)
    args.output.write_text(f"{text}\n")
    sys.stdout.write(f"{text}\n")


def measure(stage: str, args: argparse.Namespace) -> dict[str, Any]:
    """Let the recipe prepare a stage, and time both loops where it would train."""

    def instead(
        model: nn.Module, batches: Batches, config: TrainConfig, *_: Any, **__: Any
    ) -> None:
        raise MeasuredError(compare(model, batches, config, args))

    with patch(STAGES[stage], instead):
        try:
            recipes.STAGES[stage](Run(load_recipe("nano"), args.run))
        except MeasuredError as measured:
            return measured.args[0]
    raise AssertionError(f"{stage} does not call {STAGES[stage]}")


def compare(
    model: nn.Module, batches: Batches, config: TrainConfig, args: argparse.Namespace
) -> dict[str, Any]:
    """Return the median seconds of a step in both loops, and how long batches are waited for."""
    steps = WARM + args.steps
    config = replace(
        config, steps=steps, save_every=10**6, log_every=steps - WARM, loader_workers=args.workers
    )
    ready = [batches.batch(number, 0, 1) for number in range(steps)]
    whole, bare, waited = [], [], []
    for _ in range(ROUNDS):
        bare += loop(model, ready, config)[WARM:]
        times, share = trained(model, batches, config)
        whole += times[WARM:]
        waited.append(share)
    return {
        "bare_seconds_per_step": round(statistics.median(bare), 4),
        "fit_seconds_per_step": round(statistics.median(whole), 4),
        "fit_to_bare": round(statistics.median(whole) / statistics.median(bare), 3),
        "waited_for_batches": round(statistics.median(waited), 4),
    }


def loop(model: nn.Module, ready: list[Batch], config: TrainConfig) -> list[float]:
    """Return the seconds of every step of the shortest loop that trains."""
    matrices_decayed = [name for name, each in model.named_parameters() if each.ndim > 1]
    assert config.muon_lr is not None, "the nano recipe trains with Muon"
    optimizer = with_muon(
        model,
        muon_lr=1e-9,  # the weights stay where they are, so that every round computes the same
        lr=1e-9,
        betas=(0.9, config.beta2),
        weight_decay=0.0,
        decayed=matrices_decayed,
    )
    model.train()
    times = []
    for batch in ready:
        began = time.perf_counter()
        low = torch.autocast("cpu", torch.bfloat16) if config.bfloat16 else nullcontext()
        with low:
            loss = model(**batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - began)
    return times


def trained(model: nn.Module, batches: Batches, config: TrainConfig) -> tuple[list[float], float]:
    """Return the seconds between the ends of the steps of a run, and its share of waiting."""
    clock = Clock()
    still = replace(config, peak_lr=1e-9, muon_lr=1e-9)
    with tempfile.TemporaryDirectory() as folder:
        fit(model, batches, still, Path(folder), callbacks=[clock])
        rows = [row for row in read_metrics(Path(folder)) if "waited_share" in row]
    ends = clock.ends
    return [b - a for a, b in pairwise(ends)], rows[-1]["waited_share"]


if __name__ == "__main__":
    main()
