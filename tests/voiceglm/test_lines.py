"""Text files line by line: odd line ends, wrong encodings, lines without end."""

from pathlib import Path

import pytest

import voiceglm.lines
from voiceglm.errors import ConfigError
from voiceglm.lines import Line, read_lines


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("one\u2028still\x85one\x0b\r\n\ntwo".encode())
    found = list(read_lines(path))
    assert found == [Line(1, "one\u2028still\x85one\x0b"), Line(2, ""), Line(3, "two")]


def test_a_line_in_another_encoding_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\n" + "Grüße\n".encode("latin-1") + "Grüße\n".encode())
    assert list(read_lines(path)) == [Line(1, "one"), Line(2, "", "not UTF-8"), Line(3, "Grüße")]


def test_a_line_without_end_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voiceglm.lines, "MAX_LINE_BYTES", 8)
    path = tmp_path / "a.txt"
    path.write_bytes(b"1234567\n" + b"x" * 100 + b"\n12345678\nnext\n")
    found = list(read_lines(path))
    assert [line.text for line in found] == ["1234567", "", "", "next"]
    assert [line.number for line in found] == [1, 2, 3, 4]
    assert found[1].problem == "longer than 8 bytes"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the list .*a\.txt: No such file"):
        list(read_lines(tmp_path / "a.txt", "list"))
    with pytest.raises(ConfigError, match="Is a directory"):
        list(read_lines(tmp_path))
