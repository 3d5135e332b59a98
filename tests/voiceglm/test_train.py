"""Training learns, and says what is wrong with its input."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from voiceglm.errors import ConfigError
from voiceglm.language_model import LanguageModelConfig, Sampling, VoiceLM
from voiceglm.packing import Batching, BatchPlan, bucketed_batch
from voiceglm.prompt import PromptFormat
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.train import (
    LanguageTraining,
    Objective,
    read_examples,
    read_source,
    train_language_model,
)
from voiceglm.train_config import TrainConfig

TINY = LanguageModelConfig(
    hidden_size=32, num_layers=2, num_heads=4, num_key_value_heads=2, intermediate_size=64
)
WORDS = ("red", "green", "blue")


def fresh() -> VoiceLM:
    corpus = [*PromptFormat().texts(), " ".join(WORDS)] * 10
    return VoiceLM.new(TINY, train_text_tokenizer(corpus, 320), num_codes=6)


def rows(number: int) -> list[dict[str, object]]:
    """Each word has two codes of its own, so that everything can be learned."""
    rng, found = random.Random(0), []
    for n in range(number):
        word = rng.randrange(3)
        said = {"text": WORDS[word], "codes": [2 * word, 2 * word + 1]}
        kinds = [
            {"kind": "asr", **said},
            {"kind": "tts", **said},
            {"kind": "streaming", **said},
            {"kind": "dialogue", "turns": [{"codes": said["codes"]}, said]},
        ]
        found.append(kinds[n % 4])
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(80)))
    return path


def run(
    source: Path,
    folder: Path,
    steps: int,
    batching: Batching = "bucketed",
    *,
    compile_layers: bool = False,
) -> VoiceLM:
    plan = BatchPlan(ids_per_batch=512, row_length=64, batching=batching)
    train = TrainConfig(
        steps=steps,
        peak_lr=1e-2,
        warmup_steps=5,
        save_every=10,
        log_every=10,
        precision="float32",
    )
    model = fresh()
    sources = [read_source(source, model.writer)]
    objective = LanguageTraining(plan=plan, compile_layers=compile_layers)
    return train_language_model(model, sources, objective, train, folder)


def losses(folder: Path, name: str) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [float(row[name]) for row in map(json.loads, lines) if name in row]


def test_the_model_learns_to_answer(source: Path, tmp_path: Path) -> None:
    model = run(source, tmp_path / "run", 160)
    for name in ("loss", "text_loss", "speech_loss"):
        found = losses(tmp_path / "run", name)
        assert found[-1] < 0.6 * found[0]
    prompt = model.writer.opening("speech") + model.writer.speech_turn([2, 3])
    reply = list(model.generate(prompt, Sampling(temperature=0, max_new_ids=20)))
    assert model.decode_text(reply) == "green"
    assert [model.vocabulary.code(i) for i in reply if model.vocabulary.is_speech(i)] == [2, 3]
    assert reply[-1] == model.vocabulary.user


def test_packed_rows_teach_as_well(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "run", 30, "packed")
    found = losses(tmp_path / "run", "loss")
    assert found[-1] < 0.6 * found[0]


def test_one_kind_can_be_learned_alone(source: Path) -> None:
    model = fresh()
    examples = list(read_examples(source, model.writer))
    batch = bucketed_batch(examples)
    both = Objective(model, LanguageTraining())(**batch)
    text = Objective(model, LanguageTraining(speech_loss_weight=0.0))(**batch)
    speech = Objective(model, LanguageTraining(text_loss_weight=0.0))(**batch)
    torch.testing.assert_close(text["loss"], both["text_loss"])
    torch.testing.assert_close(speech["loss"], both["speech_loss"])
    assert min(both["text_loss"], both["speech_loss"]) < both["loss"]
    assert both["loss"] < max(both["text_loss"], both["speech_loss"])


def test_the_loss_of_a_view_is_that_half_of_the_loss() -> None:
    model = fresh()
    objective = Objective(model, LanguageTraining())
    row = rows(4)[3]
    found = {}
    for learn in ("both", "text", "speech"):
        example = model.writer.example({**row, "learn": learn})
        found[learn] = objective(**bucketed_batch([example]))
    for half in ("text", "speech"):
        torch.testing.assert_close(found[half]["loss"], found["both"][f"{half}_loss"])
    assert found["text"]["speech_loss"] == found["speech"]["text_loss"] == 0


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_compiled_layers_learn_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(source, tmp_path / "plain", 4)
    calls: list[int] = []
    compile_ = torch.compile

    def counted(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        compiled = compile_(function, **options)
        return lambda *inputs: (calls.append(1), compiled(*inputs))[1]

    monkeypatch.setattr(torch, "compile", counted)
    compiled = run(source, tmp_path / "compiled", 4, compile_layers=True)
    assert len(calls) == 4
    found, expected = compiled.network.state_dict(), plain.network.state_dict()
    assert list(found) == list(expected)
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, atol=2e-3, rtol=1e-2, msg=name)


def test_layers_are_compiled_only_with_a_compiler(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="no C\\+\\+ compiler 'no-such-compiler'"):
        run(source, tmp_path / "run", 1, compile_layers=True)


def test_dropout_acts_in_training_alone_and_leaves_no_trace() -> None:
    model = fresh()
    batch = {
        "ids": torch.tensor([[1, 2, 3, 4]]),
        "labels": torch.tensor([[-100, 2, 3, 4]]),
    }
    plain = Objective(model, LanguageTraining()).eval()(**batch)["loss"]
    objective = Objective(model, LanguageTraining(dropout=0.5))
    assert not torch.equal(objective.train()(**batch)["loss"], plain)
    assert torch.equal(objective.eval()(**batch)["loss"], plain)
    objective.train().release()
    assert torch.equal(objective(**batch)["loss"], plain)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"rows\.jsonl, line 2: "),
        ("[]", r"line 2: .*'list'"),
        ('{"kind": "asr"}', "line 2: a training row of kind 'asr' lacks 'text'"),
    ],
)
def test_a_bad_row_is_named(source: Path, line: str, message: str) -> None:
    first = source.read_text().splitlines()[0]
    source.write_text(f"{first}\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        list(read_examples(source, fresh().writer))


def test_bad_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such training file"):
        list(read_examples(tmp_path / "none.jsonl", fresh().writer))
    with pytest.raises(ConfigError, match="not both zero"):
        LanguageTraining(text_loss_weight=0.0, speech_loss_weight=0.0)
    with pytest.raises(ConfigError, match="dropout"):
        LanguageTraining(dropout=1.0)
