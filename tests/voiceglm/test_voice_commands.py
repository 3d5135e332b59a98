"""From recordings to a model that speaks with a voice of one's own, by the commands alone."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from decoder.config import EncoderConfig as CodeEncoderConfig
from decoder.config import EstimatorConfig, FlowConfig
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.speaker import SpeakerConfig, SpeakerEncoder
from decoder.vocoder import HiFTGenerator
from tests.data_synth.tiny import tiny_model
from tests.decoder.buzzers import PITCHES, RATE, buzz, write_buzzers
from tests.decoder.test_train_vocoder import TINY
from voiceglm.audio import load_audio, save_audio
from voiceglm.cli import main
from voiceglm.files import checksums

FLOW = FlowConfig(
    num_codes=20,
    num_steps=2,
    encoder=CodeEncoderConfig(dim=8, num_heads=2, hidden_dim=8, num_layers=1),
    estimator=EstimatorConfig(
        channels=(16,), num_blocks=1, num_mid_blocks=0, num_heads=1, head_dim=4
    ),
)
TRAIN = [
    "--set",
    "train.steps=2",
    "--set",
    "train.batch_size=2",
    "--set",
    "train.save_every=1",
    "--set",
    "train.precision=float32",
]
VOCODER = [
    *TRAIN,
    "--set",
    "train.segment_frames=12",
    "--set",
    "train.held_out=1",
    "--set",
    "train.fft_sizes=[512]",
]


def ok(*argv: object) -> None:
    assert main([str(one) for one in argv]) == 0


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model of random weights with one voice."""
    folder = tiny_model(tmp_path_factory.mktemp("base") / "model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        SpeechDecoder(FlowModel(FLOW), HiFTGenerator(TINY)).save(folder / "decoder")
    return folder


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of four speakers, without codes."""
    manifest = write_buzzers(tmp_path_factory.mktemp("spoken"), 2)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        del row["codes"]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


@pytest.fixture(scope="module")
def made(base: Path, spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of all commands, and the model they make."""
    runs = tmp_path_factory.mktemp("runs")
    small = ["--set", "model.channels=8", "--set", "train.precision=float32"]
    ok("voice", "train", spoken, "-o", runs / "speaker", *small, "--set", "train.steps=2",
       "--set", "held_out=2")  # fmt: skip
    ok("decoder", "train-flow", spoken, "-o", runs / "flow", "--model", base, *TRAIN,
       "--set", f"start_from={base}", "--set", f"speaker_encoder={runs / 'speaker' / 'model'}",
       "--set", "voices.default=ann")  # fmt: skip
    ok("decoder", "train-vocoder", spoken, "-o", runs / "vocoder", *VOCODER,
       "--set", f"start_from={base}")  # fmt: skip
    ok("decoder", "join", "--model", base, "--flow", runs / "flow" / "model",
       "--vocoder", runs / "vocoder" / "model", "-o", runs / "decoder")  # fmt: skip
    ok("assemble", "--model", base, "--decoder", runs / "decoder",
       "--speaker-encoder", runs / "speaker" / "model", "-o", runs / "mine")  # fmt: skip
    return runs


def test_every_run_leaves_its_settings_and_a_model(made: Path) -> None:
    for run in ("speaker", "flow", "vocoder"):
        assert (made / run / "config.yaml").is_file()
        assert (made / run / "model" / "model.safetensors").is_file()
        assert (made / run / "train" / "metrics.jsonl").is_file()
    held_out = json.loads((made / "speaker" / "summary.json").read_text())
    assert 0 <= held_out["equal_error_rate_percent"] <= 100
    codes = [json.loads(row)["codes"] for row in (made / "flow" / "spoken.jsonl").open()]
    assert len(codes) == 8
    assert all(0 <= code < 20 for row in codes for code in row)


def test_voices_come_along_if_they_are_understood(made: Path, base: Path, tmp_path: Path) -> None:
    model = tmp_path / "with"
    shutil.copytree(made / "mine", model)
    save_audio(tmp_path / "ann.wav", buzz("ann", [0, 1, 2, 3] * 5), RATE)
    ok("voice", "add", "ann", tmp_path / "ann.wav", "--model", model, "-o", model / "voices")
    ok("assemble", "--model", model, "--tokenizer", base / "tokenizer", "-o", tmp_path / "same")
    assert [file.name for file in (tmp_path / "same" / "voices").iterdir()] == ["ann.json"]
    ok("assemble", "--model", model, "--decoder", base / "decoder", "-o", tmp_path / "other")
    assert not list((tmp_path / "other" / "voices").iterdir())
    narrow = tmp_path / "narrow"
    SpeakerEncoder(SpeakerConfig(dim=8, channels=8)).save(narrow)
    asked = ["assemble", "--model", str(model), "--speaker-encoder", str(narrow)]
    assert main([*asked, "-o", str(tmp_path / "x")]) == 1
    assert not (tmp_path / "x").exists()


def test_the_joined_model_is_whole(made: Path, base: Path) -> None:
    model = made / "mine"
    assert json.loads((model / "checksums.json").read_text()) == checksums(model)
    for part in ("tokenizer", "language_model", "text_to_token"):
        assert checksums(model / part) == checksums(base / part)
    assert checksums(model / "decoder") != checksums(base / "decoder")


@pytest.fixture
def voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the user's with two wavs in it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in PITCHES:
        save_audio(tmp_path / f"{name}.wav", buzz(name, [0, 1, 2, 3] * 5), RATE)
    return tmp_path


def test_a_voice_is_added_listed_and_spoken_with(
    made: Path, voices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", made / "mine"]
    ok("voice", "add", "me", voices / "ann.wav", voices / "dora.wav", *model)
    file = Path(capsys.readouterr().out.strip())
    assert file == voices / "data" / "voiceglm" / "voices" / "mine" / "me.json"
    ok("voice", "add", "ben", voices / "ben.wav", *model, "-o", voices / "elsewhere")
    capsys.readouterr()
    ok("voice", "list", *model)
    listed = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [row["voice"] for row in listed] == ["default", "me"]
    ids = voices / "ids.jsonl"
    ids.write_text('{"ids": [1, 2, 3, 4, 5, 6, 7, 8]}\n')
    asked = {
        "default": [],
        "named": ["--voice", "me"],
        "file": ["--voice", file],
        "other": ["--voice", "ben", "--voices", voices / "elsewhere"],
    }
    heard = {}
    for name, arguments in asked.items():
        ok("decode", ids, "-o", voices / name, *model, *arguments)
        heard[name] = load_audio(voices / name / "00001.wav", RATE)
    assert torch.equal(heard["named"], heard["file"])
    assert len({heard[name].numpy().tobytes() for name in ("default", "named", "other")}) == 3
    ok("chat", "--text", "the cat", "-o", voices / "a.wav", "--voice", "me", *model)


def test_what_goes_wrong_with_a_voice_is_said_in_a_line(
    made: Path, base: Path, voices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(made / "mine")]
    save_audio(voices / "quiet.wav", torch.zeros(RATE * 2), RATE)
    save_audio(voices / "short.wav", buzz("ann", [1, 2]), RATE)
    ok("voice", "add", "me", voices / "ann.wav", *model)
    file = capsys.readouterr().out.strip()
    ids = voices / "ids.jsonl"
    ids.write_text('{"ids": [1, 2, 3]}\n')
    speak = ["decode", str(ids), "-o", str(voices / "out")]
    said = {
        f"{base} has no speaker encoder": ["voice", "add", "x", str(voices / "ann.wav"),
                                           "--model", str(base)],
        "quiet.wav is silent": ["voice", "add", "x", str(voices / "quiet.wav"), *model],
        "short.wav is too short for a voice": ["voice", "add", "x", str(voices / "short.wav"),
                                               *model],
        "there is a voice me in": ["voice", "add", "me", str(voices / "ann.wav"), *model],
        "no such file": ["voice", "add", "x", str(voices / "none.wav"), *model],
        "cannot be the name of a voice": ["voice", "add", "a/b", str(voices / "ann.wav"), *model],
        "known: default, me": [*speak, "--voice", "eve", *model],
        "the voice me was made for the decoder": [*speak, "--voice", file, "--model", str(base)],
    }  # fmt: skip
    for text, argv in said.items():
        assert main(argv) == 1, text
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert text in error
    assert not (voices / "out").exists()
    ok("voice", "add", "me", voices / "dora.wav", *model, "--replace")


def test_a_run_goes_on_only_as_itself(
    made: Path, base: Path, spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["decoder", "train-vocoder", str(spoken), "-o", str(made / "vocoder"), *VOCODER]
    asked += ["--set", f"start_from={base}"]
    assert main(asked) == 1
    assert "go on with --resume" in capsys.readouterr().err
    ok(*asked, "--resume")
    assert main([*asked, "--resume", "--set", "train.peak_lr=0.5"]) == 1
    assert "train.peak_lr was" in capsys.readouterr().err
    assert main([*asked, "--resume", "--set", "train.peek_lr=0.5"]) == 1
    assert "did you mean train.peak_lr?" in capsys.readouterr().err


def test_a_manifest_that_is_missing_makes_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for task in ("train-flow", "train-vocoder"):
        asked = ["decoder", task, str(tmp_path / "none.jsonl"), "-o", str(tmp_path / "run")]
        assert main(asked) == 1
        assert "none.jsonl" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


def test_a_codebook_of_another_size_is_refused(
    base: Path, spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["decoder", "train-flow", str(spoken), "-o", str(tmp_path / "run"), *TRAIN]
    assert main([*asked, "--model", str(base)]) == 1  # nano's flow has 2048 codes
    assert "num_codes is 2048, but the tokenizer has 20 codes" in capsys.readouterr().err


def test_a_decoder_is_measured(
    made: Path, spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["decoder", "evaluate", spoken, "--model", made / "mine", "--clips", "3"]
    ok(*asked, "-o", tmp_path / "own", "--own-voice")
    table = capsys.readouterr().out
    assert table.startswith("| measure | recording | vocoded | decoded |")
    assert (tmp_path / "own" / "table.md").read_text() == table
    rows = [json.loads(row) for row in (tmp_path / "own" / "rows.jsonl").open()]
    assert [row["speaker"] for row in rows] == ["ann", "ben", "cid"]
    measures = {"pitch_hz", "heard", "similarity", "voice_similarity", "mel", "decibels"}
    assert measures <= rows[0]["decoded"].keys()
    summary = json.loads((tmp_path / "own" / "summary.json").read_text())
    assert summary["clips"] == 3
    assert summary["recording"]["similarity"] == pytest.approx(1.0)
    assert main([*map(str, asked), "-o", str(tmp_path / "x"), "--own-voice", "--voice", "a"]) == 1
    assert "exclude each other" in capsys.readouterr().err


def test_nothing_to_join(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decoder", "join", "-o", str(tmp_path / "x")]) == 1
    assert "nothing to join" in capsys.readouterr().err
