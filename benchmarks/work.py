"""Counts the floating-point work of speaking a reply at released sizes, without any weights.

    python benchmarks/work.py [-o work.json]

The flow is run on torch's meta device, which computes shapes and nothing else, under torch's own
counter: a multiplication and an addition are two operations. The vocoder is left out: it is linear
in the length of the reply, 60 GFLOP per 100 frames. Compared are one piece, the chunks of
``decoder.streaming``, and the chunks of the published demo, which speaks all frames so far again
with every chunk (docs/porting.md, streaming).
"""

import argparse
import json
import sys
from functools import cache
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from decoder.config import FlowConfig
from decoder.flow_model import FlowModel
from decoder.streaming import StreamConfig

CODE_RATE = 12.5
DEMO = StreamConfig(chunks=(25, 50, 100, 150, 200))  # the published demo's chunks
BLOCKS = StreamConfig(chunks=(10,))


@cache
def model() -> FlowModel:
    """Return the released flow, without memory."""
    with torch.device("meta"):
        return FlowModel(FlowConfig()).eval()


@cache
def tera_operations(num_codes: int) -> float:
    """Return the work of one call of the flow, in TFLOP."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        flow = model()
        frames = int(num_codes * flow.config.frames_per_code)
        mel = torch.zeros(1, flow.config.num_mels, frames)
        estimator, condition = flow.decoder.estimator, mel.repeat(1, 3, 1)
        estimator(mel.repeat(2, 1, 1), None, condition.repeat(2, 1, 1), torch.zeros(2))
    solver = counter.get_total_flops() * flow.config.num_steps
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        mask = torch.ones(1, num_codes, dtype=torch.bool)
        flow.encoder(torch.zeros(1, num_codes, flow.config.encoder.dim), mask)
    return (solver + counter.get_total_flops()) / 1e12


def chunks(total: int, config: StreamConfig) -> list[int]:
    """Cut a reply of ``total`` codes."""
    found: list[int] = []
    while (rest := total - sum(found)) > 0:
        found.append(min(rest, config.size(len(found))))
    return found


def streamed(total: int, config: StreamConfig) -> float:
    """Return the work of our stream: a bounded window of codes before each chunk."""
    work = 0.0
    spoken = 0
    for size in chunks(total, config):
        work += tera_operations(min(spoken, config.window) + size)
        spoken += size
    return work


def published(total: int, config: StreamConfig) -> float:
    """Return the work of the published loop: everything so far, again, with every chunk."""
    cut = chunks(total, config)
    return sum(tera_operations(sum(cut[: n + 1])) for n in range(len(cut)))


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path)
    output = parser.parse_args().output
    rows = []
    for seconds in (10, 20, 40, 80):
        total = round(seconds * CODE_RATE)
        whole = tera_operations(total)
        row = {
            "one piece": whole,
            "our stream": streamed(total, StreamConfig()),
            "published demo": published(total, DEMO),
            "published, blocks of 10": published(total, BLOCKS),
        }
        rows.append({"seconds": seconds, **{name: round(value, 2) for name, value in row.items()}})
        cells = "".join(
            f"{name} {value:8.1f} (x{value / whole:4.1f})  " for name, value in row.items()
        )
        sys.stdout.write(f"{seconds:3d} s  {cells}TFLOP\n")
    if output:
        output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
