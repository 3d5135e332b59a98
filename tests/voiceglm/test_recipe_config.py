"""Recipes as files: found by name or by path, one line each, and refused with a reason."""

from pathlib import Path

import pytest

from voiceglm.cli import main
from voiceglm.errors import ConfigError
from voiceglm.recipe_config import load_recipe, recipe_names, recipe_path


def test_every_recipe_is_listed_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()
    assert {"nano", "nano-smoke", "small", "9b"} <= set(recipe_names())
    assert all(len(line.split()) > 5 for line in lines)


def test_a_recipe_has_the_name_of_its_file() -> None:
    assert all(load_recipe(name).name == name for name in recipe_names())


def test_a_recipe_may_be_anybodys_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(recipe_path("nano").read_text().replace("name: nano", "name: mine"))
    assert load_recipe(mine, ["tokenizer.train.steps=7"]).tokenizer.train.steps == 7
    assert load_recipe(mine).name == "mine"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("smal", [], "no recipe called 'smal'; did you mean small"),
        ("xyz", [], "no recipe called 'xyz'; known: nano-smoke, nano, small, 9b"),
        ("missing.yaml", [], "no such file: missing.yaml"),
        ("nano", ["tokenizer.trian.steps=3"], "tokenizer.trian; did you mean tokenizer.train"),
        ("nano", ["corpora={}"], "either data"),
        ("small", ["corpora=null"], "either data"),
        ("small", ["language_model.start_from=null"], "either model"),
        ("small", ["language_model.architecture={}"], "model_type among it"),
        ("small", ["language_model.pretraining.shares.text=0.9"], "shares must add up to 1"),
        ("small", ["flow.model.num_codes=100"], "num_codes is 100, the tokenizer has 8192"),
        ("nano", ["recognizer=null"], "a recipe with data needs recognizer"),
        ("nano", ["language_model.pretraining.shares={text: 1.0}"], "is for a recipe with corpora"),
        ("small", ["text_to_token.spans=5"], "spans is for a recipe with data, this one has corp"),
        ("small", ["language_model.finetuning.epochs.music=2"], "no kind of data called 'music'"),
        ("small", ["machine.utilisation=2.0"], "must be in 0 .. 1"),
        ("small", ["machine.gpus=0"], "machine.gpus must be positive"),
    ],
)
def test_what_cannot_be_a_recipe_is_refused(name: str, settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(name, settings)


def test_no_name_asks_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe"]) == 1
    assert "voiceglm recipe --list" in capsys.readouterr().err


def test_9b_has_the_published_values() -> None:
    recipe = load_recipe("9b")
    pretraining, finetuning = recipe.language_model.pretraining, recipe.language_model.finetuning
    assert pretraining.shares == {
        "interleaved": 0.626,
        "speech": 0.062,
        "pairs": 0.028,
        "text": 0.284,
    }
    rates = (
        pretraining.train.peak_lr,
        pretraining.train.final_lr_share,
        pretraining.train.schedule,
    )
    assert rates == (6e-5, 0.1, "linear")
    assert pretraining.objective.plan.row_length == 8_192
    assert pretraining.train.beta2 == 0.95
    assert finetuning.epochs == {"dialogues_speech": 20, "dialogues_text": 4}
    assert finetuning.objective.dropout == 0.5
    assert (finetuning.train.peak_lr, finetuning.train.weight_decay) == (1e-5, 0.1)
    tokenizer = recipe.tokenizer
    assert (tokenizer.train.batch_size, tokenizer.train.peak_lr) == (4_096, 1e-5)
    assert tokenizer.model.quantizer is not None
    assert tokenizer.model.quantizer.commitment_weight == 2.5
    assert recipe.flow.model.guidance_dropout == 0.2
    assert recipe.corpora is not None
    assert recipe.corpora.pseudo_per_transcribed == 3.0
