"""A recipe of corpora as a script: its settings are those of the stages, its shares add up."""

import subprocess
from pathlib import Path

import pytest
import yaml

from data_synth.text_to_token import TextToTokenConfig
from decoder.config import FlowConfig, VocoderConfig
from decoder.train_vocoder import VocoderTrainConfig
from tokenizer.train import TokenizerTrainConfig
from voiceglm.cli import main
from voiceglm.config import build
from voiceglm.language_run import LanguageRun
from voiceglm.train_config import TrainConfig

CORPORA = {
    "transcribed": ["a.jsonl", "b c.jsonl"],
    "pseudo_labelled": ["p.jsonl"],
    "speech": ["s.jsonl"],
    "assistant": ["me.jsonl"],
    "texts": ["texts.parquet"],
    "dialogues_speech": ["ds.jsonl"],
    "dialogues_text": ["dt.jsonl"],
}


def given(**changes: list[str]) -> list[str]:
    corpora = {**CORPORA, **changes}
    return [
        word for name, paths in corpora.items() for word in ("--set", f"corpora.{name}={paths}")
    ]


@pytest.fixture(params=["small", "9b"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "my run"
    assert main(["recipe", request.param, "--output", str(folder), *given()]) == 0
    return folder


def settings(run: Path, stage: str) -> dict:
    return yaml.safe_load((run / "settings" / f"{stage}.yaml").read_text())


def test_the_shell_reads_the_script(run: Path) -> None:
    subprocess.run(["sh", "-n", run / "run.sh"], check=True)
    told = 'voiceglm() { printf "%s|" "$@"; echo; }; LAUNCH=voiceglm; . "$1"'
    done = subprocess.run(
        ["sh", "-c", told, "sh", run / "run.sh"], capture_output=True, text=True, check=True
    )
    commands = [line.split("|") for line in done.stdout.splitlines()]
    tasks = [" ".join(words[:2]) for words in commands]
    assert tasks == [
        "tokenizer train",
        "decoder train-vocoder",
        "decoder train-flow",
        "decoder train-flow",
        "decoder join",
        "lm grow",
        "synth train-text-to-token",
        *["synth plan", "synth run"] * 4,
        "lm pretrain",
        "lm sft",
    ]
    assert {"a.jsonl", "b c.jsonl", "s.jsonl", "me.jsonl"} < set(commands[2])
    assert (run / "heard/tokenizer").readlink() == Path("../tokenizer/model")


def test_what_is_made_is_not_made_again(run: Path) -> None:
    (run / "spoken").mkdir()
    (run / "grown").mkdir()
    done = subprocess.run(
        ["sh", "-c", 'voiceglm() { echo "$1 $2"; }; LAUNCH=voiceglm; . "$1"', "sh", run / "run.sh"],
        capture_output=True,
        text=True,
        check=True,
    )
    tasks = done.stdout.splitlines()
    assert "decoder join" not in tasks
    assert "lm grow" not in tasks
    assert tasks[-1] == "lm sft"


def test_every_stage_accepts_its_settings(run: Path) -> None:
    tokenizer = settings(run, "tokenizer")
    del tokenizer["manifests"]
    assert build(TokenizerTrainConfig, tokenizer).start_from
    for stage in ("flow", "one_voice"):
        build(FlowConfig, settings(run, stage)["model"])
        build(TrainConfig, settings(run, stage)["train"])
    assert settings(run, "one_voice")["start_from"] == str(run / "flow/model")
    assert settings(run, "one_voice")["model"]["crop_probability"] == 0.5
    build(VocoderConfig, settings(run, "vocoder")["model"])
    build(VocoderTrainConfig, settings(run, "vocoder")["train"])
    build(TextToTokenConfig, settings(run, "text_to_token"))
    for stage in ("pretraining", "finetuning"):
        build(LanguageRun, {**settings(run, stage), "model": "grown"})


def test_shares_and_epochs_reach_the_mix(run: Path) -> None:
    mix = settings(run, "pretraining")["mix"]
    assert sum(source["share"] for source in mix) == pytest.approx(1)
    by_name = {Path(source["path"]).name: source["share"] for source in mix}
    assert by_name["asr"] == by_name["tts"]
    assert by_name["texts.parquet"] == pytest.approx(0.3, abs=0.02)
    answers = {source["path"]: source["weight"] for source in settings(run, "finetuning")["mix"]}
    assert answers["ds.jsonl"] == 5 * answers["dt.jsonl"]


def test_three_pseudo_labelled_recordings_for_each_transcribed(run: Path) -> None:
    weights = {m["path"]: m["weight"] for m in settings(run, "tokenizer")["manifests"]}
    assert weights == {"a.jsonl": 0.5, "b c.jsonl": 0.5, "p.jsonl": 3.0}


def test_a_missing_corpus_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["recipe", "small", "--output", str(tmp_path / "run"), *given(assistant=[])]
    assert main(asked) == 1
    assert "corpora.assistant is empty, and the decoder learns its voice" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
