"""A model from parts: it loads, and parts that do not fit are refused."""

import json
import re
import shutil
from pathlib import Path

import pytest

from voiceglm.assemble import assemble
from voiceglm.checkpoint import bundled
from voiceglm.cli import main
from voiceglm.errors import CheckpointError, OutputError
from voiceglm.files import CHECKSUMS, checksums
from voiceglm.pretrained import load_chat

NANO = bundled("nano")


def test_a_model_with_a_part_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(NANO / "language_model", tmp_path / "mine")
    config = tmp_path / "mine" / "config.json"
    config.write_text(
        re.sub(r'"conversation_length": \d+', '"conversation_length": 200', config.read_text())
    )
    folder = tmp_path / "model"
    status = main(["assemble", "--language-model", str(tmp_path / "mine"), "-o", str(folder)])
    assert status == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert load_chat(folder).model.conversation_length == 200
    assert json.loads((folder / CHECKSUMS).read_text()) == checksums(folder)
    assert (folder / "text_to_token").is_dir()
    assert (folder / "tokenizer" / "model.safetensors").read_bytes() == (
        NANO / "tokenizer" / "model.safetensors"
    ).read_bytes()


def test_parts_of_other_codebooks_are_refused(tmp_path: Path) -> None:
    shutil.copytree(NANO / "decoder", tmp_path / "decoder")
    config = tmp_path / "decoder" / "config.json"
    config.write_text(re.sub(r'"num_codes": \d+', '"num_codes": 512', config.read_text()))
    with pytest.raises(CheckpointError, match="the decoder has 512 codes"):
        assemble(tmp_path / "model", "nano", {"decoder": tmp_path / "decoder"})
    assert not (tmp_path / "model").exists()


def test_what_is_no_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no tokenizer: unknown setting"):
        assemble(tmp_path / "model", "nano", {"tokenizer": NANO / "decoder"})
    with pytest.raises(CheckpointError, match="no such folder"):
        assemble(tmp_path / "model", "nano", {"decoder": tmp_path / "missing"})
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(OutputError, match="taken"):
        assemble(tmp_path / "taken", "nano", {})
