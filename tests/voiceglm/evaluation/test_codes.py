"""Through the codes: every reader is counted, bad recordings spoil nothing, a seed repeats it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.voiceglm.evaluation.tiny import Ear, figure, reasons, record, rows, subject
from voiceglm.evaluation.codes import OWN, READ, REFERENCE, codebook_use, measure
from voiceglm.evaluation.nano_world import READINGS
from voiceglm.manifest import Utterance, write_manifest


@pytest.fixture(autouse=True)
def _espeak() -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")


def test_a_codebook_is_used_as_its_codes_are_spread() -> None:
    even = codebook_use([[0, 1], [2, 3]], num_codes=8)
    assert even == {"used": 50.0, "perplexity": pytest.approx(4.0), "entropy": pytest.approx(2.0)}
    one = codebook_use([[7, 7, 7]], num_codes=8)
    assert (one["used"], one["perplexity"]) == (12.5, 1.0)


def test_every_reader_is_counted(tmp_path: Path) -> None:
    table = measure(subject(tmp_path, ear=Ear("")))
    for system in (OWN, READ, REFERENCE):
        assert figure(table, "wrong words", READINGS, system).count == 3
    assert figure(table, "wrong words", READINGS, REFERENCE).value == 100.0, "it hears nothing"
    assert figure(table, "bit rate").value == pytest.approx(12.5 * math.log2(20))
    kept = rows(tmp_path / "codes" / "nano_world_held_out_voices.jsonl")
    assert all(0 <= code < 20 for row in kept for code in row["codes"])


def test_the_same_seed_gives_the_same_rows(tmp_path: Path) -> None:
    kept = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        measure(subject(tmp_path / name, seed=seed, num_readings=2))
        kept.append((tmp_path / name / "codes" / "nano_world_held_out_voices.jsonl").read_bytes())
    assert kept[0] == kept[1]
    assert kept[0] != kept[2]


def test_a_recording_that_cannot_be_read_is_counted_and_the_rest_measured(tmp_path: Path) -> None:
    silent = record(tmp_path / "in" / "silent.wav", hertz=0.0)
    clips = [Utterance(silent, "x"), Utterance(record(tmp_path / "in" / "good.wav"), "good")]
    write_manifest(tmp_path / "in" / "m.jsonl", clips)
    table = measure(subject(tmp_path, manifests=(tmp_path / "in" / "m.jsonl",)))
    assert figure(table, "wrong words", "in, en", OWN).count == 1
    assert "1 of 2 recordings" in reasons(table)["in, en"]
    assert "silent" in reasons(table)["in, en"]


def test_who_cannot_read_is_named(tmp_path: Path) -> None:
    whole = subject(tmp_path, num_readings=1)
    deaf = replace(whole, chat=whole.open_chat())
    deaf.chat.model = object()  # type: ignore[assignment]  a model on a server
    table = measure(deaf)
    assert "server" in reasons(table)[READ]
    assert "--recognizer" in reasons(table)[REFERENCE]
