"""``voiceglm lm``: from sources and a model to another model; one clear line where that fails."""

import json
from pathlib import Path

import pytest

from tests.data_synth.tiny import WORDS, tiny_model
from tests.voiceglm.test_growth import text_model
from voiceglm.cli import main
from voiceglm.language_config import GrownModelConfig
from voiceglm.language_model import VoiceLM

QUICK = [
    "--set", "train.steps=2", "--set", "train.save_every=1", "--set", "train.log_every=1",
    "--set", "objective.plan.ids_per_batch=512", "--set", "objective.plan.row_length=256",
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task runs in a folder of its own, with rows and texts in it."""
    monkeypatch.chdir(tmp_path)
    reply = {"text": " ".join(WORDS[:2]), "codes": list(range(20))}
    row = {"kind": "dialogue", "turns": [{"codes": [1, 2, 3]}, reply]}
    Path("rows.jsonl").write_text(f"{json.dumps(row)}\n" * 6)
    Path("texts.jsonl").write_text(f"{json.dumps({'text': ' '.join(WORDS)})}\n" * 9)


def fails(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a task that must fail by one line, and return it."""
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()[-1]


def test_pretraining_mixes_sources_and_finetuning_goes_on_from_it(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mix = "mix=[{path: rows.jsonl}, {path: texts.jsonl, share: 0.3}]"
    pretrain = ["lm", "pretrain", "-o", "pretrained", "--model", str(model), *QUICK, "--set", mix]
    assert main(pretrain) == 0
    captured = capsys.readouterr()
    assert captured.out == "pretrained/model\n"
    assert "texts.jsonl: 9 documents" in captured.err
    assert "30.00% of the run" in captured.err
    assert "sizes" in Path("pretrained/config.yaml").read_text()
    assert sorted(path.name for path in Path("pretrained/model").iterdir()) == [
        "language_model",
        "tokenizer",
    ]
    before = VoiceLM.from_pretrained(model).network.state_dict()
    after = VoiceLM.from_pretrained("pretrained/model").network.state_dict()
    assert any((after[name] - value).abs().max() > 1e-4 for name, value in before.items())

    assert main([*pretrain, "--resume"]) == 0, "a run that is at its end can be gone on with"
    again = VoiceLM.from_pretrained("pretrained/model").network.state_dict()
    assert all((again[name] == value).all() for name, value in after.items())
    capsys.readouterr()

    sft = ["lm", "sft", "rows.jsonl", "-o", "tuned", "--model", "pretrained/model", *QUICK]
    assert main([*sft, "--lora", "--set", "lora.keep=adapter"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "tuned/adapter\n"
    assert "voiceglm lm merge tuned/adapter" in captured.err
    assert (
        main(["lm", "merge", "tuned/adapter", "-o", "merged", "--model", "pretrained/model"]) == 0
    )
    merged = VoiceLM.from_pretrained("merged").network.state_dict()
    assert merged.keys() == after.keys()
    assert any((merged[name] != value).any() for name, value in after.items())


def test_a_text_model_is_grown_and_trained(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text_model(Path("text"), "llama")
    assert main(["lm", "grow", "text", "-o", "grown", "--speech", str(model)]) == 0
    assert VoiceLM.from_pretrained("grown").vocabulary.num_codes == 20
    assert "voiceglm lm pretrain" in capsys.readouterr().err
    argv = ["lm", "sft", "rows.jsonl", "-o", "tuned", "--model", "grown", *QUICK, "--lora"]
    assert main(argv) == 0
    assert isinstance(VoiceLM.from_pretrained("tuned/model").config, GrownModelConfig)


def test_sizes_start_an_untrained_network(model: Path) -> None:
    sizes = "sizes={hidden_size: 16, num_layers: 1, num_heads: 2, num_key_value_heads: 1}"
    argv = ["lm", "pretrain", "rows.jsonl", "-o", "run", "--model", str(model), *QUICK]
    assert main([*argv, "--set", sizes]) == 0
    small, like = VoiceLM.from_pretrained("run/model"), VoiceLM.from_pretrained(model)
    assert small.network.config.hidden_size == 16
    assert small.vocabulary == like.vocabulary


def test_bad_input_is_one_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["lm", "sft", "rows.jsonl", "-o", "run", "--model", str(model), *QUICK]
    for number, (argv, message) in enumerate(
        [
            ([*start, "--set", "train.stepz=3"], "unknown setting train.stepz; did you mean"),
            ([*start, "--set", "mix=[{path: a}]"], "mix is in the settings and on the command"),
            (["lm", "sft", "-o", "run", *QUICK], "the mix is empty: name sources"),
            ([*start[:2], "none.jsonl", *start[3:]], "no such file or folder: none.jsonl"),
            ([*start[:2], "texts.jsonl", *start[3:]], "the mix teaches no speech"),
            ([*start, "--set", "objective.plan.row_length=30"], "more than 30; cut it, raise row"),
            ([*start, "--set", "objective.plan.row_length=300",
              "--set", "objective.plan.ids_per_batch=200"], "must hold at least one row"),
            ([*start, "--set", "objective.plan.row_length=4096",
              "--set", "objective.plan.ids_per_batch=4096"], "the model reads at most 2048"),
            ([*start, "--model", "nowhere"], "no model called 'nowhere'"),
            ([*start[:2], "-o", "run", *start[5:], "--set", "mix=[{path: rows.jsonl, share: 0.5}]"],
             "no source takes the rest"),
        ]
    ):  # fmt: skip
        argv[argv.index("-o") + 1] = f"run{number}"
        assert message in fails(argv, capsys)


def test_a_run_is_not_gone_on_with_from_another_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["lm", "sft", "rows.jsonl", "-o", "run", "--model", "begun", *QUICK]
    Path("begun").symlink_to(model)
    assert main(start) == 0
    capsys.readouterr()
    assert "exists already" in fails(start, capsys)
    resumed = [*start, "--resume"]
    changed = [*resumed, "--set", "train.seed=1"]
    assert "train.seed was 0 and is 1" in fails(changed, capsys)
    Path("rows.jsonl").write_text(Path("rows.jsonl").read_text() * 2)
    assert "rows.jsonl holds 12 documents" in fails(resumed, capsys)
    Path("begun").unlink()
    text_model(Path("text"), "llama")
    assert main(["lm", "grow", "text", "-o", "begun", "--speech", str(model)]) == 0
    capsys.readouterr()
    assert "another architecture or vocabulary" in fails(resumed, capsys)


def test_replies_are_shown_while_it_learns(model: Path) -> None:
    sft = ["lm", "sft", "rows.jsonl", "-o", "tuned", "--model", str(model), *QUICK]
    asked = ["--set", "train.sample_every=1", "--set", f"asked=[{WORDS[0]}]"]
    assert main([*sft, *asked]) == 0
    shown = sorted(Path("tuned/train/samples").iterdir())
    assert [folder.name for folder in shown] == ["step_1", "step_2"]
    for folder in shown:
        (row,) = map(json.loads, (folder / "replies.jsonl").read_text().splitlines())
        assert row["asked"] == WORDS[0]
        assert isinstance(row["reply"], str)
        assert all(isinstance(code, int) for code in row["codes"])
