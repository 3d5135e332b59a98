"""The same corpus from a Ray cluster, whichever of its processes are killed."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from data_synth.ledger import LOG, Progress
from data_synth.ray_run import run_on_ray
from data_synth.run import run
from tests.data_synth.tiny import corpus_of, documents, planned, tiny_config, tiny_model
from voiceglm.errors import ConfigError, DependencyError

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


def test_without_ray_it_is_said(
    tmp_path: Path, model: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    planned(tmp_path / "corpus", [texts], tiny_config(model))
    with pytest.raises(DependencyError, match=r"needs Ray: pip install voiceglm\[ray\]"):
        run_on_ray(tmp_path / "corpus", 2, {})
