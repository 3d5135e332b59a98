"""``voiceglm tokenizer``: a run in a folder, gone on with, measured; and what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from tokenizer.model import SpeechTokenizer
from voiceglm.audio import save_audio
from voiceglm.cli import main
from voiceglm.manifest import Utterance, write_manifest

RATE = 16_000
TINY = {
    "model": {
        "features": {"num_mel_bins": 20, "fixed_floor": -5.0},
        "encoder": {
            "width": 16,
            "num_heads": 2,
            "feedforward_width": 32,
            "num_layers": 2,
            "max_frames": 240,
            "pool_after": 1,
            "quantize_after": 1,
            "block_frames": 40,
        },
        "quantizer": {"codebook_size": 16},
        "recognizer": {"alphabet": "auto"},
    },
    "train": {"steps": 4, "batch_size": 4, "save_every": 2, "log_every": 2, "precision": "float32"},
}


@pytest.fixture
def recordings(tmp_path: Path) -> list[Utterance]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for number in range(8):
        samples = 0.1 * torch.randn(8_000 + 500 * number, generator=generator)
        save_audio(tmp_path / f"{number}.wav", samples, RATE)
        made.append(Utterance(path=tmp_path / f"{number}.wav", text="ab ba"[: 2 + number % 4]))
    return made


@pytest.fixture
def manifest(tmp_path: Path, recordings: list[Utterance]) -> Path:
    write_manifest(tmp_path / "all.jsonl", recordings)
    return tmp_path / "all.jsonl"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return tmp_path / "tiny.yaml"


def train(*arguments: object) -> int:
    return main(["tokenizer", "train", *map(str, arguments)])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_train_go_on_and_measure(
    tmp_path: Path,
    manifest: Path,
    settings: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    assert train(manifest, "-o", run, "--config", settings) == 0
    out = capsys.readouterr()
    assert out.out.splitlines()[-1] == str(run / "model")
    assert f"voiceglm tokenizer evaluate {run / 'model'} MANIFEST" in out.err
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert stored["manifests"] == [{"path": str(manifest), "weight": None}]
    assert stored["model"]["encoder"]["width"] == 16
    tokenizer = SpeechTokenizer.from_pretrained(run / "model")
    assert tokenizer.config.recognizer is not None
    assert tokenizer.config.recognizer.alphabet == " ab"

    assert train(manifest, "-o", run, "--config", settings) == 1
    assert "exists already; name another folder, or go on with --resume" in last_line(capsys)
    assert (
        train(manifest, "-o", run, "--config", settings, "--resume", "--set", "train.steps=6") == 0
    )
    assert (run / "train" / "checkpoint-6").is_dir()
    other = ("--set", "model.quantizer.codebook_size=32")
    assert train(manifest, "-o", run, "--config", settings, "--resume", *other) == 1
    assert "model.quantizer.codebook_size was 16 and is 32" in last_line(capsys)

    kept = tmp_path / "kept"
    assert main(["tokenizer", "evaluate", str(run / "model"), str(manifest), "-o", str(kept)]) == 0
    text = capsys.readouterr().out
    assert "| wrong characters, read back through the codes |" in text
    assert (kept / "table.md").read_text() == text
    rows = [json.loads(line) for line in (kept / "rows.jsonl").read_text().splitlines()]
    assert [row["said"] for row in rows] == ["ab", "ab ", "ab b", "ab ba"] * 2
    summary = json.loads((kept / "summary.json").read_text())
    assert summary["frame_rate"] == 12.5
    assert summary["bits_per_second"] == pytest.approx(12.5 * math.log2(16))
    assert summary["codes_used"] == len({code for row in rows for code in row["codes"]})
    as_json = ["tokenizer", "evaluate", str(run / "model"), str(manifest), "--json", "--limit", "3"]
    assert main(as_json) == 0
    assert json.loads(capsys.readouterr().out)["recordings"] == 3


def test_a_mix_in_fixed_shares(
    tmp_path: Path, recordings: list[Utterance], settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pseudo = [replace(one, extra={"text_source": "pseudo"}) for one in recordings[:2]]
    write_manifest(tmp_path / "people.jsonl", recordings)
    write_manifest(tmp_path / "pseudo.jsonl", pseudo)
    lists = [
        {"path": str(tmp_path / "people.jsonl"), "weight": 1},
        {"path": str(tmp_path / "pseudo.jsonl"), "weight": 3},
    ]
    mixed = TINY | {"manifests": lists, "pseudo_weight": 0.5, "spec_augment": {"time_masks": 1}}
    settings.write_text(yaml.safe_dump(mixed))
    assert train("-o", tmp_path / "run", "--config", settings) == 0
    assert train(lists[0]["path"], "-o", tmp_path / "twice", "--config", settings) == 1
    assert "manifests are given twice" in last_line(capsys)
    settings.write_text(yaml.safe_dump(mixed | {"manifests": [lists[0], {"path": "x.jsonl"}]}))
    assert train("-o", tmp_path / "half", "--config", settings) == 1
    assert "x.jsonl has no weight, other manifests have; give all or none" in last_line(capsys)


def test_fine_tuning_takes_the_sizes_of_what_it_starts_from(
    tmp_path: Path, manifest: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No setting of the model is repeated, and none may contradict it."""
    assert train(manifest, "-o", tmp_path / "first", "--config", settings) == 0
    start = f"start_from={tmp_path / 'first' / 'model'}"
    short = ["--set", "train.steps=1", "--set", "train.precision=float32"]
    assert train(manifest, "-o", tmp_path / "second", "--set", start, *short) == 0
    stored = yaml.safe_load((tmp_path / "second" / "config.yaml").read_text())
    assert stored["model"]["encoder"]["width"] == 16
    assert stored["train"]["peak_lr"] == 1e-4
    size = ["--set", "model.quantizer.codebook_size=32"]
    assert train(manifest, "-o", tmp_path / "third", "--set", start, *short, *size) == 1
    assert "3 of another shape (encoder.quantizer" in last_line(capsys)


