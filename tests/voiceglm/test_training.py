"""The training loop: what is logged, what is refused, and how a stopped run goes on."""

import errno
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from voiceglm.batches import ItemBatches, Shared
from voiceglm.config import build
from voiceglm.errors import CheckpointError, ConfigError, OutputError, TrainingError
from voiceglm.optimizers import Schedule, SplitOptimizer, hidden_matrices, rate_share
from voiceglm.resume import newest_checkpoint
from voiceglm.train_config import TrainConfig
from voiceglm.training import fit, plain_attention
from voiceglm.training_log import CURVES, METRICS, TENSORBOARD

CONFIG = TrainConfig(
    steps=6,
    batch_size=4,
    peak_lr=0.05,
    warmup_steps=1,
    save_every=2,
    log_every=2,
    precision="float32",
)


class Model(nn.Module):
    """Fits a line; says how far off it is. ``config`` must survive the Trainer."""

    def __init__(self, seed: int = 0):
        super().__init__()
        self.config = "mine"
        self.layers = nn.ModuleList([nn.Linear(2, 2, bias=False)])
        nn.init.eye_(self.turn.weight)
        self.line = nn.Linear(2, 1)
        nn.init.normal_(self.line.weight, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.line.bias)
        self.seen: list[int] = []

    @property
    def turn(self) -> nn.Linear:
        (turn,) = self.layers
        assert isinstance(turn, nn.Linear)
        return turn

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        self.seen.append(len(x))
        error = self.line(self.turn(x))[:, 0] - y
        loss = error.square().mean()
        return {"loss": loss, "twice": 2 * loss, "noise": torch.rand(())}


class Points:
    """Points of a line, others whenever they are drawn; one of them may be no number."""

    def __init__(self, bad: int | None = None, size: int = 10):
        self.bad = bad
        self.size = size

    def __len__(self) -> int:
        return self.size

    def draw(self, index: int, generator: torch.Generator) -> tuple[Tensor, float]:
        x = torch.randn(2, generator=generator)
        return x, math.nan if index == self.bad else float(3 * x[0] - x[1] + 1)


def collate(items: list[tuple[Tensor, float]], shared: Shared) -> dict[str, Any]:
    del shared
    return {"x": torch.stack([x for x, _ in items]), "y": torch.tensor([y for _, y in items])}


def run(
    folder: Path,
    config: TrainConfig = CONFIG,
    points: Points | None = None,
    lengths: list[int] | None = None,
    **named: Any,
) -> Model:
    model = Model()
    batches = ItemBatches(
        points or Points(),
        collate,
        batch_size=config.items_per_batch,
        lengths=lengths,
        seed=config.seed,
    )
    fit(model, batches, config, folder, **named)
    return model


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def losses(folder: Path) -> dict[int, float]:
    return {int(row["step"]): row["loss"] for row in rows(folder) if "loss" in row}


def test_metrics_are_lines_of_numbers(tmp_path: Path) -> None:
    model = run(tmp_path)
    assert model.config == "mine"
    logged = [row for row in rows(tmp_path) if "loss" in row]
    assert [row["step"] for row in logged] == [2, 4, 6]
    for row in logged:
        assert row["twice"] == pytest.approx(2 * row["loss"])
        assert 0 < row["noise"] < 1
        assert row["learning_rate"] >= 0
        assert row["grad_norm"] > 0
        assert 0 < row["waited_share"] < 1


def test_it_learns(tmp_path: Path) -> None:
    model = run(tmp_path, replace(CONFIG, steps=80, batch_size=10, peak_lr=0.3, log_every=20))
    logged = losses(tmp_path)
    assert logged[80] < 0.05 * logged[20]
    learned = model.line.weight @ model.turn.weight
    torch.testing.assert_close(learned, torch.tensor([[3.0, -1.0]]), atol=0.1, rtol=0)


def test_a_logged_value_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    run(tmp_path / "each", TrainConfig(steps=4, batch_size=4, log_every=1, precision="float32"))
    run(tmp_path / "some", TrainConfig(steps=4, batch_size=4, log_every=2, precision="float32"))
    each, some = losses(tmp_path / "each"), losses(tmp_path / "some")
    assert some[4] == pytest.approx((each[3] + each[4]) / 2, rel=1e-6)


