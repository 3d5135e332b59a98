"""A plan is frozen: whatever differs later is refused by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from data_synth.plan import PLAN, Plan, SynthesisConfig, make_plan, read_plan, write_plan
from data_synth.spans import SpanConfig
from tests.data_synth.tiny import documents
from voiceglm.config import build
from voiceglm.errors import ConfigError, OutputError, SourceError

CONFIG = SynthesisConfig(documents_per_shard=10)
MODELS = {"text_to_token": "abc"}


def make(paths: list[Path], **changes: Any) -> Plan:
    return make_plan(paths, replace(CONFIG, **changes), MODELS)


def test_rows_are_cut_into_shards(tmp_path: Path) -> None:
    first, second = (documents(tmp_path / f"{n}.jsonl", 25) for n in "ab")
    plan = make([tmp_path])
    assert [source.num_rows for source in plan.sources] == [25, 25]
    ranges = [(shard.source, shard.start, shard.stop) for shard in plan.shards]
    assert ranges == [(s, a, min(a + 10, 25)) for s in (0, 1) for a in (0, 10, 20)]
    again = {row for shard in plan.shards[3:] for row in shard.duplicates}
    assert again == set(range(25)), "the second file says what the first did"
    assert not any(shard.duplicates for shard in plan.shards[:3])
    assert not any(shard.duplicates for shard in make([tmp_path], deduplicate=False).shards)
    assert str(first.resolve()) == plan.sources[0].path
    assert str(second.resolve()) == plan.sources[1].path


def test_a_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    plan = make([documents(tmp_path / "a.jsonl", 25)])
    assert write_plan(plan, tmp_path / "corpus")
    assert not write_plan(plan, tmp_path / "corpus"), "it is there already"
    assert read_plan(tmp_path / "corpus") == plan
    assert read_plan(tmp_path / "corpus").digest == plan.digest


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"spans": SpanConfig(share=0.5)}, "spans.share was 0.3, is 0.5"),
        ({"documents_per_shard": 5}, "documents_per_shard was 10, is 5"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    path = documents(tmp_path / "a.jsonl", 25)
    write_plan(make([path]), tmp_path / "corpus")
    with pytest.raises(ConfigError, match=what):
        write_plan(make([path], **changes), tmp_path / "corpus")


def test_other_sources_and_models_are_refused(tmp_path: Path) -> None:
    path = documents(tmp_path / "a.jsonl", 25)
    write_plan(make([path]), tmp_path / "corpus")
    other = make_plan([path], CONFIG, {"text_to_token": "def"})
    with pytest.raises(ConfigError, match=r"models.text_to_token was abc, is def"):
        write_plan(other, tmp_path / "corpus")
    more = documents(tmp_path / "b.jsonl", 5)
    with pytest.raises(ConfigError, match=r"b.jsonl is new"):
        write_plan(make([path, more]), tmp_path / "corpus")
    path.write_text(path.read_text().replace("doc-3", "doc-x"))
    with pytest.raises(ConfigError, match=r"a.jsonl has changed"):
        write_plan(make([path]), tmp_path / "corpus")


def test_files_that_cannot_be_read_are_left_out_and_told(tmp_path: Path) -> None:
    documents(tmp_path / "good.jsonl", 3)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    plan = make([tmp_path])
    assert len(plan.sources) == 1
    assert list(plan.unreadable) == [str(tmp_path / "bad.parquet")]
    parquet.write_table(pa.table({"content": ["a b c"]}), tmp_path / "other.parquet")
    for deduplicate in (True, False):
        plan = make([tmp_path], deduplicate=deduplicate)
        reason = plan.unreadable[str(tmp_path / "other.parquet")]
        assert "has no column 'text'; it has content" in reason
    (tmp_path / "other.parquet").unlink()
    (tmp_path / "good.jsonl").unlink()
    with pytest.raises(SourceError, match="nothing to do: cannot read"):
        make([tmp_path])


def test_folders_that_are_no_synthesis(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make one with: voiceglm synth plan"):
        read_plan(tmp_path)
    plan = make([documents(tmp_path / "a.jsonl", 5)])
    with pytest.raises(OutputError, match="exists already and holds no plan"):
        write_plan(plan, tmp_path)
    (tmp_path / "corpus").mkdir()
    for content in ("{", "[]", json.dumps({"config": {}}), '{"config": 3}'):
        (tmp_path / "corpus" / PLAN).write_text(content)
        with pytest.raises(ConfigError):
            read_plan(tmp_path / "corpus")


@pytest.mark.parametrize(
    "changes", [{"documents_per_shard": 0}, {"max_units": 0}, {"engine": "magic"}]
)
def test_impossible_settings(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        build(SynthesisConfig, changes)
