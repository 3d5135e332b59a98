"""What a synthesis costs beside its language model, how it grows, and whether kills lose anything.

    python benchmarks/synthesis.py scale      -o benchmarks/synthesis_scale.json
    python benchmarks/synthesis.py throughput -o benchmarks/synthesis_throughput.json
    python benchmarks/synthesis.py kills      -o benchmarks/synthesis_kills.json

All use the nano model and documents of its world. ``scale`` runs 1,000, 10,000 and 100,000 short
documents; ``throughput`` compares a run with the bare engine given the same spans, in one go;
``kills`` makes 10,000 documents undisturbed, then again with twenty kills, and compares the bytes.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from data_synth.documents import document_lines
from data_synth.models import load_synthesis, model_digests, model_folders
from data_synth.plan import SynthesisConfig, make_plan, read_plan, write_plan
from data_synth.processes import children_of
from data_synth.run import run
from data_synth.shards import finished, read_mark
from voiceglm.report import commit

WORKERS = 2
WORKER = "data_synth.worker"
SHORT, LONG = (1, 1), (1, 6)  # paragraphs
PAUSES = (4.0, 14.0)  # seconds between two kills: models are loaded in about seven


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("scale", "throughput", "kills"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--documents", type=int, nargs="+")
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    measure = {"scale": scale, "throughput": throughput, "kills": kills}[args.what]
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), args)
    about = {
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "workers": WORKERS,
        "model": args.model,
    }
    text = json.dumps({**about, **found}, indent=1)
    args.output.write_text(f"{text}\n")
    sys.stdout.write(f"{text}\n")


def planned(folder: Path, model: str, count: int, paragraphs: tuple[int, int]) -> Path:
    """Write documents and freeze a plan for them."""
    folder.mkdir()
    texts = folder / "texts.jsonl"
    with texts.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in document_lines(count, 1, paragraphs))
    config = SynthesisConfig(model=model, documents_per_shard=250)
    plan = make_plan([texts], config, model_digests(model_folders(config)))
    write_plan(plan, folder / "corpus")
    return folder / "corpus"


def scale(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Run corpora of growing size."""
    rows = []
    for count in args.documents or (1_000, 10_000, 100_000):
        began = time.monotonic()
        corpus = planned(folder / str(count), args.model, count, SHORT)
        planning = time.monotonic() - began
        peaks = Peaks()
        began = time.monotonic()
        progress = run(corpus, WORKERS)
        seconds = time.monotonic() - began
        rows.append(
            {
                "documents": count,
                "plan_seconds": round(planning, 2),
                "run_seconds": round(seconds, 2),
                "codes": progress.codes,
                "codes_per_second": round(progress.codes / seconds),
                "ids": sum(read_mark(corpus, n)["counts"]["ids"] for n in range(progress.total)),
                "worker_peak_mb": peaks.stop(),
                "own_mb": own_mb(),
            }
        )
        sys.stderr.write(f"{rows[-1]}\n")
    return {"runs": rows}


class Peaks:
    """Looks at the memory of the worker processes once a second."""

    def __init__(self) -> None:
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Return the most that one of them held, in MB."""
        self._over.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            found = [resident_mb(pid) for pid in children_of(os.getpid(), WORKER)]
            self._most = max([self._most, *found])


def resident_mb(pid: int) -> int:
    """Return the memory a process holds."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def own_mb() -> int:
    """Return the memory this process holds, the supervisor's."""
    return resident_mb(os.getpid())


