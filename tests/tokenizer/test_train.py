"""Training: the loss falls, a stopped run goes on as if it had not stopped, batches fit."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tokenizer.asr import IGNORED
from tokenizer.config import RecognizerConfig, TokenizerConfig
from tokenizer.data import Collate, Example
from tokenizer.features import LogMel
from tokenizer.train import TokenizerTrainConfig, train_tokenizer
from voiceglm.augmentation import AugmentationConfig
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance
from voiceglm.training import TrainConfig

DISTURBED = AugmentationConfig(speed_probability=0.0)


def rows(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "text_loss" in row]


def test_the_loss_falls(tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path) -> None:
    quantizer = replace(tiny.quantizer, revive_below=0.1, commitment_weight=0.25, kmeans_init=True)
    train = TrainConfig(
        steps=40, batch_size=6, peak_lr=1e-2, warmup_steps=5, log_every=10, precision="float32"
    )
    config = TokenizerTrainConfig(
        model=replace(tiny, quantizer=quantizer), train=train, augmentation=None
    )
    tokenizer = train_tokenizer(spelled, config, tmp_path / "run")
    assert not tokenizer.training
    logged = rows(tmp_path / "run")
    assert logged[-1]["text_loss"] < 0.8 * logged[0]["text_loss"]
    assert all(1 <= row["perplexity"] <= 64 and row["commitment"] >= 0 for row in logged)


def test_resuming_equals_never_having_stopped(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path
) -> None:
    train = TrainConfig(steps=5, batch_size=4, save_every=2, log_every=1, precision="float32")
    config = TokenizerTrainConfig(model=tiny, train=train, augmentation=DISTURBED)
    whole = train_tokenizer(spelled, config, tmp_path / "run")
    before = rows(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoint-5")
    assert (tmp_path / "run" / "checkpoint-4").is_dir()
    resumed = train_tokenizer(spelled, config, tmp_path / "run")
    assert rows(tmp_path / "run")[-1]["loss"] == before[-1]["loss"]
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
