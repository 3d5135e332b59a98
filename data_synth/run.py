"""Working a plan off: worker processes that are supervised, so that a kill loses nothing.

datatrove's own pools hang for ever when one of their processes is killed, so workers are processes
of ours, each given one shard at a time. Whatever is killed, and whenever, the next run finishes the
same corpus: a shard is either marked as finished or made again.
"""

import asyncio
import fcntl
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_synth.models import check_models
from data_synth.plan import check_source, read_plan
from data_synth.shards import finished, remove_drafts
from voiceglm.errors import ConfigError, SynthesisError

LOG = "log.jsonl"
ATTEMPTS = 3  # of one shard, in one run
STALL = 1_800.0  # seconds without a word, after which a worker is given up
LINE_LIMIT = 1 << 20


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        done: Shards, those of earlier runs included.
        total: Shards.
        codes: Written in this run.
        failed: Why, by shard.
    """

    done: int
    total: int
    codes: int = 0
    failed: dict[int, str] = field(default_factory=dict)


def run(folder: Path, workers: int, watch: Callable[[Progress], None] = lambda _: None) -> Progress:
    """Work a plan off on this machine.

    Args:
        folder: Of the synthesis.
        workers: Processes.
        watch: Told of progress.

    Returns:
        How far it came: everything is done, or some shards have failed.

    Raises:
        ConfigError: If there is no plan, or somebody else is at work in the folder.
        SourceError: If a source is not what it was.
        CheckpointError: If a model is not.
        SynthesisError: If no work is possible, such as on a full disk; what is finished stays.
    """
    plan = read_plan(folder)
    with _lock(folder):
        for source in plan.sources:
            check_source(source)
        check_models(plan)
        remove_drafts(folder)
        done = set(finished(folder, len(plan.shards)))
        waiting = [number for number in range(len(plan.shards)) if number not in done]
        supervisor = Supervisor(folder, waiting, Progress(len(done), len(plan.shards)), watch)
        watch(supervisor.progress)
        asyncio.run(supervisor.run(min(workers, len(waiting))))
    return supervisor.progress


class Supervisor:
    """Gives shards to workers and starts those again that die.

    Args:
        folder: Of the synthesis.
        waiting: Shards to be made.
        progress: Kept up to date.
        watch: Told of it.
    """

    def __init__(
        self,
        folder: Path,
        waiting: list[int],
        progress: Progress,
        watch: Callable[[Progress], None],
    ) -> None:
        self.progress = progress
        self._folder = folder
        self._waiting = deque(waiting)
        self._attempts: dict[int, int] = {}
        self._watch = watch
        self._fatal: str | None = None

    async def run(self, workers: int) -> None:
        """Work until nothing waits.

        Raises:
            SynthesisError: If no work is possible.
        """
        self._log(event="run", workers=workers, shards=len(self._waiting))
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())
        if self._fatal:
            raise SynthesisError(
                f"{self._fatal} ({self.progress.done} of {self.progress.total} shards are "
                "finished and stay; run again to go on)"
            )

    async def _work(self) -> None:
        """Be one worker, in as many lives as it takes."""
        process: asyncio.subprocess.Process | None = None
        try:
            while self._waiting and not self._fatal:
                number = self._waiting.popleft()
                process = process or await self._start()
                if not await self._make(process, number):
                    await _end(process)
                    process = None
        finally:
            if process:
                await _end(process)

    async def _start(self) -> asyncio.subprocess.Process:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "data_synth.worker", str(self._folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **threads, "TOKENIZERS_PARALLELISM": "false"},
            limit=LINE_LIMIT,
        )

    async def _make(self, process: asyncio.subprocess.Process, number: int) -> bool:
        """Have one shard made; say whether the worker can go on."""
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        with suppress(ConnectionError):  # it has died: there will be nothing to read
            process.stdin.write(f"{number}\n".encode())
            await process.stdin.drain()
        while True:
            try:
                line = await asyncio.wait_for(process.stdout.readline(), STALL)
            except TimeoutError:
                self._again(number, f"the worker said nothing for {STALL / 60:.0f} minutes")
                return False
            if not line:
                code = await process.wait()
                how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
                self._again(number, f"the worker {how}")
                return False
            message = json.loads(line)
            if "codes" in message:
                self.progress.codes += message["codes"]
                self._watch(self.progress)
                continue
            if "error" in message:
                self._refuse(number, message)
            else:
                self.progress.done += 1
                self._log(event="done", shard=number, seconds=message["seconds"])
                self._watch(self.progress)
            return True

    def _refuse(self, number: int, message: dict[str, Any]) -> None:
        if message["fatal"]:
            self._fatal = self._fatal or message["error"]
            self._log(event="stopped", shard=number, reason=message["error"])
        else:
            self._again(number, message["error"])

    def _again(self, number: int, reason: str) -> None:
        """Have a shard made once more, or give it up."""
        self._attempts[number] = self._attempts.get(number, 0) + 1
        gives_up = self._attempts[number] >= ATTEMPTS
        self._log(event="failed" if gives_up else "again", shard=number, reason=reason)
        if gives_up:
            self.progress.failed[number] = reason
            self._watch(self.progress)
        else:
            self._waiting.append(number)

    def _log(self, **event: object) -> None:
        line = json.dumps({"time": round(time.time(), 3), **event}, ensure_ascii=False)
        path = self._folder / LOG
        # A full disk is noticed where it matters.
        with suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Have a worker end: it does when its stdin does."""
    if process.stdin:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 5)
    except TimeoutError:
        process.kill()
        await process.wait()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep others out of the folder; a kill lets go of it."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"somebody is at work in {folder} already") from None
        yield
