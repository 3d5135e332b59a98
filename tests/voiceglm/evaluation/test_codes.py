"""Through the codes: every reader is counted, bad recordings spoil nothing, a seed repeats it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.voiceglm.evaluation.tiny import Ear, figure, reasons, record, rows, subject
from voiceglm.errors import SynthesisError
from voiceglm.evaluation import codes, flite, nano_world
from voiceglm.evaluation.babble import Babble
from voiceglm.evaluation.codes import (
    EVERYTHING,
    OWN,
    READ,
    REFERENCE,
    TO_CLEAN,
    TO_REFERENCE,
    codebook_use,
    in_babble,
    measure,
)
from voiceglm.evaluation.nano_world import READINGS
from voiceglm.manifest import Utterance, write_manifest

ENGLISH = READINGS["en"]
KEPT = "nano_world_readings_en.jsonl"


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
        assert figure(table, "wrong words", ENGLISH, system).count == 3
        assert figure(table, "wrong characters", READINGS["zh"], system).count == 3
    assert figure(table, "wrong words", ENGLISH, REFERENCE).value == 100.0, "it hears nothing"
    assert figure(table, "bit rate", ENGLISH).value == pytest.approx(12.5 * math.log2(20))
    kept = rows(tmp_path / "codes" / KEPT)
    assert all(0 <= code < 20 for row in kept for code in row["codes"])
    letters = (figure(table, "wrong characters", ENGLISH, who).value for who in (OWN, REFERENCE))
    own, reference = letters
    multiple = figure(table, TO_REFERENCE, ENGLISH)
    assert multiple.value == pytest.approx(own / reference)
    assert (multiple.unit, multiple.system) == ("times", OWN)
    assert figure(table, TO_CLEAN, in_babble(ENGLISH), REFERENCE).value == 1.0, "no worse than deaf"
    assert figure(table, "codebook in use", EVERYTHING).count == 2 * (3 + 4)
    noisy = rows(tmp_path / "codes" / "nano_world_readings_en_babble_at_10_db.jsonl")
    assert [row["said"] for row in noisy] == [row["said"] for row in kept]
    assert [row["codes"] for row in noisy] != [row["codes"] for row in kept]


def test_the_same_seed_gives_the_same_rows(tmp_path: Path) -> None:
    kept = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        measure(subject(tmp_path / name, seed=seed, num_readings=2, num_questions=1))
        files = sorted((tmp_path / name / "codes").glob("nano_world*.jsonl"))
        assert len(files) == 4, "two languages, clean and in babble"
        kept.append([path.read_bytes() for path in files])
    assert kept[0] == kept[1]
    assert all(one != other for one, other in zip(kept[0], kept[2], strict=True))


def test_babble_is_ten_decibels_weaker_and_that_of_its_place(tmp_path: Path) -> None:
    voices = [
        Utterance(record(tmp_path / f"{hertz}.wav", 2.0, hertz), "x") for hertz in (110.0, 310.0)
    ]
    speech = 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    babble = Babble(voices, seed=1)
    noise = babble.behind(speech, 3) - speech
    assert float(speech.square().mean() / noise.square().mean()) == pytest.approx(10.0, rel=1e-3)
    assert torch.equal(Babble(voices, seed=1).behind(speech, 3), babble.behind(speech, 3))
    assert not torch.equal(babble.behind(speech, 4), babble.behind(speech, 3))
    assert float(babble.behind(9 * speech, 3).abs().max()) == 1.0


FLITE = """#!/bin/sh
[ "$2" = awb ] && [ -f "$0.broken" ] && echo "no such voice" >&2 && exit 1
cp "$0.wav" "$6" && echo "$2 $4" >> "$0.log"
"""


def test_flite_reads_if_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "flite"
    record(tmp_path / "bin" / "flite.wav")
    program.write_text(FLITE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    one = subject(tmp_path / "out")
    clips = flite.flite_readings(one)
    texts = [clip.text for clip in nano_world.readings(one)]
    assert [(clip.speaker, clip.text) for clip in clips] == [
        (f"flite/{voice}", text) for voice, text in zip(flite.VOICES, texts, strict=False)
    ]
    said = (tmp_path / "bin" / "flite.log").read_text().splitlines()
    assert said == [f"{voice} {text}" for voice, text in zip(flite.VOICES, texts, strict=False)]
    (tmp_path / "bin" / "flite.broken").touch()
    with pytest.raises(SynthesisError, match="did not speak as awb: no such voice"):
        flite.flite_readings(one)


def test_without_flite_its_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flite.shutil, "which", lambda name: None)
    monkeypatch.setattr(codes, "clip_sets", lambda subject: ([], []))
    table = measure(subject(tmp_path))
    assert "the program flite is not installed" in reasons(table)[flite.NAME]
    assert table.figures == []


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