def test_the_same_seed_gives_the_same_losses(tmp_path: Path) -> None:
    once, again, other = (
        run(
            tmp_path / name,
            TrainConfig(steps=4, batch_size=4, log_every=1, seed=seed, precision="float32"),
        )
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")
    assert torch.equal(once.line.weight, again.line.weight)
    assert not torch.equal(once.line.weight, other.line.weight)


def test_muon_trains_the_matrices_of_layers_and_nothing_else(tmp_path: Path) -> None:
    fresh, config = Model(), replace(CONFIG, steps=2, peak_lr=1e-9, muon_lr=0.1)
    by_muon = run(tmp_path / "muon", config)
    torch.testing.assert_close(by_muon.line.weight, fresh.line.weight, atol=1e-6, rtol=0)
    moved = by_muon.turn.weight - fresh.turn.weight
    assert moved.abs().max() > 0.01
    by_adamw = run(tmp_path / "adamw", replace(config, peak_lr=0.1, muon_lr=1e-9))
    torch.testing.assert_close(by_adamw.turn.weight, torch.eye(2), atol=1e-6, rtol=0)
    assert (by_adamw.line.weight - fresh.line.weight).abs().max() > 0.01


def test_one_schedule_drives_every_part_of_a_split_optimizer() -> None:
    model = Model()
    (matrix,) = hidden_matrices(model)
    assert matrix is model.turn.weight
    parts = [torch.optim.Muon([matrix], lr=0.2), torch.optim.AdamW(model.line.parameters(), 0.1)]
    optimizer = SplitOptimizer(parts)
    optimizer.load_state_dict(optimizer.state_dict())  # gives the parts new groups
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.step()
    schedule.step()
    assert [part.param_groups[0]["lr"] for part in parts] == [0.1, 0.05]
    with pytest.raises(ValueError, match="cannot share a closure"):
        optimizer.step(lambda: 0.0)


def test_attention_is_plain_only_inside_the_block() -> None:
    config = WhisperConfig()
    config._attn_implementation = "sdpa"
    inside = "sdpa" if torch.cuda.is_available() else "eager"
    with plain_attention(config):
        assert config._attn_implementation == inside
    assert config._attn_implementation == "sdpa"


@pytest.mark.parametrize("muon_lr", [None, 0.05], ids=["adamw", "muon"])
@pytest.mark.parametrize("lengths", [None, list(range(10))], ids=["shuffled", "by length"])
@pytest.mark.parametrize("step", [3, 4], ids=["between passes", "within a pass"])
def test_resuming_equals_never_having_stopped(
    tmp_path: Path, lengths: list[int] | None, step: int, muon_lr: float | None
) -> None:
    config = replace(CONFIG, steps=step + 1, save_every=1, log_every=1, muon_lr=muon_lr)
    whole = run(tmp_path, config, lengths=lengths)
    before = rows(tmp_path)
    shutil.rmtree(tmp_path / f"checkpoint-{step + 1}")
    resumed = run(tmp_path, config, lengths=lengths)
    assert len(resumed.seen) == 1
    assert torch.equal(resumed.line.weight, whole.line.weight)
    assert torch.equal(resumed.turn.weight, whole.turn.weight)
    after = rows(tmp_path)
    assert [row["step"] for row in after] == [row["step"] for row in before], "no step twice"
    for name in ("loss", "noise", "learning_rate"):
        assert after[step][name] == before[step][name], name


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    whole = run(tmp_path)
    again = run(tmp_path)
    assert not again.seen
    assert torch.equal(again.line.weight, whole.line.weight)


def test_the_newest_complete_checkpoint_is_found(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    run(tmp_path / "run")
    source = tmp_path / "run" / "checkpoint-6"
    for number in (2, 10, 12, 14, 16):
        shutil.copytree(source, tmp_path / f"checkpoint-{number}")
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-16"
    (tmp_path / "checkpoint-16" / "trainer_state.json").unlink()  # killed before the last file
    os.truncate(tmp_path / "checkpoint-14" / "trainer_state.json", 20)
    os.truncate(tmp_path / "checkpoint-12" / "model.safetensors", 60)
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10", "10 is more than 2"


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt"])
def test_a_truncated_checkpoint_is_passed_over(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(tmp_path)
    file = tmp_path / "checkpoint-6" / name
    os.truncate(file, file.stat().st_size - 1)
    resumed = run(tmp_path)
    said = capsys.readouterr().err
    assert "checkpoint-6 is not complete; going on from checkpoint-4" in said
    assert len(resumed.seen) == 2, "from step 4"
    assert torch.equal(resumed.line.weight, whole.line.weight)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss is nan at step \d; the last checkpoint is kept"):
        run(tmp_path, points=Points(bad=3))
    config = replace(CONFIG, batch_size=10, save_every=1)
    run(tmp_path / "kept", replace(config, steps=2))
    with pytest.raises(TrainingError, match="at step 2"):
        run(tmp_path / "kept", config, points=Points(bad=0))
    assert newest_checkpoint(tmp_path / "kept") == tmp_path / "kept" / "checkpoint-2"


@pytest.mark.parametrize(
    "name", ["steps", "batch_size", "save_every", "log_every", "peak_lr", "muon_lr"]
)
def test_impossible_settings_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"train\.{name} must be .*, got 0"):
        build(TrainConfig, {"steps": 1, name: 0})


def test_precision_is_obeyed() -> None:
    assert TrainConfig(steps=1, precision="bfloat16").bfloat16
    assert not TrainConfig(steps=1, precision="float32").bfloat16
    assert isinstance(TrainConfig(steps=1).bfloat16, bool)


def test_a_step_in_parts_is_a_step(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", replace(CONFIG, batch_size=8), Points(size=8))
    parts = run(tmp_path / "parts", replace(CONFIG, batch_size=8, accumulate=2), Points(size=8))
    assert parts.seen == [4] * 12
    assert whole.seen == [8] * 6
    for folder in ("whole", "parts"):
        assert list(losses(tmp_path / folder)) == [2, 4, 6]


def test_the_learning_rate_rises_and_falls() -> None:
    def rates(schedule: Schedule, final: float = 0.0) -> list[float]:
        return [
            rate_share(step, steps=12, warmup=2, schedule=schedule, final=final)
            for step in (0, 1, 2, 7, 12)
        ]

    assert rates("cosine") == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert rates("linear", 0.2) == pytest.approx([0, 0.5, 1, 0.6, 0.2])
    assert rates("constant") == [0, 0.5, 1, 1, 1]


def test_samples_are_shown_and_change_nothing(tmp_path: Path) -> None:
    shown: list[str] = []

    def show(folder: Path) -> None:
        assert folder.is_dir()
        torch.rand(10)
        shown.append(folder.name)

    config = replace(CONFIG, sample_every=4)
    with_samples = run(tmp_path / "with", config, samples=show)
    without = run(tmp_path / "without", config)
    assert shown == ["step_4", "step_6"]
    assert torch.equal(with_samples.line.weight, without.line.weight)
    assert losses(tmp_path / "with") == losses(tmp_path / "without")


def test_a_run_draws_its_curves_and_fills_its_board(tmp_path: Path) -> None:
    run(tmp_path)
    assert (tmp_path / CURVES).read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / TENSORBOARD).glob("events*"))


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())

    class Other(Model):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(2, 1, bias=False)

    batches = ItemBatches(Points(), collate, batch_size=4)
    with pytest.raises(CheckpointError, match=r"1 unexpected \(model\.line\.bias\)"):
        fit(Other(), batches, replace(CONFIG, steps=8), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, replace(CONFIG, steps=2))
    saved = torch.save

    def full(value: Any, path: str, *rest: Any) -> None:
        if "optimizer" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(value, path, *rest)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"checkpoint-4: No space left.*before it is kept"):
        run(tmp_path)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]


