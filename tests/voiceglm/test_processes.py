"""Several processes make the run of one, and whatever is killed goes on as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from voiceglm.audio import load_audio

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "stages.py"
NAMES = ("tokenizer", "flow", "language_model", "vocoder", "speaker")


def load_stages() -> ModuleType:
    spec = spec_from_file_location("stages", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(command: list[str]) -> "subprocess.Popen[str]":
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every stage, run by one process in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    load_stages().main(folder, list(NAMES))
    return folder


def weights(folder: Path, name: str) -> dict[str, Tensor]:
    return load_file(folder / name / "weights.safetensors")


def rows(folder: Path, name: str) -> list[dict[str, float]]:
    lines = (folder / name / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "loss" in row]


def test_two_processes_make_the_run_of_one(undisturbed: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    process = start([*launch, "--nproc_per_node", "2", str(SCRIPT), str(tmp_path), *NAMES])
    said, _ = process.communicate()
    assert process.returncode == 0, said[-3000:]
    for name in NAMES:
        alone, together = rows(undisturbed, name), rows(tmp_path, name)
        assert [row["step"] for row in together] == [row["step"] for row in alone], name
        for one, two in zip(alone, together, strict=True):
            assert two["loss"] == pytest.approx(one["loss"], rel=1e-5), name
        expected = weights(undisturbed, name)
        for key, value in weights(tmp_path, name).items():
            difference = float((value.double() - expected[key].double()).abs().max())
            assert difference <= 1e-5 * (1 + float(expected[key].double().abs().max())), (name, key)


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_ends_with_the_same_weights(
    undisturbed: Path, tmp_path: Path, name: str
) -> None:
    process = start([sys.executable, str(SCRIPT), str(tmp_path), name])
    last = tmp_path / name / ("checkpoint-00000004.pt" if name == "vocoder" else "checkpoint-4")
    try:
        while process.poll() is None and not last.exists():  # then it is being written
            time.sleep(0.001)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert last.exists()
    load_stages().main(tmp_path, [name])
    expected = weights(undisturbed, name)
    for key, value in weights(tmp_path, name).items():
        assert torch.equal(value, expected[key]), key
    assert [row["step"] for row in rows(tmp_path, name)] == [1, 2, 3, 4, 5, 6]


def test_the_decoder_lets_hear_what_it_does(undisturbed: Path) -> None:
    folder = undisturbed / "vocoder" / "samples"
    assert [path.name for path in folder.iterdir()] == ["step_6"]
    for number in range(2):  # those that are held out
        recorded, made = (
            load_audio(folder / "step_6" / f"{number}_{name}.wav", 22_050)
            for name in ("recorded", "made")
        )
        assert len(recorded) == len(made)
        assert float(recorded.abs().max()) > 0.1
