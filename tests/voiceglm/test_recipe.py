"""The smoke recipe: the stages of the bundled model, tiny, each learning, to a model that loads."""

import json
from pathlib import Path

import pytest
import torch

from voiceglm.audio import save_audio
from voiceglm.cli import main
from voiceglm.errors import ConfigError
from voiceglm.files import checksums
from voiceglm.manifest import Utterance, read_manifest, write_manifest
from voiceglm.pretrained import load_chat
from voiceglm.recipe import QUESTIONS, READINGS, REPLIES, STAGES, Run, run_recipe
from voiceglm.recipe_config import load_recipe

pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")

LEARNED = {
    "tokenizer": "text_loss",
    "recognizer": "text_loss",
    "vocoder": "mel",
    "flow": "flow_loss",
    "pretraining": "loss",
    "finetuning": "loss",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole smoke run, made by the command itself."""
    folder = tmp_path_factory.mktemp("recipe") / "run"
    assert main(["recipe", "nano", "--smoke", "--output", str(folder)]) == 0
    return folder


@pytest.mark.parametrize(("stage", "name"), LEARNED.items())
def test_every_loss_falls(finished: Path, stage: str, name: str) -> None:
    lines = (finished / stage / "train" / "metrics.jsonl").read_text().splitlines()
    losses = [row[name] for row in map(json.loads, lines) if name in row]
    part = max(1, len(losses) // 4)  # of which each batch is easier or harder
    first, last = (sum(some) / part for some in (losses[:part], losses[-part:]))
    assert last < 0.9 * first, losses


def test_the_result_is_a_model(finished: Path) -> None:
    folder = finished / "model" / "nano-smoke"
    assert json.loads((folder / "checksums.json").read_text()) == checksums(folder)
    chat = load_chat(folder)
    codes = chat.tokenizer.encode(chat.decoder.decode(list(range(20))), 22_050)
    assert len(codes) == 20


def test_finished_stages_are_not_run_again(finished: Path) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}

    before = times()
    run_recipe(Run(load_recipe("nano-smoke"), finished))
    assert times() == before


def test_people_are_heard_and_disturb(tmp_path: Path) -> None:
    """People are learned who speak a language of the recipe; noise is theirs, and that given."""
    for name in ("clip", "7_george_0", "7_nicolas_0", "noise"):
        save_audio(tmp_path / f"{name}.wav", torch.rand(4_000) - 0.5, 16_000)
    clip = Utterance(tmp_path / "clip.wav", "hello")
    chinese = Utterance(tmp_path / "clip.wav", "你好", language="zh")
    german = Utterance(tmp_path / "clip.wav", "hallo", language="de")
    write_manifest(tmp_path / "people.jsonl", [clip, chinese, german])
    for name in (*QUESTIONS, *READINGS, *REPLIES, "voices"):
        (tmp_path / "run" / "speech" / name).mkdir(parents=True)
        said = [clip] if name.endswith(("_en", "replies", "voices")) else []
        write_manifest(tmp_path / "run" / "speech" / name / "manifest.jsonl", said)
    write_manifest(tmp_path / "noise.jsonl", [Utterance(tmp_path / "noise.wav", None)])
    recipe = load_recipe("nano-smoke", ["data.digit_sequences=12", "data.people_times=2"])
    run = Run(
        recipe,
        tmp_path / "run",
        recordings=(tmp_path / "people.jsonl",),
        digits=tmp_path,
        noises=tmp_path / "noise.jsonl",
    )
    run_recipe(run, ["people"])
    heard = run.heard()
    synthesized, of_people = heard[:4], heard[4:]
    assert [one.text for one in synthesized] == ["hello"] * 4
    assert of_people[:14] == of_people[14:], "heard twice"
    assert [one.text for one in of_people[:2]] == ["hello", "你好"]
    assert {one.speaker for one in of_people[2:14]} == {"george"}
    noises = {one.recording.name for one in read_manifest(run.sounds())}
    assert noises == {"pack_0000.wav", "noise.wav"}


def test_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no stage called 'flaw'; known: speech"):
        run_recipe(Run(load_recipe("nano-smoke"), tmp_path), ["flaw"])
    assert not list(tmp_path.iterdir())


def test_both_recipes_have_the_same_stages_and_settings() -> None:
    nano, smoke = load_recipe("nano"), load_recipe("nano-smoke")
    assert nano.name == "nano"
    assert smoke.name == "nano-smoke"
    assert set(LEARNED) < set(STAGES)
    with pytest.raises(ConfigError, match="no recipe called 'nani'"):
        load_recipe("nani")
