"""Working a plan off: worker processes that are supervised, so that a kill loses nothing.

datatrove's own pools hang for ever when one of their processes is killed, so workers are processes
of ours, each given one shard at a time. Whatever is killed, and whenever, the next run finishes the
same corpus: a shard is either marked as finished or made again.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from data_synth.ledger import Ledger, Progress, opened

STALL = 1_800.0  # seconds without a word, after which a worker is given up
LINE_LIMIT = 1 << 20


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
    with opened(folder, watch) as ledger:
        asyncio.run(Supervisor(folder, ledger).run(workers))
    return ledger.progress


class Supervisor:
    """Gives shards to workers and starts those again that die.

    Args:
        folder: Of the synthesis.
        ledger: Of its shards.
    """

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger

    async def run(self, workers: int) -> None:
        """Work until nothing waits.

        Raises:
            SynthesisError: If no work is possible.
        """
        workers = min(workers, self._ledger.waiting)
        self._ledger.begin(workers)
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())
        self._ledger.check()

    async def _work(self) -> None:
        """Be one worker, in as many lives as it takes."""
        process: asyncio.subprocess.Process | None = None
        try:
            while (number := self._ledger.next()) is not None:
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
                self._ledger.again(number, f"the worker said nothing for {STALL / 60:.0f} minutes")
                return False
            if not line:
                code = await process.wait()
                how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
                self._ledger.again(number, f"the worker {how}")
                return False
            message = json.loads(line)
            if "codes" in message:
                self._ledger.note(message["codes"])
                continue
            if "error" in message:
                self._ledger.refuse(number, message["error"], is_fatal=message["fatal"])
            else:
                self._ledger.done(number, message["seconds"])
            return True


async def _end(process: asyncio.subprocess.Process) -> None:
    """Have a worker end: it does when its stdin does."""
    if process.stdin:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 5)
    except TimeoutError:
        process.kill()
        await process.wait()
