"""Processes to share work out to, which end with this one."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch


def new_pool(count: int) -> ProcessPoolExecutor:
    """Return a pool of ``count`` processes with one torch thread each."""
    # Not forked: a fork of a process that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=_begin)


def children_of(pid: int, running: str = "") -> list[int]:
    """Return the processes that a process has begun, as Linux tells.

    Args:
        pid: Its number.
        running: Only those whose command line holds this.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and running.encode() in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except (OSError, IndexError):  # it has just ended
            continue
    return found


@contextmanager
def processes(count: int) -> Iterator[Executor]:
    """Open a pool; what waits when the block ends is given up."""
    pool = new_pool(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Prepare a process: leave Ctrl-C to its parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent, "this runs in a child process"
    parent.join()
    os._exit(1)
