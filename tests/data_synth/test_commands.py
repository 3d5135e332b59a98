"""The commands, one after the other, as README.md has them, with a tiny model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.data_synth.tiny import tiny_model
from voiceglm.cli import main

LENIENT = (
    "filters.min_codes_per_letter=0",
    "filters.max_codes_per_letter=99",
    "filters.max_repeats=99",
    "filters.checked_share=0",
    "choice.temperature=1.0",
    "choice.top_p=1.0",
    "documents_per_shard=10",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def settings(model: Path, *more: str) -> list[str]:
    return [f"--set={each}" for each in (f"model={model}", *LENIENT, *more)]


def test_documents_to_a_corpus(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, corpus = str(tmp_path / "texts.jsonl"), str(tmp_path / "corpus")
    assert main(["synth", "world", "-o", texts, "--documents", "25"]) == 0
    rows = [json.loads(line) for line in Path(texts).read_text().splitlines()]
    assert len({row["text"] for row in rows}) == 25
    plan = ["synth", "plan", texts, "-o", corpus]
    assert main([*plan, *settings(model)]) == 0
    assert "planned: 3 shards of 25 documents" in capsys.readouterr().out
    assert main([*plan, *settings(model)]) == 0
    assert "planned already" in capsys.readouterr().out
    assert main([*plan, *settings(model, "seed=3")]) == 1
    assert capsys.readouterr().err == (
        "voiceglm synth plan: the folder holds another plan: seed was 0, is 3; name another "
        "folder, or go on with what was planned\n"
    )
    assert main(["synth", "status", corpus]) == 0
    assert "0 of 3" in capsys.readouterr().out
    assert main(["synth", "run", corpus, "--workers", "2"]) == 0
    assert capsys.readouterr().out == "3 of 3 shards are finished\n"
    assert main(["synth", "status", corpus, "--json", "--verify"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["counts"]["documents"] == 25
    assert found["counts"]["ids"] > found["counts"]["speech_ids"] > 0
    assert found["ids_per_second"] > 0
    shard = tmp_path / "corpus" / "corpus" / "00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert main(["synth", "status", corpus, "--verify"]) == 1
    assert "damaged: corpus/00001.parquet" in capsys.readouterr().out


def test_a_model_is_trained_and_used(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    lines = []
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", rng.uniform(-0.5, 0.5, 16_000), 16_000)
        lines.append(json.dumps({"path": f"{number}.wav", "text": "the cat sat"}))
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(lines))
    out = tmp_path / "trained"
    command = ["synth", "train-text-to-token", str(manifest), "-o", str(out), "--model", str(model)]
    size = ("hidden_size=32", "num_layers=1", "num_heads=2", "num_key_value_heads=1")
    small = [f"--set=model.{each}" for each in (*size, "intermediate_size=32")]
    small += ["--set=train.steps=4", "--set=train.save_every=2", "--set=train.log_every=1"]
    assert main([*command, *small]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out / 'model'}\n"
    assert "--set text_to_token=" in captured.err
    assert main([*command, *small]) == 1
    assert "go on with --resume" in capsys.readouterr().err
    assert main([*command, *small, "--resume"]) == 0
    texts, corpus = str(tmp_path / "texts.jsonl"), str(tmp_path / "corpus")
    assert main(["synth", "world", "-o", texts, "--documents", "3"]) == 0
    mine = settings(model, f"text_to_token={out / 'model'}")
    assert main(["synth", "plan", texts, "-o", corpus, *mine]) == 0
    assert main(["synth", "run", corpus, "--workers", "1"]) == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["plan", "nowhere", "-o", "{}/c"], "no such file or folder: nowhere"),
        (["plan", "{}", "-o", "{}/c"], "nothing to read"),
        (["plan", "{}", "-o", "{}/c", "--set", "spans.shre=1"], "did you mean"),
        (["run", "{}"], "make one with: voiceglm synth plan"),
        (["status", "{}"], "make one with: voiceglm synth plan"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["synth", *(each.format(tmp_path) for each in command)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
