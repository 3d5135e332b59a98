"""Working a plan off on a Ray cluster: every shard is a task.

datatrove's own executor for Ray gives a rank to a pool of processes inside an actor, and waits for
ever when one of them is killed. Here the process that Ray starts makes the shard itself: if it is
killed Ray says so, and the ledger has the shard made again, as a run on one machine does.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from data_synth.ledger import Ledger, Progress, opened
from data_synth.plan import read_plan
from data_synth.step import OneRank, SynthesisStep, is_fatal
from voiceglm.errors import ConfigError, DependencyError

LOOK = 1.0  # seconds between two looks at tasks, so that Ctrl-C is heard


def run_on_ray(
    folder: Path,
    workers: int,
    options: Mapping[str, Any],
    watch: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Work a plan off on the cluster that Ray finds, or else on this machine; see ``run``.

    Args:
        folder: Of the synthesis, where every node can reach it.
        workers: Shards at the same time.
        options: Of Ray's tasks, such as ``num_gpus``.
        watch: Told of progress.

    Returns:
        How far it came.

    Raises:
        ConfigError: If Ray refuses an option; as ``run`` does for the rest.
        DependencyError: If Ray is not installed.
        SynthesisError: If no work is possible.
    """
    with opened(folder.resolve(), watch) as ledger, _connected() as ray:
        try:
            task = ray.remote(**{"num_cpus": 1, **options, "max_retries": 0})(make_shard)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"ray: {error}; see --executor-set") from None
        ledger.begin(workers)
        _work(ray, task, folder.resolve(), ledger, workers)
        ledger.check()
    return ledger.progress


def make_shard(folder: str, number: int) -> tuple[float, int]:
    """Make a shard in this process; return the seconds it took and the codes written."""
    torch.set_num_threads(1)
    rank, written = _maker(folder)
    written.clear()
    began = time.monotonic()
    rank.make(number)
    return round(time.monotonic() - began, 3), sum(written)


@cache
def _maker(folder: str) -> tuple[OneRank, list[int]]:
    """Return what makes shards, with its models, and where it notes the codes it writes."""
    written: list[int] = []
    step = SynthesisStep(folder, written.append)
    return OneRank(Path(folder), step, len(read_plan(Path(folder)).shards)), written


def _work(ray: Any, task: Any, folder: Path, ledger: Ledger, workers: int) -> None:
    running: dict[Any, int] = {}
    while True:
        while len(running) < workers and (number := ledger.next()) is not None:
            running[task.remote(str(folder), number)] = number
        if not running:
            return
        finished, _ = ray.wait(list(running), num_returns=1, timeout=LOOK)
        for one in finished:
            _settle(ray, one, running.pop(one), ledger)


def _settle(ray: Any, one: Any, number: int, ledger: Ledger) -> None:
    """Note what came of a shard."""
    try:
        seconds, codes = ray.get(one)
    except ray.exceptions.WorkerCrashedError:
        ledger.again(number, "the worker was killed")
    except Exception as error:  # of the step, which Ray hands on, or of Ray
        cause = getattr(error, "cause", error)
        ledger.refuse(number, _first_line(cause), is_fatal=is_fatal(cause))
    else:
        ledger.note(codes)
        ledger.done(number, seconds)


@contextmanager
def _connected() -> Iterator[Any]:
    """Give Ray, connected to the cluster of ``RAY_ADDRESS``, or to one it starts here."""
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DependencyError("--executor ray needs Ray: pip install voiceglm[ray]") from None
    ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="warning")
    try:
        yield ray
    finally:
        ray.shutdown()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
