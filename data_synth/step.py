"""The synthesis as a step of datatrove: one rank, one shard.

The same step runs under this project's supervisor (``data_synth.run``), on Slurm and on Ray. What a
rank does follows from the plan alone, so ranks may be repeated, by anybody, in any order.
"""

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol

from datatrove.data import Document
from datatrove.executor.base import DistributedEnvVars, PipelineExecutor
from datatrove.pipeline.base import PipelineStep

from data_synth.models import check_models, load_maker
from data_synth.plan import Plan, check_source, read_plan
from data_synth.shards import CorpusRow, is_finished, write_shard
from voiceglm.errors import ConfigError, EngineError, SynthesisError, VoiceGLMError

LOGS = "logs"


class Maker(Protocol):
    """Makes shards of one kind."""

    def shard(
        self, number: int, progress: Callable[[int], None]
    ) -> tuple[list[CorpusRow], dict[str, Any]]:
        """Return the rows of a shard, and what was counted."""
        ...

    def metadata(self) -> dict[str, str]:
        """Return where rows come from."""
        ...


class SynthesisStep(PipelineStep):
    """Makes the shard whose number is the rank.

    Args:
        folder: Of the synthesis.
        progress: Told of codes as they are written, in this process only.
    """

    name = "speech-text synthesis"
    type = "voiceglm"

    def __init__(self, folder: str, progress: Callable[[int], None] | None = None):
        super().__init__()
        self.folder = folder
        self._progress = progress
        self._plan: Plan | None = None
        self._maker: Maker | None = None
        self._checked: set[int] = set()  # sources

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is loaded behind; another process loads its own."""
        left = {"_plan": None, "_maker": None, "_progress": None, "_checked": set()}
        return {**self.__dict__, **left}

    def run(
        self, data: object = None, rank: int = 0, world_size: int = 1
    ) -> Generator[Document, None, None]:
        """Make one shard, unless it is finished.

        Raises:
            ConfigError: If there are not as many ranks as shards.
        """
        del data
        folder = Path(self.folder)
        plan = self._plan = self._plan or read_plan(folder)  # frozen, and large for a large corpus
        if world_size != len(plan.shards):
            raise ConfigError(
                f"the plan has {len(plan.shards)} shards, there are {world_size} ranks"
            )
        if is_finished(folder, rank):
            return
        source = plan.shards[rank].source
        if source not in self._checked:  # of thousands of files a worker meets a few
            check_source(plan.sources[source])
            self._checked.add(source)
        if self._maker is None:
            check_models(plan)
            self._maker = load_maker(plan, folder)
        began = time.monotonic()
        rows, counts = self._maker.shard(rank, self._progress or (lambda _: None))
        write_shard(
            folder,
            rank,
            rows,
            counts,
            self._maker.metadata(),
            training_view=plan.config.training_view,
        )
        for name, value in counts["counts"].items():
            self.stat_update(name, value=value)
        self.stat_update("seconds", value=round(time.monotonic() - began))
        yield from ()


class OneRank(PipelineExecutor):
    """Runs ranks in this process, one when it is asked to.

    datatrove's local executor starts a manager process for every call, which outlives a kill.
    """

    def __init__(self, folder: Path, step: SynthesisStep, num_shards: int):
        super().__init__([step], str(folder / LOGS), skip_completed=False)
        self._num_shards = num_shards

    @property
    def world_size(self) -> int:
        """The number of shards."""
        return self._num_shards

    def get_distributed_env(self, node_rank: int = -1) -> DistributedEnvVars:
        """Return what datatrove tells its steps of the machine: one node."""
        del node_rank
        return DistributedEnvVars(
            datatrove_node_ips="localhost",
            datatrove_cpus_per_task="1",
            datatrove_mem_per_cpu="-1",
            datatrove_gpus_on_node="0",
            datatrove_executor="local",
        )

    def run(self) -> None:
        """Make every shard, one after the other."""
        for rank in range(self._num_shards):
            self.make(rank)

    def make(self, rank: int) -> None:
        """Make one shard."""
        self._run_for_rank(rank, local_rank=1)  # others than 0 log to their file only


def is_fatal(error: Exception) -> bool:
    """Say whether what stopped a shard would be the same with every other one."""
    if isinstance(error, EngineError | SynthesisError):
        return False
    return isinstance(error, VoiceGLMError)
