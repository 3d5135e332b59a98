"""Nothing is lost and nothing is made twice, whoever is killed, however many work."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from data_synth.ledger import LOG, Progress
from data_synth.plan import read_plan
from data_synth.processes import children_of
from data_synth.run import run
from data_synth.shards import damaged, finished
from data_synth.statistics import status
from tests.data_synth.tiny import corpus_of, documents, planned, tiny_config, tiny_model
from voiceglm.errors import CheckpointError, ConfigError, SourceError, SynthesisError

ROOT = Path(__file__).parents[2]
SHARDS = 6
WORKER = "data_synth.worker"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return documents(tmp_path_factory.mktemp("texts") / "texts.jsonl", SHARDS * 20)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, model: Path, texts: Path
) -> dict[str, bytes]:
    """The corpus of one worker that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed") / "corpus"
    planned(folder, [texts], tiny_config(model))
    progress = run(folder, 1)
    assert progress.done == SHARDS
    assert progress.codes > 1_000
    found = corpus_of(folder)
    assert len(found) == SHARDS * 4
    return found


@pytest.fixture
def folder(tmp_path: Path, model: Path, texts: Path) -> Path:
    planned(tmp_path / "corpus", [texts], tiny_config(model))
    return tmp_path / "corpus"


@pytest.mark.parametrize("workers", [2, 5])
def test_any_number_of_workers(folder: Path, workers: int, undisturbed: dict[str, bytes]) -> None:
    assert run(folder, workers).done == SHARDS
    assert corpus_of(folder) == undisturbed
    again = run(folder, workers)
    assert (again.done, again.codes) == (SHARDS, 0), "nothing is left to do"


def test_a_worker_that_is_killed(folder: Path, undisturbed: dict[str, bytes]) -> None:
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        workers = children_of(os.getpid(), WORKER)
        if progress.codes and workers and len(killed) < 3:
            victim = workers[len(killed) % len(workers)]
            if victim not in killed:
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

    assert run(folder, 2, kill).done == SHARDS
    assert killed
    assert corpus_of(folder) == undisturbed
    events = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    assert any(event.get("reason") == "the worker was killed by signal 9" for event in events)


@pytest.mark.parametrize("whom", ["supervisor", "everybody"])
def test_kill_and_go_on(folder: Path, whom: str, undisturbed: dict[str, bytes]) -> None:
    chance = random.Random(whom)
    for _ in range(4):
        command = [sys.executable, "-m", "voiceglm.cli", "synth", "run", str(folder)]
        process = subprocess.Popen(
            command, cwd=ROOT, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until_at_work(process, folder)
        time.sleep(chance.uniform(0, 1.5))
        workers = children_of(process.pid, WORKER)
        if whom == "supervisor":
            process.kill()
        else:
            with suppress(ProcessLookupError):  # everything was finished already
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for number in finished(folder, SHARDS):
            assert not damaged(folder, number), "visible, so whole"
        wait_until_gone(workers)
    assert run(folder, 2).done == SHARDS
    assert corpus_of(folder) == undisturbed
    assert not list(folder.rglob("*.tmp")), "drafts of the dead are removed"


def test_a_shard_that_kills_its_worker_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, bytes]
) -> None:
    (folder / "sitecustomize.py").write_text(POISON)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
    progress = run(folder, 2)
    assert progress.done == SHARDS - 1
    assert progress.failed == {3: "the worker ended with status 7"}
    found = status(folder, read_plan(folder))
    assert found.failures == {3: "the worker ended with status 7"}
    assert found.shards == SHARDS - 1
    (folder / "sitecustomize.py").unlink()
    assert run(folder, 1).done == SHARDS
    assert corpus_of(folder) == undisturbed


POISON = """
import sys
import threading
import time

def lurk():
    while not hasattr(sys.modules.get("data_synth.step"), "OneRank"):
        time.sleep(0.001)
    import os
    step = sys.modules["data_synth.step"]
    make = step.OneRank.make
    step.OneRank.make = lambda self, rank: os._exit(7) if rank == 3 else make(self, rank)

if sys.argv[0] in ("-m", "-c") or "worker" in " ".join(sys.orig_argv):
    threading.Thread(target=lurk, daemon=True).start()
"""


def test_a_full_disk_stops_the_run_and_loses_nothing(
    folder: Path, undisturbed: dict[str, bytes]
) -> None:
    assert run_with_room(folder, 3_000) == 1
    assert not list(folder.rglob("done/*.json"))
    with pytest.raises(SynthesisError, match=r"cannot write .* run again to go on"):
        raise_of(folder, 3_000)
    assert run(folder, 2).done == SHARDS
    assert corpus_of(folder) == undisturbed


def run_with_room(folder: Path, num_bytes: int) -> int:
    """Run with no file larger than that."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({num_bytes}, {num_bytes}));"
        "from voiceglm.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "synth", "run", str(folder), "--workers", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert errno.errorcode[errno.EFBIG] or done.stderr
    return done.returncode


def raise_of(folder: Path, num_bytes: int) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        run(folder, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_source_that_changes_is_refused(tmp_path: Path, model: Path) -> None:
    texts = documents(tmp_path / "texts.jsonl", 30)
    planned(tmp_path / "corpus", [texts], tiny_config(model))
    content = texts.read_text()
    texts.write_text(content.replace("green", "brown"))
    with pytest.raises(SourceError, match=r"texts.jsonl has changed since the plan was made"):
        run(tmp_path / "corpus", 1)
    texts.unlink()
    with pytest.raises(SourceError, match="is gone"):
        run(tmp_path / "corpus", 1)
    texts.write_text(content)
    assert run(tmp_path / "corpus", 1).done == 2


def test_a_model_that_changes_is_refused(tmp_path: Path, texts: Path) -> None:
    model = tiny_model(tmp_path / "model")
    planned(tmp_path / "corpus", [texts], tiny_config(model))
    path = model / "text_to_token" / "config.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(CheckpointError, match=r"text_to_token of .* is not the one"):
        run(tmp_path / "corpus", 1)


def test_one_run_at_a_time(folder: Path) -> None:
    def second(progress: Progress) -> None:
        if not progress.codes:
            with pytest.raises(ConfigError, match="somebody is at work"):
                run(folder, 1)

    assert run(folder, 1, second).done == SHARDS


def wait_until_at_work(process: subprocess.Popen[bytes], folder: Path) -> None:
    already = len(finished(folder, SHARDS))
    for _ in range(6_000):
        if process.poll() is not None or len(finished(folder, SHARDS)) > min(already, SHARDS - 2):
            return
        time.sleep(0.05)
    raise AssertionError("nothing is being made")


def wait_until_gone(pids: list[int]) -> None:
    for _ in range(200):
        if not any(Path(f"/proc/{pid}/cmdline").exists() and cmdline(pid) for pid in pids):
            return
        time.sleep(0.05)
    raise AssertionError("a worker has outlived its supervisor")


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()  # empty of a process that has ended
    except OSError:
        return b""
