"""Recordings become rows of every kind; what cannot be used is counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from data_synth.models import load_maker
from data_synth.run import run
from data_synth.statistics import status
from tests.data_synth.tiny import planned, tiny_config, tiny_model
from tokenizer.model import SpeechTokenizer
from voiceglm.language_model import VoiceLM
from voiceglm.manifest import read_manifest, read_samples


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def recordings(folder: Path) -> Path:
    """Write a manifest: good ones of 1 to 5 s, and some that cannot be used."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any] | str] = []
    for seconds in range(1, 6):
        name = f"{seconds}.wav"
        soundfile.write(folder / name, rng.uniform(-0.5, 0.5, seconds * 16_000), 16_000)
        rows.append({"path": name, "text": f"it lasts {seconds} seconds"})
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    rows += [
        {"path": "missing.wav", "text": "nobody"},
        {"path": "silent.wav", "text": "nothing"},
        {"path": "1.wav"},
        "{torn",
    ]
    path = folder / "manifest.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("kind", ["speech", "asr", "tts"])
def test_rows_are_what_the_language_model_reads(tmp_path: Path, model: Path, kind: str) -> None:
    manifest = recordings(tmp_path)
    config = tiny_config(model, kind=kind, documents_per_shard=4)
    plan = planned(tmp_path / "corpus", [manifest], config)
    maker = load_maker(plan, tmp_path / "corpus")
    rows = [row for number in range(3) for row in maker.shard(number)[0]]
    tokenizer = SpeechTokenizer.from_pretrained(model)
    writer = VoiceLM.from_pretrained(model).writer
    good = [*manifest.read_text().splitlines()[:5]]
    if kind == "speech":
        good.append(json.dumps({"path": "1.wav"}))
    assert len(rows) == len(good)
    (tmp_path / "good.jsonl").write_text("\n".join(good))
    for row, one in zip(rows, read_manifest(tmp_path / "good.jsonl"), strict=True):
        codes = tokenizer.encode(read_samples(one, 16_000), 16_000)
        expected = {
            "speech": {"kind": "interleaved", "segments": [{"codes": codes}]},
            "asr": {"kind": "asr", "codes": codes, "text": one.text},
            "tts": {"kind": "tts", "codes": codes, "text": one.text},
        }
        assert row.ids == list(writer.example(expected[kind]).ids)
        assert row.num_speech == len(codes)
        ((start, stop),) = row.spans
        assert row.ids[start:stop] == writer.speech(codes)


def test_a_run_counts_what_it_leaves_out(tmp_path: Path, model: Path) -> None:
    manifest = recordings(tmp_path)
    config = tiny_config(model, kind="asr", documents_per_shard=4, max_seconds=4.0)
    plan = planned(tmp_path / "corpus", [manifest], config)
    assert run(tmp_path / "corpus", 1).done == 3
    found = status(tmp_path / "corpus", plan)
    assert found.left_out == {
        "too long": 1,
        "unreadable recording": 1,
        "silent or damaged recording": 1,
        "no text": 1,
        "not an utterance": 1,
    }
    assert found.counts["rows"] == 4
    assert found.counts["seconds"] == 1 + 2 + 3 + 4


def test_long_speech_is_cut(tmp_path: Path, model: Path) -> None:
    manifest = recordings(tmp_path)
    config = tiny_config(model, kind="speech", max_seconds=2.0)
    plan = planned(tmp_path / "corpus", [manifest], config)
    rows, counts = load_maker(plan, tmp_path / "corpus").shard(0)
    parts = [(row.id, row.part) for row in rows if row.id.endswith("#5")]
    assert parts == [("manifest.jsonl#5", n) for n in range(3)]
    assert counts["counts"]["seconds"] == 16
