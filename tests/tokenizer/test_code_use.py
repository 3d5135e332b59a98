"""The tally of codes: exact, one for each pass, and the end of a run that collapses."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from tokenizer.code_use import CodeUse, CollapseConfig, CountedTokenizer
from tokenizer.config import QuantizerConfig, TokenizerConfig
from tokenizer.model import SpeechTokenizer
from tokenizer.train import TokenizerTrainConfig, train_tokenizer
from voiceglm.errors import ConfigError, TrainingError
from voiceglm.manifest import Utterance
from voiceglm.train_config import TrainConfig
from voiceglm.training_log import read_metrics

TRAIN = TrainConfig(steps=6, batch_size=4, save_every=2, log_every=1, precision="float32")


def passes(folder: Path) -> list[dict[str, float]]:
    return [row for row in read_metrics(folder) if "codes_used_in_pass" in row]


def test_codes_are_counted_exactly(tokenizer: SpeechTokenizer, melody: Any) -> None:
    counted = CountedTokenizer(tokenizer)
    labels = torch.tensor([[1, 2], [3, -100]])
    features = tokenizer.features([melody(1.0), melody(0.4, seed=9)])
    found = tokenizer.encoder(features.values, features.mask)
    expected = torch.bincount(found.codes[found.mask], minlength=64)
    counted.train()(features.values, features.mask, labels=labels)
    assert torch.equal(counted.in_pass, expected)
    assert int(counted.in_window.sum()) == 13 + 5
    counted.eval()(features.values, features.mask, labels=labels)
    assert int(counted.in_pass.sum()) == 18, "evaluation does not count"


def test_each_pass_has_a_row(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path
) -> None:
    """Twelve recordings in batches of four: three steps a pass, and one more step."""
    config = TokenizerTrainConfig(model=tiny, train=replace(TRAIN, steps=7), augmentation=None)
    train_tokenizer([spelled], config, tmp_path / "run")
    rows = passes(tmp_path / "run")
    assert [row["step"] for row in rows] == [3, 6, 7]
    for row in rows:
        assert row["codes_used_in_pass"] + row["codes_unused_in_pass"] == 64
        assert 1 <= row["perplexity_of_pass"] <= row["codes_used_in_pass"]


@pytest.mark.parametrize("kept", [3, 4, 5])
def test_a_resumed_pass_counts_what_came_before(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path, kept: int
) -> None:
    """Stopped between two passes of three steps, and within the second."""
    train = replace(TRAIN, save_every=1)
    config = TokenizerTrainConfig(model=tiny, train=train, augmentation=None)
    train_tokenizer([spelled], replace(config, train=replace(train, save_every=kept)), tmp_path)
    whole = passes(tmp_path)[-1]
    shutil.rmtree(tmp_path / "checkpoint-6")
    train_tokenizer([spelled], config, tmp_path)
    assert [row["step"] for row in passes(tmp_path)] == [3, 6]
    assert passes(tmp_path)[-1] == whole
    train_tokenizer([spelled], config, tmp_path)
    assert len(passes(tmp_path)) == 2, "a finished run has nothing to add"


def judge(counts: torch.Tensor, config: CollapseConfig, step: int, folder: Path) -> None:
    with torch.random.fork_rng():
        model = CountedTokenizer(_Codes())  # type: ignore[arg-type]
    model.in_window.copy_(counts)
    state = TrainerState(global_step=step)
    arguments = TrainingArguments(output_dir=str(folder), use_cpu=True)
    CodeUse(model, config, 1e9).on_step_end(arguments, state, TrainerControl())
    assert not model.in_window.any(), "the next window begins empty"


class _Codes(torch.nn.Module):
    num_codes = 100


LIMIT = CollapseConfig(min_share=0.05, after_steps=200, window_steps=100)


def test_a_collapse_is_a_share_of_what_was_possible(tmp_path: Path) -> None:
    five, four = torch.zeros(100).long(), torch.zeros(100).long()
    five[:5], four[:4] = 1_000, 1_000
    judge(five, LIMIT, 200, tmp_path)
    judge(four, LIMIT, 100, tmp_path)  # too early to say
    with pytest.raises(TrainingError) as caught:
        judge(four, LIMIT, 300, tmp_path)
    message = str(caught.value)
    assert message.startswith(
        "the codebook has collapsed at step 300: 4 of 100 codes in the last 100 steps, "
        "collapse.min_share asks for 5 %; the last checkpoint is kept; try quantizer.kmeans_init"
    )
    assert "\n" not in message
    few = torch.zeros(100).long()
    few[:2] = 10  # twenty frames: one code would do
    judge(few, LIMIT, 300, tmp_path)


def test_a_run_that_collapses_is_stopped(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path
) -> None:
    """Random entries without revival: most of them are never used, and 90 % are asked for."""
    collapsing = replace(tiny, quantizer=QuantizerConfig(codebook_size=64, revive_below=0.0))
    config = TokenizerTrainConfig(
        model=collapsing,
        train=replace(TRAIN, steps=20),
        augmentation=None,
        collapse=CollapseConfig(min_share=0.9, after_steps=5, window_steps=5),
    )
    with pytest.raises(TrainingError, match=r"collapsed at step 5: \d+ of 64 codes in the last 5"):
        train_tokenizer([spelled], config, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint-4").is_dir(), "the last checkpoint is kept"
    free = replace(config, collapse=None, train=TRAIN)
    train_tokenizer([spelled], free, tmp_path / "free")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"min_share": 1.5}, "min_share must be in"), ({"window_steps": 0}, "at least 1")],
)
def test_impossible_limits_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CollapseConfig(**settings)
