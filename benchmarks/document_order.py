"""What it takes to go on anywhere in a corpus of 50 million documents.

    python benchmarks/document_order.py [-o JSON]

Only the index of such a corpus is made up: the length of every document. Timed are the cutting of
the documents into rows, as every start of a run does it, and the order of a batch at three places
of a run of many epochs; then, for comparison, how far buckets of a million documents are gone
through before a batch in the middle of the fifth epoch. Ids are not read.
"""

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from voiceglm.documents import Lengths
from voiceglm.packing import BatchPlan, DocumentBatches
from voiceglm.prompt import Example

PACKED = BatchPlan(ids_per_batch=1 << 20, row_length=8_192, batching="packed")
BUCKETED = BatchPlan(ids_per_batch=1 << 14, row_length=2_048)


class Index:
    """Documents of which only the lengths exist."""

    def __init__(self, name: str, count: int, mean: float):
        self.name = name
        drawn = np.random.default_rng(0).gamma(2.0, mean / 2, count)
        self.lengths: Lengths = np.clip(drawn, 4, 2_000).astype(np.int32)

    def __getitem__(self, number: int) -> Example:
        """Refuse: there is nothing to read."""
        raise LookupError(f"document {number} has a length and nothing else")


def timed(work: Callable[[], object]) -> tuple[object, float]:
    """Return what some work gives, and the seconds of a core it took."""
    start = time.process_time()
    found = work()
    return found, round(time.process_time() - start, 4)


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    sources = [Index("spoken", 40_000_000, 360), Index("text", 10_000_000, 600)]
    batches, start = timed(lambda: DocumentBatches(sources, [0.7, 0.3], PACKED))
    assert isinstance(batches, DocumentBatches)
    places = {n: timed(lambda n=n: batches.rows(n))[1] for n in (0, 20_000, 2_000_000)}
    rows = [batches.rows(number) for number in range(50)]
    lengths = [source.lengths for source in sources]
    filled = sum(int(lengths[s][d.start : d.stop].sum()) for part in rows for s, d in part)
    small = DocumentBatches([Index("some", 1_000_000, 360)], [1.0], BUCKETED)
    middle = round(4.5 * 1_000_000 * 360 / BUCKETED.ids_per_batch)
    result = {
        "machine": platform.processor() or platform.machine(),
        "documents": sum(map(len, lengths)),
        "ids": int(sum(each.sum(dtype=np.int64) for each in lengths)),
        "packed: CPU seconds to start": start,
        "packed: CPU seconds to find batch n": places,
        "packed: share of ids that are no padding": round(filled / (50 * (1 << 20)), 4),
        "bucketed, a million documents: CPU seconds to batch n": {
            middle: timed(lambda: small.rows(middle))[1]
        },
        "peak memory, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    text = json.dumps(result, indent=1)
    if args.output:
        args.output.write_text(f"{text}\n")
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
