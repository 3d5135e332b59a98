"""The batch engines of the synthesis on one thread: ours, and transformers' continuous batching.

    python benchmarks/batch_engines.py -o benchmarks/batch_engines.json

Both are given the same spans of documents of nano's world, each with the same room, and sample with
the same settings; the same call is made twice. Rates are of ids that belong to a span, its end
included; rounds alternate, medians are quoted.
"""

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from data_synth.batch_lm import Choice
from data_synth.local_lm import LocalEngine
from data_synth.models import speech_ids
from data_synth.text_to_token import spoken_span
from voiceglm.checkpoint import resolve
from voiceglm.language_model import VoiceLM
from voiceglm.report import commit

ROOM = 120  # ids that every span may have
Generate = Callable[[list[list[int]]], list[list[int]]]


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--spans", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = VoiceLM.from_pretrained(resolve(args.model, "text_to_token"))
    rng = random.Random(0)
    prompts = [model.writer.speaking_prompt(spoken_span(rng).text) for _ in range(args.spans)]
    engines = {"local": local(model), "continuous batching": continuous(model)}
    rates: dict[str, list[float]] = {name: [] for name in engines}
    same: dict[str, bool] = {}
    for name, generate in engines.items():
        generate(prompts[:16])
        same[name] = generate(prompts) == generate(prompts)
    for _ in range(args.rounds):
        for name, generate in engines.items():
            began = time.monotonic()
            found = generate(prompts)
            rates[name].append(sum(map(len, found)) / (time.monotonic() - began))
    found = {
        "commit": commit(),
        "machine": f"{platform.machine()}, 1 thread",
        "spans": args.spans,
        "ids_per_second": {name: round(statistics.median(each)) for name, each in rates.items()},
        "twice_the_same": same,
        "raw": {name: [round(rate) for rate in each] for name, each in rates.items()},
    }
    text = json.dumps(found, indent=1)
    args.output.write_text(f"{text}\n")
    sys.stdout.write(f"{text}\n")


def local(model: VoiceLM) -> Generate:
    """Return our engine."""
    end = model.vocabulary.end_of_audio
    engine = LocalEngine(model.network, speech_ids(model.vocabulary), end, Choice())
    return lambda prompts: engine.generate(prompts, [ROOM] * len(prompts), 1)


def continuous(model: VoiceLM) -> Generate:
    """Return transformers' engine; it may say anything, text ids too."""
    settings = Choice()
    generation = GenerationConfig(
        max_new_tokens=ROOM,
        do_sample=True,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        eos_token_id=model.vocabulary.end_of_audio,
        pad_token_id=0,
    )
    batching = ContinuousBatchingConfig(
        page_size=32,
        num_blocks=1_024,
        max_batch_tokens=1_024,
        auto_switch_to_flash=False,
        seed=1,
    )

    def generate(prompts: list[list[int]]) -> list[list[int]]:
        outputs = model.network.generate_batch(
            prompts, generation_config=generation, continuous_batching_config=batching
        )
        found = {tuple(out.prompt_ids): out for out in outputs.values()}
        failed = [out.error for out in outputs.values() if out.error]
        if failed or len(outputs) != len(prompts):
            raise RuntimeError(f"{len(outputs)} of {len(prompts)} answers, {failed[:1]}")
        return [list(found[tuple(prompt)].generated_tokens) for prompt in prompts]

    return generate


if __name__ == "__main__":
    main()