def throughput(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Compare a run with the engine alone, on the same spans, with as many processes."""
    (count,) = args.documents or (4_000,)
    corpus = planned(folder / "texts", args.model, count, LONG)
    rates: dict[str, list[float]] = {"bare engine": [], "run": [], "run, without its start": []}
    shards = len(read_plan(corpus).shards)
    for _ in range(3):
        rates["bare engine"].append(bare(corpus, shards))
        for path in (corpus / "done").glob("*"):
            path.unlink()
        first: list[tuple[float, int]] = []  # when all workers were at work, and what was done

        def note(progress: Any, first: list[tuple[float, int]] = first) -> None:
            if progress.codes and not first:
                first.append((time.monotonic(), progress.codes))

        began = time.monotonic()
        progress = run(corpus, WORKERS, note)
        ended = time.monotonic()
        rates["run"].append(progress.codes / (ended - began))
        when, before = first[0]
        rates["run, without its start"].append((progress.codes - before) / (ended - when))
    medians = {name: round(sorted(values)[1]) for name, values in rates.items()}
    medians_raw = {name: [round(value) for value in values] for name, values in rates.items()}
    steady = medians["run, without its start"] / medians["bare engine"]
    return {
        "documents": count,
        "codes_per_second": medians,
        "run_to_bare": round(medians["run"] / medians["bare engine"], 3),
        "steady_run_to_bare": round(steady, 3),
        "raw": medians_raw,
    }


def bare(corpus: Path, shards: int) -> float:
    """Return the codes a second of the engine alone in two processes, once both are ready."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(WORKERS), context.Queue()
    processes = [
        context.Process(target=_bare, args=(corpus, range(n, shards, WORKERS), ready, results))
        for n in range(WORKERS)
    ]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    seconds = max(end for _, _, end in found) - min(start for _, start, _ in found)
    return sum(codes for codes, _, _ in found) / seconds


def _bare(corpus: Path, shards: range, ready: Any, results: Any) -> None:
    torch.set_num_threads(1)
    plan = read_plan(corpus)
    synthesis = load_synthesis(plan, corpus)
    calls = [synthesis.prompts(number) for number in shards]
    ready.wait()
    began, codes = time.monotonic(), 0
    for prompts, rooms in calls:
        codes += sum(map(len, synthesis.engine.generate(prompts, rooms, 0)))
    results.put((codes, began, time.monotonic()))


def kills(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Kill workers, the supervisor and everything, at random moments, and compare the corpus."""
    (count,) = args.documents or (10_000,)
    undisturbed = planned(folder / "undisturbed", args.model, count, SHORT)
    began = time.monotonic()
    run(undisturbed, WORKERS)
    seconds = time.monotonic() - began
    expected = digests(undisturbed)
    texts = folder / "undisturbed" / "texts.jsonl"
    disturbed = folder / "disturbed"
    config = read_plan(undisturbed).config
    write_plan(make_plan([texts], config, read_plan(undisturbed).models), disturbed)
    chance, log = random.Random(4), []
    began = time.monotonic()
    process = start(disturbed)
    for number in range(args.kills):
        pause = chance.uniform(*PAUSES)
        time.sleep(pause)
        whom = ("worker", "supervisor", "group")[number % 3]
        done = len(finished(disturbed, len(read_plan(disturbed).shards)))
        if process.poll() is not None:
            log.append({"whom": "nobody: it was finished", "done": done})
            break
        kill(process, whom, chance)
        log.append({"whom": whom, "after": round(pause, 2), "shards_done": done})
        if whom != "worker":
            process.wait()
            process = start(disturbed)
    code = process.wait()
    return {
        "documents": count,
        "seconds_undisturbed": round(seconds, 1),
        "seconds_disturbed": round(time.monotonic() - began, 1),
        "kills": log,
        "exit_status": code,
        "files": len(expected),
        "identical": digests(disturbed) == expected,
        "drafts_left": len(list(disturbed.rglob("*.tmp"))),
    }


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """Begin a run in a process group of its own."""
    command = [sys.executable, "-m", "voiceglm.cli", "synth", "run", str(folder)]
    return subprocess.Popen(
        [*command, "--workers", str(WORKERS)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill(process: "subprocess.Popen[bytes]", whom: str, chance: random.Random) -> None:
    """Kill with signal 9."""
    if whom == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif whom == "supervisor":
        process.kill()
    elif workers := children_of(process.pid, WORKER):
        os.kill(chance.choice(workers), signal.SIGKILL)


def digests(folder: Path) -> dict[str, str]:
    """Return a hash of every file that a reader of the corpus sees."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("corpus", "training", "done")
        for path in sorted((folder / part).iterdir())
    }


if __name__ == "__main__":
    main()
