"""The same plan on a cluster: datatrove's executors around the same step."""

from pathlib import Path
from typing import Any

from datatrove.executor import RayPipelineExecutor, SlurmPipelineExecutor

from data_synth.models import check_models
from data_synth.plan import check_source, read_plan
from data_synth.shards import finished, remove_drafts
from data_synth.step import LOGS, SynthesisStep
from voiceglm.errors import ConfigError

_COMPLETIONS = "completions"


def run_elsewhere(folder: Path, kind: str, workers: int, options: dict[str, Any]) -> None:
    """Hand a plan to Ray, and wait, or to Slurm, which goes on by itself.

    Args:
        folder: Of the synthesis, where every node can reach it.
        kind: ``ray`` or ``slurm``.
        workers: Shards at the same time.
        options: More arguments of datatrove's executor.

    Raises:
        ConfigError: If the executor refuses an argument.
    """
    plan = read_plan(folder)
    for source in plan.sources:
        check_source(source)
    check_models(plan)
    remove_drafts(folder)
    _agree(folder, len(plan.shards))
    steps = [SynthesisStep(str(folder.resolve()))]
    executors = {"ray": RayPipelineExecutor, "slurm": SlurmPipelineExecutor}
    try:
        executor = executors[kind](
            pipeline=steps,
            tasks=len(plan.shards),
            workers=workers,
            logging_dir=str(folder.resolve() / LOGS),
            **options,
        )
    except TypeError as error:
        raise ConfigError(f"{kind}: {error}; see --executor-set") from None
    executor.run()


def _agree(folder: Path, num_shards: int) -> None:
    """Have datatrove take for complete what is: its own marks may be older than ours."""
    done = set(finished(folder, num_shards))
    for mark in (folder / LOGS / _COMPLETIONS).glob("*"):
        if mark.name.isdigit() and int(mark.name) not in done:
            mark.unlink()
