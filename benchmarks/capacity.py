"""How many callers one machine carries: a table and a plot of load tests that were written down.

    voiceglm loadtest --callers N --turns 10 --interrupt-every 2 -o benchmarks/loadtest_N.json
    python benchmarks/capacity.py benchmarks/loadtest_*.json -o docs/capacity.png

Needs matplotlib.
"""

import argparse
import json
import sys
from pathlib import Path

from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

FIRST = "end of speech to first audio"
BARGE = "barge-in to speech_started"


def main() -> None:
    """Print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", type=Path, nargs="+", metavar="JSON")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PNG")
    args = parser.parse_args()
    found = sorted((json.loads(path.read_text()) for path in args.tests), key=_callers)
    sys.stdout.write("| callers | first audio p50, p95 | barge-in noticed p95 | gaps | lag p99 |\n")
    sys.stdout.write("|---|---|---|---|---|\n")
    for each in found:
        first, barge = each["milliseconds"][FIRST], each["milliseconds"][BARGE]
        gaps = f"{each['underruns']} ({each['gap_ms'] / 1000:.1f} s) of {each['turns']} replies"
        times = f"{first['p50']:.0f}, {first['p95']:.0f} ms | {barge['p95']:.0f} ms"
        lag = f"{each['loop_lag_p99_ms']:.0f} ms"
        sys.stdout.write(f"| {each['callers']} | {times} | {gaps} | {lag} |\n")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    callers = [_callers(each) for each in found]
    for name, style in (("p50", "o-"), ("p95", "s--")):
        axes.plot(callers, [each["milliseconds"][FIRST][name] for each in found], style, label=name)
    axes.axhline(900, color="gray", linewidth=1, linestyle=":")
    axes.set(xscale="log", yscale="log", xticks=callers, xlabel="callers at the same time")
    axes.set(ylabel="ms from the end of speech to the first audio", title="nano on two cores")
    axes.set_xticks(callers, [str(count) for count in callers])
    axes.minorticks_off()
    axes.set_yticks([500, 1_000, 2_000, 4_000], ["500", "1000", "2000", "4000"])
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(args.output, dpi=110)


def _callers(found: dict[str, int]) -> int:
    return found["callers"]


if __name__ == "__main__":
    main()
