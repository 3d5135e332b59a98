"""The command: its tables are those there are, bad input is one line, a run can be repeated."""

import json
from pathlib import Path

import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from data_synth.world import LANGUAGES
from tests.voiceglm.evaluation.tiny import Ear, figure, record, rows, scripted
from voiceglm.cli import main
from voiceglm.commands.evaluate import TABLES as TYPED
from voiceglm.errors import CheckpointError
from voiceglm.evaluate import heard_by
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.reply import measure
from voiceglm.evaluation.run import TABLES
from voiceglm.evaluation.subject import WhisperReader, load_recognizer
from voiceglm.evaluation.tables import slug
from voiceglm.manifest import Utterance, write_manifest


@pytest.fixture
def espeak() -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")


def test_the_tables_that_can_be_typed_are_those_there_are() -> None:
    assert tuple(TABLES) == TYPED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reply", "--manifest", "nowhere.jsonl"], "no such file: nowhere.jsonl"),
        (["reply", "--noise", "nowhere.wav"], "no such file: nowhere.wav"),
        (["reply", "--data", "nowhere"], "no such folder: nowhere"),
        (["reply", "--recognizer", "nowhere"], "no recognizer in nowhere"),
        (["reply", "--table", "nowhere/t.md"], "there is no folder nowhere"),
        (["nano", "--bench", "nowhere.json"], "no such file: nowhere.json"),
        (["codes", "--recordings", "nowhere.jsonl"], "no such file: nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, nano: Path, capsys, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *arguments]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors


def test_an_unknown_table_is_misuse(capsys) -> None:
    with pytest.raises(SystemExit) as status:
        main(["evaluate", "replies"])
    assert status.value.code == 2
    assert "reconstruction" in capsys.readouterr().err


def test_a_run_is_repeated_by_its_seed_and_printed_as_it_is_kept(
    espeak: None, nano: Path, tmp_path: Path, capsys
) -> None:
    kept = []
    for name in ("a", "b"):
        output = tmp_path / name
        arguments = ["--questions", "1", "--run", "nowhere", "--output", str(output)]
        assert main(["evaluate", "reply", *arguments, "--table", str(tmp_path / "t.md")]) == 0
        paths = sorted((output / "reply").glob("nano_world*.jsonl"))
        assert len(paths) == 2
        kept.append([path.read_bytes() for path in paths])
        printed = capsys.readouterr().out
        assert printed.strip() == (output / "reply" / "table.md").read_text().strip()
        assert printed.strip() == (tmp_path / "t.md").read_text().strip()
        summary = json.loads((output / "reply" / "table.json").read_text())
        assert summary["command"].startswith("voiceglm evaluate reply --model nano --questions 1")
    assert kept[0] == kept[1]


def test_replies_are_marked_by_language_skill_and_ear(espeak: None, tmp_path: Path) -> None:
    asked = scripted(tmp_path, lambda samples: "one two three", ear=Ear("one too three"))
    table = measure(asked)
    english, chinese = nano_world.QUESTIONS.values()
    values = {f.what: f.value for f in table.figures if f.set == english}
    assert values["right replies"] == 0.0
    assert values["ASR-WER"] == pytest.approx(100 / 3)
    assert values["wrong characters of the spoken reply"] == pytest.approx(100 / 13)
    in_characters = {f.what: f.value for f in table.figures if f.set == chinese}
    assert in_characters["ASR-CER"] == pytest.approx(100 / 11), "blanks do not count"
    for name, error in ((english, "ASR-WER, "), (chinese, "ASR-CER, ")):
        kept = rows(tmp_path / "reply" / f"{slug(name)}.jsonl")
        names = {f.what for f in table.figures if f.set == name}
        assert {f"{error}{row['skill']}" for row in kept} <= names
        assert "seconds" not in kept[0], "nothing that differs from run to run is kept"


def test_a_right_reply_is_right(espeak: None, tmp_path: Path) -> None:
    asked = scripted(tmp_path, lambda samples: "", num_questions=2)
    questions = [q for each in LANGUAGES for q in nano_world.questions(asked, each)]
    answers = {q.num_samples: q.extra["answer"] for q in questions}
    right = scripted(tmp_path, lambda x: answers[len(x)].rstrip(".。"), num_questions=2)
    table = measure(right)
    for name in nano_world.QUESTIONS.values():
        assert figure(table, "right replies", name).value == 100.0


def test_test_recordings_of_a_run_go_before_new_ones(tmp_path: Path) -> None:
    speech = tmp_path / "run" / "speech"
    clip = record(tmp_path / "clip.wav")
    sets = {
        "test_readings_en": ["new", "old", "told"],
        "readings_en": ["old"],
        "replies": ["told"],
        "test_questions_en": ["new"],
    }
    for name, texts in sets.items():
        (speech / name).mkdir(parents=True)
        write_manifest(speech / name / "manifest.jsonl", [Utterance(clip, text) for text in texts])
    found = nano_world.held_out(tmp_path / "run", "readings_en")
    assert [clip.text for clip in found or []] == ["new"], "what was trained on is left out"
    assert nano_world.held_out(tmp_path / "run", "questions_zh") is None


@pytest.mark.parametrize(
    ("samples", "heard"),
    [
        (torch.zeros(0), ""),
        (torch.ones(100) / 2, ""),
        (torch.zeros(16_000), ""),
        (torch.ones(16_000) / 2, "the cat"),
    ],
)
def test_nothing_is_heard_where_nothing_can_be(samples: torch.Tensor, heard: str) -> None:
    assert heard_by(Ear(), samples, 16_000) == heard


class Words:
    """Stands in for Whisper's tokenizer and feature extractor, which need files of their own."""

    def __call__(self, samples, **about):
        assert about["sampling_rate"] == 16_000
        return {"input_features": torch.full((1, 80, 3_000), float(len(samples) / 16_000))}

    def batch_decode(self, ids, skip_special_tokens):
        assert skip_special_tokens
        return [" ".join(map(str, row)) for row in ids.tolist()]


def test_whisper_hears_too(tmp_path: Path, monkeypatch) -> None:
    config = WhisperConfig(
        vocab_size=20, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_target_positions=8,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config)
    model.generation_config.max_length = 6
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(
        "voiceglm.evaluation.subject.AutoProcessor.from_pretrained", lambda folder: Words()
    )
    reader = load_recognizer(tmp_path)
    assert isinstance(reader, WhisperReader)
    heard = reader.transcribe(torch.rand(8_000), 8_000)
    assert heard.split()
    assert all(word.isdigit() for word in heard.split())


def test_no_recognizer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no recognizer in"):
        load_recognizer(tmp_path / "nowhere")
