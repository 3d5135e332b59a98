"""Token files give back what was written, read nothing ahead, and say when they are damaged."""

import random
from pathlib import Path

import numpy as np
import pytest

from voiceglm.documents import NAME, TokenFiles, write_token_files
from voiceglm.errors import ConfigError, SourceError
from voiceglm.prompt import IGNORED, Example


def examples(seed: int, number: int = 30) -> list[Example]:
    rng = random.Random(seed)
    found = []
    for _ in range(number):
        ids = [rng.randrange(100) for _ in range(rng.randint(1, 20))]
        found.append(Example(ids, [i if rng.random() < 0.5 else IGNORED for i in ids]))
    return found


def no_rule(ids: object) -> int:
    raise AssertionError("the file says what is learned")


def test_what_is_written_is_read_over_several_files(tmp_path: Path) -> None:
    wanted = [examples(1), examples(2, 1), examples(3, 7)]
    for number, part in enumerate(wanted):
        assert write_token_files(tmp_path / str(number), part) == len(part)
    files = [tmp_path / str(number) / NAME for number in range(3)]
    found = TokenFiles("some", files, 100, no_rule)
    whole = [example for part in wanted for example in part]
    assert found.lengths.tolist() == [len(example) for example in whole]
    for number in random.Random(0).sample(range(len(whole)), len(whole)):
        assert list(found[number].ids) == list(whole[number].ids)
        assert list(found[number].labels) == list(whole[number].labels)


def test_a_rule_says_what_is_learned_where_no_file_does(tmp_path: Path) -> None:
    np.array([7, 8, 9, 7, 8], "<u4").tofile(tmp_path / "00000.ds")
    np.array([3, 5], "<u8").tofile(tmp_path / "00000.ds.index")
    (tmp_path / "00001.ds").touch()  # a shard of which everything was left out
    (tmp_path / "00001.ds.index").touch()
    files = [tmp_path / "00000.ds", tmp_path / "00001.ds"]
    found = TokenFiles("some", files, 10, lambda ids: ids.index(8) + 1)
    assert [list(found[n].labels) for n in range(2)] == [[IGNORED, IGNORED, 9], [IGNORED, IGNORED]]
    small = TokenFiles("some", files, 9, lambda ids: 0)
    with pytest.raises(SourceError, match=r"00000\.ds: document 0 has id 9.*vocabulary of 9"):
        small[0]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    write_token_files(tmp_path / "one", examples(1))
    path = tmp_path / "one" / NAME
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(SourceError, match=r"documents\.ds holds \d+ ids, its index is of"):
        TokenFiles("some", [path], 100, no_rule)
    path.with_name(f"{NAME}.index").unlink()
    with pytest.raises(SourceError, match=r"cannot read .*\.index"):
        TokenFiles("some", [path], 100, no_rule)


def test_nothing_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="would hold nothing"):
        write_token_files(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()
