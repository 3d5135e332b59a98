"""A released folder in our layout is the same model, and costs one shard of memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from decoder.model import SpeechDecoder
from tests.released import write_decoder, write_language_model, write_tokenizer
from tokenizer.model import SpeechTokenizer
from voiceglm.checkpoint import shards, write_checkpoint
from voiceglm.cli import main
from voiceglm.language_model import VoiceLM

PIECES = {bytes([n]): n for n in range(256)}


def test_the_tokenizer_stays_itself(tmp_path: Path, golden_dir: Path) -> None:
    source = write_tokenizer(tmp_path / "released", golden_dir, whole=True)
    assert main(["convert", str(source), str(tmp_path / "ours")]) == 0
    before, after = map(SpeechTokenizer.from_pretrained, (source, tmp_path / "ours"))
    assert before.config == after.config
    for (name, ours), (_, theirs) in zip(
        before.state().items(), after.state().items(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_the_decoder_stays_itself(tmp_path: Path, golden_dir: Path) -> None:
    source = write_decoder(tmp_path / "released", golden_dir)
    assert main(["convert", str(source), str(tmp_path / "ours")]) == 0
    before, after = map(SpeechDecoder.from_pretrained, (source, tmp_path / "ours"))
    assert torch.equal(before.decode([1, 2, 3]), after.decode([1, 2, 3]))


def test_the_language_model_stays_itself(tmp_path: Path, golden_dir: Path) -> None:
    source = write_language_model(tmp_path / "released", golden_dir, PIECES, 44)
    assert main(["convert", str(source), str(tmp_path / "ours")]) == 0
    before, after = map(VoiceLM.from_pretrained, (source, tmp_path / "ours"))
    assert before.vocabulary == after.vocabulary
    assert before.prompt_format == after.prompt_format
    assert before.encode_text("héllo 13") == after.encode_text("héllo 13")
    for name, weight in before.network.state_dict().items():
        assert torch.equal(weight, after.network.state_dict()[name]), name
    assert len(shards(tmp_path / "ours")) == 2, "shard by shard"


def test_what_is_not_released_is_refused(
    tmp_path: Path, nano: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path / "other", {"sizes": 3}, {"w": torch.zeros(2)})
    assert main(["convert", str(tmp_path / "other"), str(tmp_path / "ours")]) == 1
    assert "is not a released tokenizer, decoder or language model" in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()
    assert main(["convert", str(nano / "language_model"), str(nano)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_damaged_shard_leaves_nothing_behind(
    tmp_path: Path, golden_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_language_model(tmp_path / "released", golden_dir, PIECES, 44)
    path = source / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["convert", str(source), str(tmp_path / "ours")]) == 1
    assert "model-00002-of-00002.safetensors is damaged" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["released"]


def test_memory_is_that_of_one_shard(tmp_path: Path, golden_dir: Path) -> None:
    """Four shards of 60 MB: the process grows by no more than 1.3 of one."""
    size, shard = 60_000_000, "model-0000{}-of-00004.safetensors"
    source = write_language_model(tmp_path / "released", golden_dir, PIECES, 44)
    small = {k: v for path in source.glob("*.safetensors") for k, v in load_file(path).items()}
    for path in source.glob("*.safetensors"):
        path.unlink()
    names = {}
    for number in range(1, 5):
        key = f"transformer.encoder.layers.{number}.mlp.dense_h_to_4h.weight"
        part = {**(small if number == 1 else {}), key: torch.ones(size // 400, 100)}
        save_file(part, source / shard.format(number))
        names |= dict.fromkeys(part, shard.format(number))
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    code = """
import resource, sys
from voiceglm.convert import convert
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
convert(sys.argv[1], sys.argv[2])
print(peak() - before)
"""
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "ours")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.3 * size
    assert len(shards(tmp_path / "ours")) == 4
