"""Training: the loss falls, a stopped run goes on as if it had not stopped, batches fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tokenizer.asr import IGNORED
from tokenizer.config import QuantizerConfig, RecognizerConfig, TokenizerConfig
from tokenizer.data import Collate, Example
from tokenizer.features import LogMel
from tokenizer.train import TokenizerTrainConfig, train_tokenizer
from voiceglm.augmentation import AugmentationConfig
from voiceglm.batches import Shared
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance
from voiceglm.train_config import TrainConfig

DISTURBED = AugmentationConfig(speed_probability=0.0)


def rows(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "text_loss" in row]


def test_the_loss_falls(tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path) -> None:
    quantizer = QuantizerConfig(
        codebook_size=64, revive_below=0.1, commitment_weight=0.25, kmeans_init=True
    )
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


def example(num_samples: int, labels: list[int], seed: int = 0) -> Example:
    return Example(torch.randn(num_samples), labels, torch.Generator().manual_seed(seed))


def test_joined_examples_fit_the_positions(tiny: TokenizerConfig) -> None:
    space, longest = 6, 9_600
    collate = Collate(LogMel(tiny.features), space=space, max_samples=longest)
    sizes = [3_000, 2_000, 4_000, 12_000, 1_500, 3_500]
    counts = set()
    for seed in range(30):
        shared = Shared(torch.Generator().manual_seed(seed), sizes)
        batch = collate([example(size, [1, 2], seed) for size in sizes], shared)
        assert batch["features"].shape[2] * 160 <= longest + 1_280
        assert int(batch["mask"].sum(1).max()) * 160 <= longest
        counts.add(len(batch["labels"]))
        for row in batch["labels"]:
            spoken = row[row != IGNORED].tolist()
            assert spoken == ([1, 2, space] * 6)[: len(spoken)]
            assert len(spoken) % 3 == 2, "whole texts, a space between them"
    assert counts == {6, 3, 2}, "one, two or four examples become one"


def test_what_does_not_fit_is_left_out_with_its_text(tiny: TokenizerConfig) -> None:
    collate = Collate(LogMel(tiny.features), space=6, max_samples=9_600)
    joined = collate._join([example(5_000, [1]), example(5_000, [2]), example(100, [3])])
    assert len(joined.samples) == 5_000
    assert joined.labels == [1]


@pytest.mark.parametrize("text", [None, ""])
def test_nothing_to_learn_from_is_refused(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path, text: str | None
) -> None:
    config = TokenizerTrainConfig(model=tiny, train=TrainConfig(steps=1))
    with pytest.raises(ConfigError, match="no utterance has a text"):
        train_tokenizer([replace(spelled[0], text=text)], config, tmp_path / "run")


@pytest.mark.parametrize("kind", [None, "attention"])
def test_only_ctc_is_trained(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path, kind: str | None
) -> None:
    recognizer = None
    if kind == "attention":
        recognizer = RecognizerConfig(kind=kind, vocab_size=8, start_id=7, pad_id=6)
    model = replace(tiny, recognizer=recognizer)
    config = TokenizerTrainConfig(model=model, train=TrainConfig(steps=1))
    with pytest.raises(ConfigError, match="must be ctc"):
        train_tokenizer(spelled, config, tmp_path / "run")
