"""``voiceglm synth run``: work a plan off."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voiceglm.commands.options import positive
from voiceglm.errors import ConfigError

if TYPE_CHECKING:
    from data_synth.ledger import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with a plan")
    parser.add_argument("--workers", type=positive, default=2, help="processes")
    parser.add_argument(
        "--executor",
        choices=("local", "ray", "slurm"),
        default="local",
        help="who runs the workers: this machine, a Ray cluster, or Slurm by way of datatrove",
    )
    parser.add_argument(
        "--executor-set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument of that executor, such as partition=gpu or time=20:00:00 (repeatable)",
    )


def run(args: argparse.Namespace) -> int:
    """Work, showing how far it has come."""
    from voiceglm.config import override

    options = override({}, args.executor_set)
    if args.executor == "slurm":
        from data_synth.cluster import submit_to_slurm

        submit_to_slurm(args.folder, args.workers, options)
        return 0
    bar = _Bar()
    if args.executor == "ray":
        from data_synth.ray_run import run_on_ray

        progress = run_on_ray(args.folder, args.workers, options, bar)
    elif options:
        raise ConfigError(
            f"--executor-set {next(iter(options))}: the local executor has no settings"
        )
    else:
        from data_synth.run import run as work_off

        progress = work_off(args.folder, args.workers, bar)
    bar.close()
    for number, reason in sorted(progress.failed.items()):
        sys.stderr.write(f"shard {number} failed: {reason}\n")
    sys.stdout.write(f"{progress.done} of {progress.total} shards are finished\n")
    return 0 if progress.done == progress.total else 1


class _Bar:
    """Shards on stderr, with codes a second beside them."""

    def __init__(self) -> None:
        self._bar: Any = None  # until work begins

    def __call__(self, progress: "Progress") -> None:
        from tqdm import tqdm

        if self._bar is None:
            done, total = progress.done, progress.total
            self._bar = tqdm(unit="shard", initial=done, total=total, smoothing=0.05)
        self._bar.n = progress.done
        rate = progress.codes / max(self._bar.format_dict["elapsed"], 1e-3)
        failed = f", {len(progress.failed)} failed" if progress.failed else ""
        self._bar.set_postfix_str(f"{rate:.0f} codes/s{failed}", refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Leave what it shows."""
        if self._bar is not None:
            self._bar.close()
