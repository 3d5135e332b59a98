"""The same plan on a Slurm cluster: datatrove's executor around the same step."""

from pathlib import Path
from typing import Any

from datatrove.executor import SlurmPipelineExecutor

from data_synth.ledger import opened
from data_synth.shards import finished
from data_synth.step import LOGS, SynthesisStep
from voiceglm.errors import ConfigError

_COMPLETIONS = "completions"


def submit_to_slurm(folder: Path, workers: int, options: dict[str, Any]) -> None:
    """Hand what is left of a plan to Slurm, which goes on by itself.

    Args:
        folder: Of the synthesis, where every node can reach it.
        workers: Shards at the same time.
        options: More arguments of datatrove's executor.

    Raises:
        ConfigError: If the executor refuses an argument; as ``data_synth.run.run`` for the rest.
    """
    with opened(folder, lambda _: None) as ledger:
        num_shards = ledger.progress.total
        _agree(folder, num_shards)
        try:
            executor = SlurmPipelineExecutor(
                pipeline=[SynthesisStep(str(folder.resolve()))],
                tasks=num_shards,
                workers=workers,
                logging_dir=str(folder.resolve() / LOGS),
                **options,
            )
        except TypeError as error:
            raise ConfigError(f"slurm: {error}; see --executor-set") from None
        executor.run()


def _agree(folder: Path, num_shards: int) -> None:
    """Have datatrove take for complete what is: its own marks may be older than ours."""
    done = set(finished(folder, num_shards))
    for mark in (folder / LOGS / _COMPLETIONS).glob("*"):
        if mark.name.isdigit() and int(mark.name) not in done:
            mark.unlink()
