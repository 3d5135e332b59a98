"""Results are whole or absent."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from voiceglm.errors import OutputError
from voiceglm.files import new_folder, write_file


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fail_halfway(draft: Path) -> None:
    (draft / "x").write_text("x")
    raise RuntimeError("gone")


def test_an_older_file_is_never_written_into(tmp_path: Path) -> None:
    path, reader = tmp_path / "a", tmp_path / "b"
    write_file(path, b"old")
    os.link(path, reader)  # whoever has the old file open sees what this link sees
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert reader.read_bytes() == b"old"
    assert names(tmp_path) == {"a", "b"}


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "a") as draft:
        (draft / "sub").mkdir()
        (draft / "sub" / "x").write_text("x")
        assert not (tmp_path / "deep" / "a").exists()
    assert (tmp_path / "deep" / "a" / "sub" / "x").read_text() == "x"
    assert names(tmp_path / "deep") == {"a"}


def test_a_folder_that_fails_never_appears(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="gone"), new_folder(tmp_path / "a") as draft:
        fail_halfway(draft)
    assert not names(tmp_path)


def test_a_folder_that_fails_leaves_the_older_one(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("old")
    with (
        full_disk(),
        pytest.raises(OutputError, match=r"cannot write .*/a: "),
        new_folder(tmp_path / "a", replace=True) as draft,
    ):
        (draft / "x").write_bytes(b"new" * 1000)
    assert (tmp_path / "a" / "x").read_text() == "old"
    assert names(tmp_path) == {"a"}


def test_a_relative_name_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_file("a", b"a")
    with new_folder("b"):
        pass
    assert names(tmp_path) == {"a", "b"}