@pytest.mark.parametrize(("kind", "codes"), [("fsq", 1024), ("simvq", 1024), ("ema", 16)])
def test_naming_a_kind_is_enough(
    tmp_path: Path, manifest: Path, settings: Path, kind: str, codes: int
) -> None:
    """What is set for the codebook of another kind does not stand in its way."""
    tiny = {**TINY, "model": {**TINY["model"], "quantizer": {"kind": kind}}}
    if kind == "ema":
        tiny["model"]["quantizer"]["codebook_size"] = codes
    settings.write_text(yaml.safe_dump(tiny))
    run = tmp_path / "run"
    assert train(manifest, "-o", run, "--config", settings, "--set", "train.steps=1") == 0
    assert SpeechTokenizer.from_pretrained(run / "model").num_codes == codes


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--set", "model.quantiser.kind=fsq"], "did you mean model.quantizer"),
        (
            ["--set", "model.quantizer.kind=fsq"],
            "make 1,024 codes, but quantizer.codebook_size is 16",
        ),
        (["--set", "model.recognizer.alphabet=xyz"], "knows none of the letters of 8 texts"),
        (["--set", "start_from=nowhere"], "no model called 'nowhere'"),
    ],
)
def test_bad_settings_are_one_line(
    tmp_path: Path,
    manifest: Path,
    settings: Path,
    capsys: pytest.CaptureFixture[str],
    changed: list[str],
    message: str,
) -> None:
    assert train(manifest, "-o", tmp_path / "run", "--config", settings, *changed) == 1
    assert message in last_line(capsys)
    assert not (tmp_path / "run" / "model").exists()


def test_bad_manifests_are_one_line(
    tmp_path: Path,
    recordings: list[Utterance],
    settings: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train("-o", tmp_path / "a", "--config", settings) == 1
    assert "there is no manifest; name one, or set manifests" in last_line(capsys)
    assert train(tmp_path / "no.jsonl", "-o", tmp_path / "b", "--config", settings) == 1
    assert "cannot read the manifest" in last_line(capsys)
    write_manifest(tmp_path / "mute.jsonl", [replace(one, text=None) for one in recordings])
    assert train(tmp_path / "mute.jsonl", "-o", tmp_path / "c", "--config", settings) == 1
    assert "no utterance of 8 has a text and a recording" in last_line(capsys)
    (tmp_path / "3.wav").unlink()
    write_manifest(tmp_path / "gone.jsonl", recordings)
    assert train(tmp_path / "gone.jsonl", "-o", tmp_path / "d", "--config", settings) == 1
    assert "1 of 8 recordings are missing" in last_line(capsys)