def test_too_little_memory_says_what_to_lower(tmp_path: Path) -> None:
    class Huge(Model):
        def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            if len(self.seen) == 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x, y)

    batches = ItemBatches(Points(), collate, batch_size=4)
    with pytest.raises(TrainingError, match=r"out of memory at step 3; raise train\.accumulate"):
        fit(Huge(), batches, CONFIG, tmp_path)


def test_layers_can_be_computed_again(tmp_path: Path) -> None:
    calls: list[bool] = []

    class Layer(GradientCheckpointingLayer):
        def __init__(self) -> None:
            super().__init__()
            self.turn = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            calls.append(torch.is_grad_enabled())
            return self.turn(x)

    class Deep(Model):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Layer()
            nn.init.eye_(self.layer.turn.weight)

        def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            return super().forward(self.layer(x), y)

    def trained(name: str, *, recompute: bool) -> Deep:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Deep()
        batches = ItemBatches(Points(), collate, batch_size=4)
        config = replace(CONFIG, steps=2, recompute=recompute)
        fit(model, batches, config, tmp_path / name)
        return model

    kept = trained("kept", recompute=False)
    assert len(calls) == 2
    again = trained("again", recompute=True)
    assert len(calls) == 2 + 4, "forward, and once more backward"
    assert torch.equal(kept.layer.turn.weight, again.layer.turn.weight)
    with pytest.raises(ConfigError, match="stacks of transformers layers"):
        run(tmp_path / "none", replace(CONFIG, recompute=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_sharding_without_gpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fsdp needs GPUs"):
        run(tmp_path, replace(CONFIG, sharding="fsdp"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 6, "accumulate": 4}, "multiple of train.accumulate"),
        ({"final_lr_share": 1.5}, r"final_lr_share must be in 0 \.\. 1"),
        ({"sample_every": 0}, "sample_every must be at least 1"),
        ({"loader_workers": -1}, "must not be negative"),
        ({"sharding": "fsdp", "muon_lr": 0.1}, "muon_lr must be null"),
        ({"shedule": "linear"}, "did you mean train.schedule"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(TrainConfig, {"steps": 1, **settings}, where="train.")


def test_batches_fetched_by_other_processes_are_the_same(tmp_path: Path) -> None:
    alone = run(tmp_path / "alone")
    helped = run(tmp_path / "helped", replace(CONFIG, loader_workers=1))
    assert torch.equal(alone.line.weight, helped.line.weight)
