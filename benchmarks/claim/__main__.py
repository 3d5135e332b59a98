"""Make every run of the claim that is not there yet, then its table and plot."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

import benchmarks.claim
from benchmarks.claim.material import Row
from benchmarks.claim.run import measure_run, open_bench
from benchmarks.claim.settings import ARMS, Settings, Sizes
from benchmarks.claim.table import draw, table
from voiceglm.errors import VoiceGLMError
from voiceglm.files import write_file
from voiceglm.report import commit

SMOKE = Sizes(
    texts=240,
    stories=40,
    told=80,
    paired=80,
    questions_per_fact=2,
    asked=10,
    pairs=8,
    names=6,
)


def main() -> int:
    """Run, and return 0; 1 where something cannot go on, in one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claim",
        description=benchmarks.claim.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=Path, help="folder; what is in it already is not made again")
    parser.add_argument("--model", default="nano", help="whose speech tokenizer and decoder")
    parser.add_argument("--recognizer", default="", help="folder; no S->S without, add it later")
    parser.add_argument("--seeds", type=_seeds, default=[0, 1, 2], help="such as 0,1,2")
    parser.add_argument("--arms", type=_arms, default=list(ARMS), help="such as full,half,none")
    parser.add_argument("--beginning-steps", type=int, help="of what all arms begin with")
    parser.add_argument("--steps", type=int, help="of pre-training")
    parser.add_argument("--finetuning-steps", type=int)
    parser.add_argument("--world", type=int, default=0, help="which world is drawn")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--smoke", action="store_true", help="very little of everything")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        _measure(args, _settings(args))
    except VoiceGLMError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    settings = Settings(model=args.model, world=args.world)
    beginning, pretraining = settings.beginning, settings.pretraining
    finetuning = settings.finetuning
    if args.smoke:
        settings = replace(settings, sizes=SMOKE)
        beginning = replace(beginning, steps=6, log_every=2, save_every=3)
        pretraining = replace(pretraining, steps=6, log_every=2, save_every=3)
        finetuning = replace(finetuning, steps=4, log_every=2, save_every=2)
    if args.beginning_steps:
        beginning = replace(beginning, steps=args.beginning_steps)
    if args.steps:
        pretraining = replace(pretraining, steps=args.steps)
    if args.finetuning_steps:
        finetuning = replace(finetuning, steps=args.finetuning_steps)
    return replace(settings, beginning=beginning, pretraining=pretraining, finetuning=finetuning)


def _measure(args: argparse.Namespace, settings: Settings) -> None:
    """Make the runs, all arms of a seed before the next seed, and sum up after each."""
    bench = open_bench(args.output, settings, args.recognizer)
    runs: dict[str, dict[int, Sequence[Row]]] = {}
    for seed in args.seeds:
        for arm in args.arms:
            sys.stderr.write(f"{arm}, seed {seed}\n")
            rows = measure_run(bench, arm, seed)
            runs.setdefault(arm, {})[seed] = rows
        _sum_up(args.output, settings, args.recognizer, runs)
    sys.stdout.write((args.output / "table.md").read_text(encoding="utf-8"))


def _sum_up(
    folder: Path,
    settings: Settings,
    recognizer: str,
    runs: dict[str, dict[int, Sequence[Row]]],
) -> None:
    heard = folder / "ceiling.jsonl"
    lines = heard.read_text(encoding="utf-8").splitlines() if heard.exists() else []
    write_file(folder / "table.md", table(runs, [json.loads(line) for line in lines]).encode())
    draw(runs, folder / "plot.png")
    about = {
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "seeds": {arm: sorted(of_arm) for arm, of_arm in runs.items()},
        "settings": asdict(settings),
        "recognizer": recognizer,
    }
    write_file(folder / "about.json", json.dumps(about, indent=1).encode())


def _seeds(text: str) -> list[int]:
    return [int(seed) for seed in text.split(",")]


def _arms(text: str) -> list[str]:
    arms = text.split(",")
    unknown = sorted(set(arms) - ARMS.keys())
    if unknown:
        raise argparse.ArgumentTypeError(f"no arm {unknown[0]!r}; there are {', '.join(ARMS)}")
    return arms


if __name__ == "__main__":
    sys.exit(main())
