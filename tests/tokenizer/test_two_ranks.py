"""Two processes learn what one learns from their joint batches, and never wait in vain."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tokenizer import two_ranks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What one process has learned, and what each of two has."""
    folder = tmp_path_factory.mktemp("ranks")
    meeting = folder / "meeting"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [
                sys.executable,
                two_ranks.__file__,
                str(rank),
                "2",
                meeting,
                folder / f"{rank}.pt",
            ],
            env=environment,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    with torch.random.fork_rng():
        alone = two_ranks.steps()
    errors = [process.communicate(timeout=120)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    return alone, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", ["ema", "ema without k-means", "fsq", "simvq", "tokenizer"])
def test_two_processes_learn_what_one_learns(
    runs: tuple[dict[str, Any], list[dict[str, Any]]], name: str
) -> None:
    """Entries, counts, dead codes and mean gradients of every step; weights after training."""
    alone, both = runs
    assert len(alone[name]) > 10
    for key, value in alone[name].items():
        for one in both:
            torch.testing.assert_close(one[name][key], value, rtol=1e-5, atol=1e-5, msg=key)


def test_ranks_hold_the_same_to_the_bit(
    runs: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    _, (first, second) = runs
    for name in ("ema", "ema without k-means", "tokenizer"):
        for key, value in first[name].items():
            assert torch.equal(value, second[name][key]), (name, key)


def test_ranks_agree_on_what_is_drawn(runs: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    alone, both = runs
    assert all(torch.equal(one["drawn"]["drawn"], alone["drawn"]["drawn"]) for one in both)


def test_codes_were_revived_on_the_way(
    runs: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    """Else the equality above would say less than it seems to."""
    dead = [int(runs[0]["ema"][f"{step}.dead"]) for step in range(5)]
    assert sum(number > 0 for number in dead) >= 3, dead
