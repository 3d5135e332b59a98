"""``voiceglm loadtest``: how a server holds up when many talk to it at once."""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voiceglm.commands.options import add_model_arguments, positive
from voiceglm.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("--url", help="ws://.../v1/realtime; by default a server is started")
    parser.add_argument("--callers", type=positive, default=1, help="at the same time")
    parser.add_argument("--turns", type=positive, default=5, help="questions of each caller")
    parser.add_argument(
        "--interrupt-every",
        type=int,
        default=0,
        metavar="N",
        help="of N questions, all but the first interrupt the reply before; 0 for none",
    )
    parser.add_argument("--questions", type=Path, nargs="*", default=[], help="recordings to ask")
    parser.add_argument("--api-key", help="if the server wants one")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="also write the figures")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="also draw the waiting times")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Call, then print a table."""
    import asyncio
    import json

    from voiceglm.audio import load_speech
    from voiceglm.commands.chat import QUESTION
    from voiceglm.files import write_file
    from voiceglm.report import commit
    from web.caller import Question
    from web.codec import PCM
    from web.loadtest import load_test

    paths = args.questions or [QUESTION]
    questions = [Question.of(load_speech(path, PCM.rate).numpy()) for path in paths]
    with _server(args) as url:
        found = asyncio.run(
            load_test(
                url,
                questions,
                callers=args.callers,
                turns=args.turns,
                interrupt_every=args.interrupt_every,
                key=args.api_key,
            )
        )
    figures = found.to_json()
    sys.stdout.write(describe(figures))
    if args.output:
        about = {"commit": commit(), "model": str(args.model), "url": args.url or "started here"}
        text = json.dumps({**about, **figures}, indent=1)
        write_file(args.output, f"{text}\n".encode())
    if args.plot:
        _plot(args.plot, figures)
    return 0 if figures["ok_percent"] == 100 else 1


def describe(figures: dict[str, Any]) -> str:
    """Return the figures as lines for a person."""
    lines = [
        f"{figures['callers']} callers, {figures['turns']} turns, {figures['ok_percent']} % ok"
    ]
    for name, times in figures["milliseconds"].items():
        if times:
            tails = "  ".join(f"{key} {times[key]:6.0f}" for key in ("p50", "p95", "p99"))
            lines.append(f"{name:<34} {tails} ms")
    stream = figures["stream_real_time_factor"]
    if stream:
        lines.append(f"{'stream, of real time':<34} p50 {stream['p50']:6.2f}")
    lines.append(f"{'gaps a listener heard':<34} {figures['underruns']}, {figures['gap_ms']} ms")
    lines.append(f"{'event loop late, p99':<34} {figures['loop_lag_p99_ms']} ms")
    lines.append(f"{'memory of the server':<34} {figures['memory_mb_per_minute']} MB a minute")
    lines += [f"trouble: {each}" for each in figures["trouble"]]
    return "\n".join(lines) + "\n"


@contextmanager
def _server(args: argparse.Namespace) -> Iterator[str]:
    """Give the server's address, after starting one if there is none."""
    if args.url:
        yield args.url
        return
    command = [sys.executable, "-m", "voiceglm.cli", "serve", "--port", "0"]
    command += ["--model", str(args.model), "--threads", str(args.threads)]
    command += ["--max-sessions", str(args.callers)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if match := re.match(r"listening on (\S+)", line):
                break
        else:
            raise ConfigError(f"the server did not start: {''.join(said[-1:]).strip()}")
        try:
            yield match[1]
        finally:
            process.terminate()
            process.stderr.read()


def _plot(path: Path, figures: dict[str, Any]) -> None:
    """Draw how many turns had waited for how long."""
    try:
        from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise ConfigError("--plot needs matplotlib: pip install matplotlib") from None

    from web.loadtest import TIMES

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, key in TIMES.items():
        values = sorted(turn[key] for turn in figures["raw"]["turns"] if turn[key] is not None)
        if values:
            shares = [100 * (n + 1) / len(values) for n in range(len(values))]
            axes.step([1_000 * value for value in values], shares, where="post", label=name)
    axes.set(xlabel="milliseconds", ylabel="% of turns", ylim=(0, 100))
    axes.set_title(f"{figures['callers']} callers, {figures['turns']} turns")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
