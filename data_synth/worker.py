"""A process that makes shards for the supervisor: numbers come in, JSON lines go out.

    stdin   3
    stdout  {"shard": 3, "codes": 10240}         so many more are written
            {"shard": 3, "seconds": 41.2}        it is finished
            {"shard": 3, "error": "...", "fatal": true}

It ends when stdin does, so it never outlives a supervisor that was killed.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

import torch

from data_synth.plan import read_plan
from data_synth.step import OneRank, SynthesisStep, is_fatal


def main(folder: Path) -> None:
    """Work until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides
    torch.set_num_threads(1)  # the workers share the machine
    wanted: SimpleQueue[int] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, wanted), daemon=True).start()
    out, sys.stdout = sys.stdout, sys.stderr  # whatever libraries print is no message
    number = wanted.get()
    step = SynthesisStep(str(folder), lambda codes: _say(out, shard=number, codes=codes))
    executor = OneRank(folder, step, len(read_plan(folder).shards))
    while True:
        began = time.monotonic()
        try:
            executor.make(number)
        except Exception as error:
            text = str(error) or type(error).__name__
            _say(out, shard=number, error=text, fatal=is_fatal(error))
        else:
            _say(out, shard=number, seconds=round(time.monotonic() - began, 3))
        number = wanted.get()


def _listen(lines: TextIO, wanted: "SimpleQueue[int]") -> None:
    for line in lines:
        wanted.put(int(line))
    os._exit(0)  # nobody waits for the shard in work; it is made again from its beginning


def _say(out: TextIO, **message: object) -> None:
    out.write(f"{json.dumps(message)}\n")
    out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
