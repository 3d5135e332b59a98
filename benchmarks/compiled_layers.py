"""What compiling its layers is worth when the language model is trained.

    python benchmarks/compiled_layers.py -o benchmarks/compiled_layers.json

The bundled model's gradients of batches of 4,096 random ids, in rows of many lengths, as training
computes them. Plain and compiled steps take turns, so that a machine that is slow for a while is
slow for both.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from voiceglm.language_model import VoiceLM
from voiceglm.prompt import IGNORED
from voiceglm.report import commit
from voiceglm.train import LanguageTraining, Objective
from voiceglm.train_config import computes_bfloat16
from voiceglm.training import plain_attention

IDS = 4_096
LENGTHS = (82, 40, 120, 64, 200, 90, 55, 150, 75, 300)


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of ten lengths each")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = VoiceLM.from_pretrained("nano", dtype=torch.float32)
    model.network.train()
    plain, compiled = Objective(model, LanguageTraining()), Objective(model, LanguageTraining())
    compiled.compile_layers()
    generator = torch.Generator().manual_seed(0)
    batches = [_batch(length, model.vocabulary.size, generator) for length in LENGTHS]
    with plain_attention(model.network.config):
        started = time.perf_counter()
        for batch in batches:
            _step(compiled, batch)
        first = time.perf_counter() - started
        seconds = {"plain": [], "compiled": []}
        for batch in batches * args.rounds:
            seconds["plain"].append(_step(plain, batch))
            seconds["compiled"].append(_step(compiled, batch))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    found = {
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one torch thread",
        "bfloat16": computes_bfloat16(torch.device("cpu")),
        "seconds_per_step": {name: round(median, 3) for name, median in medians.items()},
        "plain_to_compiled": round(medians["plain"] / medians["compiled"], 2),
        "seconds_of_the_first_ten": round(first, 1),
    }
    text = json.dumps(found, indent=1)
    args.output.write_text(f"{text}\n")
    sys.stdout.write(f"{text}\n")


def _batch(length: int, num_ids: int, generator: torch.Generator) -> dict[str, Tensor]:
    ids = torch.randint(num_ids, (IDS // length, length), generator=generator)
    learned = torch.rand(ids.shape, generator=generator) < 0.5
    return {"ids": ids, "labels": ids.masked_fill(~learned, IGNORED)}


def _step(objective: Objective, batch: dict[str, Tensor]) -> float:
    started = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=computes_bfloat16(torch.device("cpu"))):
        loss = objective(**batch)["loss"]
    loss.backward()
    objective.zero_grad()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
