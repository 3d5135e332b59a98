"""Processes to share work out to, which end with this one."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

import torch


def new_pool(count: int) -> ProcessPoolExecutor:
    """Return a pool of ``count`` processes with one torch thread each."""
    # Not forked: a fork of a process that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=_begin)


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
