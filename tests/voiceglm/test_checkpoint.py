"""A checkpoint is whole or absent, and one that is damaged says so."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from voiceglm.checkpoint import (
    CONFIG,
    TENSORS,
    bundled,
    load_into,
    read_config,
    read_tensors,
    resolve,
    write_checkpoint,
)
from voiceglm.errors import CheckpointError, OutputError
from voiceglm.files import CHECKSUMS, checksums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good checkpoint of a small layer."""
    folder = tmp_path / "model" / "decoder"
    tensors = {name: value.half() for name, value in layer(0).state_dict().items()}
    write_checkpoint(folder, {"size": 3, "name": "ü"}, tensors, files={"words.txt": b"a b"})
    return folder


def layer(seed: int) -> nn.Linear:
    module = nn.Linear(3, 4)
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, generator=generator)
    return module


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_written_is_read(folder: Path) -> None:
    assert read_config(folder) == {"size": 3, "name": "ü"}
    assert (folder / "words.txt").read_bytes() == b"a b"
    assert names(folder) == {CONFIG, TENSORS, "words.txt"}
    assert names(folder.parent) == {"decoder"}
    assert {value.dtype for value in read_tensors(folder).values()} == {torch.float16}


def test_loading_casts_to_the_types_of_the_module(folder: Path) -> None:
    module = layer(1)
    load_into(module, read_tensors(folder), where=folder)
    assert module.weight.dtype == torch.float32
    torch.testing.assert_close(module.weight, layer(0).weight, rtol=0, atol=2e-3)


def test_tied_and_strided_tensors_are_stored(tmp_path: Path) -> None:
    weight = torch.arange(6.0).view(2, 3)
    write_checkpoint(tmp_path / "a", {}, {"a": weight, "b": weight, "c": weight.T})
    read = read_tensors(tmp_path / "a")
    assert torch.equal(read["b"], weight)
    assert torch.equal(read["c"], weight.T)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "1 missing (bias)"),
        ({"extra": torch.zeros(1)}, "1 unexpected (extra)"),
        ({"weight": torch.zeros(4, 4)}, "1 of another shape (weight (4, 4) instead of (4, 3))"),
        ({f"x{i}": torch.zeros(1) for i in range(5)}, "5 unexpected (x0, x1, x2, ...)"),
    ],
)
def test_what_does_not_fit_is_listed_and_changes_nothing(
    folder: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    changed = {**read_tensors(folder), **change}
    tensors = {name: value for name, value in changed.items() if value is not None}
    module = layer(1)
    with pytest.raises(CheckpointError) as caught:
        load_into(module, tensors, where="here")
    assert str(caught.value) == f"here does not fit Linear: {message}"
    assert torch.equal(module.weight, layer(1).weight)


@pytest.mark.parametrize("name", [CONFIG, TENSORS])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "noise", "folder"])
def test_a_damaged_file_is_one_line(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    match damage:
        case "empty":
            path.touch()
        case "half":
            path.write_bytes(data[: len(data) // 2])
        case "noise":
            path.write_bytes(bytes(range(256)))
        case "folder":
            path.mkdir()
    with pytest.raises(CheckpointError, match=name) as caught:
        read_config(folder) if name == CONFIG else read_tensors(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[1]", "null", "3", "[" * 100_000])
def test_a_config_must_be_an_object(folder: Path, content: str) -> None:
    (folder / CONFIG).write_text(content)
    with pytest.raises(CheckpointError, match=CONFIG):
        read_config(folder)


def test_an_older_checkpoint_is_replaced_only_when_asked(folder: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        write_checkpoint(folder, {}, {})
    assert read_config(folder)["size"] == 3
    write_checkpoint(folder, {"size": 4}, {}, replace=True)
    assert read_config(folder) == {"size": 4}
    assert names(folder) == {CONFIG, TENSORS}, "nothing of the old one is left"
    assert names(folder.parent) == {"decoder"}


@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_what_was_there(
    folder: Path, full_disk: Callable[[], AbstractContextManager[None]], there: bool
) -> None:
    target = folder if there else folder.parent / "other"
    with full_disk(), pytest.raises(OutputError, match="cannot write") as caught:
        write_checkpoint(target, {"size": 5}, {"a": torch.zeros(1000)}, replace=True)
    assert str(target) in str(caught.value)
    assert names(folder.parent) == {"decoder"}
    assert read_config(folder)["size"] == 3


def test_a_config_that_is_no_json_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_checkpoint(tmp_path / "a", {"x": object()}, {})
    assert not names(tmp_path)


def test_an_interrupted_write_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, data: bytes) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(folder.parent / "other", {}, {})
    assert names(folder.parent) == {"decoder"}


def test_a_model_is_a_folder_of_parts(folder: Path) -> None:
    model = folder.parent
    assert resolve(model, "decoder") == folder
    assert resolve(str(model), "decoder") == folder
    assert resolve(folder, "decoder") == folder, "a part may be named directly"
    assert resolve(model) == model


@pytest.mark.parametrize("name", ["nanno", "glm", "a/b/c", "../nope"])
def test_an_unknown_model_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="expected nano or a folder"):
        resolve(name, "decoder")


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(CheckpointError, match="did you mean nano"):
        bundled("nanno")


def test_a_file_is_no_model(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="is a file"):
        resolve(folder / CONFIG)


def test_checksums_name_every_file_but_their_own(folder: Path) -> None:
    model = folder.parent
    before = checksums(model)
    (model / CHECKSUMS).write_text(json.dumps(before))
    assert checksums(model) == before
    assert set(before) == {f"decoder/{name}" for name in (CONFIG, TENSORS, "words.txt")}
    (folder / "words.txt").write_bytes(b"a c")
    assert {name for name in before if checksums(model)[name] != before[name]} == {
        "decoder/words.txt"
    }


def test_the_bundled_model_is_what_it_should_be(nano: Path) -> None:
    assert checksums(nano) == json.loads((nano / CHECKSUMS).read_text())
    assert sum(path.stat().st_size for path in nano.rglob("*") if path.is_file()) <= 48e6


def test_a_name_on_the_hub_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = []

    def download(name: str, *, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert resolve("THUDM/glm-4-voice-tokenizer") == tmp_path
    assert asked[0][0] == "THUDM/glm-4-voice-tokenizer"
    assert not any(pattern.endswith(".py") for pattern in asked[0][1]), "no code comes along"


def test_a_name_that_cannot_be_fetched_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(name: str, *, allow_patterns: list[str]) -> str:
        raise OSError("no route to host\nand more")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(CheckpointError, match=r"THUDM/x is no folder .* hub: no route to host$"):
        resolve("THUDM/x")


def write_sharded(folder: Path) -> dict[str, Tensor]:
    tensors = {f"w{n}": torch.full((2, n + 1), float(n)) for n in range(5)}
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name, part in zip(names, (("w0", "w1"), ("w2", "w3", "w4")), strict=True):
        safetensors.torch.save_file({key: tensors[key] for key in part}, folder / name)
    weight_map = {key: names[int(key[1:]) > 1] for key in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return tensors


def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    tensors = write_sharded(tmp_path / "m")
    found = read_tensors(tmp_path / "m")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_a_missing_or_damaged_part_is_named(tmp_path: Path) -> None:
    write_sharded(tmp_path / "m")
    (tmp_path / "m" / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors is missing"):
        read_tensors(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"index\.json is damaged"):
        read_tensors(tmp_path / "m")
