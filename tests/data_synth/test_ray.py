"""The same corpus from a Ray cluster, whichever of its processes are killed."""

import json
import os
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_synth.ledger import LOG, Progress
from data_synth.ray_run import run_on_ray
from data_synth.run import run
from tests.data_synth.tiny import corpus_of, documents, make, planned, tiny_config, tiny_model
from voiceglm.errors import (
    ConfigError,
    DependencyError,
    EngineError,
    OutputError,
    SynthesisError,
)

SHARDS = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return documents(tmp_path_factory.mktemp("texts") / "texts.jsonl", SHARDS * 20)


def needs_ray() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: make ray")


@pytest.mark.timeout(600)
def test_ray_gives_the_same_bytes_and_survives_kills(
    tmp_path: Path, model: Path, texts: Path
) -> None:
    needs_ray()
    planned(tmp_path / "alone", [texts], tiny_config(model))
    run(tmp_path / "alone", 1)
    folder = tmp_path / "corpus"
    planned(folder, [texts], tiny_config(model))
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        victims = making() if progress.codes and not killed else []
        for victim in victims[:1]:
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

    assert run_on_ray(folder, 2, {}, kill).done == SHARDS
    assert killed
    assert corpus_of(folder) == corpus_of(tmp_path / "alone")
    events = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    assert [e["reason"] for e in events if e["event"] == "again"] == ["the worker was killed"]
    assert run_on_ray(folder, 2, {}).codes == 0, "nothing is left to do"
    (folder / "done" / "00000.json").unlink()
    with pytest.raises(ConfigError, match=r"ray: .*nonsense"):
        run_on_ray(folder, 2, {"nonsense": 1})


def making() -> list[int]:
    """Return the processes of Ray that make shards now."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::make_shard" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


class CrashedError(Exception):
    """What Ray raises when a process of its own was killed."""


class TaskError(Exception):
    """What Ray raises when a task raised."""

    def __init__(self, cause: Exception):
        super().__init__(f"a traceback\n{cause}")
        self.cause = cause


class FakeRay(types.ModuleType):
    """What of Ray is used, in this process; shards fail as they are told to."""

    def __init__(self, failures: dict[int, list[Exception]]):
        super().__init__("ray")
        self.exceptions = types.SimpleNamespace(WorkerCrashedError=CrashedError)
        self.failures = failures
        self.most_at_once = 0
        self.is_over = False

    def init(self, **options: object) -> None:
        assert options["ignore_reinit_error"]

    def remote(self, **options: object) -> Callable[[Any], Any]:
        assert options["max_retries"] == 0, "the ledger decides"
        return lambda function: types.SimpleNamespace(remote=lambda *given: (function, *given))

    def wait(self, refs: list[Any], **options: object) -> tuple[list[Any], list[Any]]:
        self.most_at_once = max(self.most_at_once, len(refs))
        return refs[:1], refs[1:]

    def get(self, ref: Any) -> tuple[float, int]:
        function, folder, number = ref
        if failures := self.failures.get(number):
            raise failures.pop(0)
        return function(folder, number)

    def shutdown(self) -> None:
        self.is_over = True


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay({})
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


def test_shards_that_fail_are_made_again_or_given_up(
    tmp_path: Path, model: Path, texts: Path, ray: FakeRay
) -> None:
    folder = tmp_path / "corpus"
    planned(folder, [texts], tiny_config(model))
    ray.failures |= {1: [CrashedError()], 4: [TaskError(EngineError("lost"))] * 3}
    progress = run_on_ray(folder, 2, {})
    assert (progress.done, progress.failed) == (SHARDS - 1, {4: "lost"})
    assert ray.most_at_once == 2
    assert ray.is_over
    assert run_on_ray(folder, 2, {}).done == SHARDS
    planned(tmp_path / "alone", [texts], tiny_config(model))
    make(tmp_path / "alone", backwards=True)
    assert corpus_of(folder) == corpus_of(tmp_path / "alone")


def test_what_would_stop_every_shard_ends_the_run(
    tmp_path: Path, model: Path, texts: Path, ray: FakeRay
) -> None:
    folder = tmp_path / "corpus"
    planned(folder, [texts], tiny_config(model))
    ray.failures |= {1: [TaskError(OutputError("cannot write x: no space left"))]}
    with pytest.raises(SynthesisError, match=r"no space left .*run again to go on"):
        run_on_ray(folder, 1, {})
    assert ray.is_over
    assert run_on_ray(folder, 1, {}).done == SHARDS


def test_without_ray_it_is_said(
    tmp_path: Path, model: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    planned(tmp_path / "corpus", [texts], tiny_config(model))
    with pytest.raises(DependencyError, match=r"needs Ray: pip install voiceglm\[ray\]"):
        run_on_ray(tmp_path / "corpus", 2, {})
