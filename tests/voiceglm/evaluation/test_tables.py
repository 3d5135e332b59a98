"""Tables: ours stands in the published column, nothing is hidden, everything is kept."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from voiceglm.config import load_yaml
from voiceglm.error_rate import ErrorRate
from voiceglm.evaluation.published import Published, published
from voiceglm.evaluation.run import TABLES
from voiceglm.evaluation.tables import (
    Circumstances,
    Skipped,
    Table,
    error_figure,
    keep_rows,
    keep_table,
    markdown,
    ratio,
    slug,
)

HERE = Circumstances(
    model="tiny",
    recognizer="an ear",
    seed=3,
    date="2026-01-01",
    machine="a machine",
    commit="abc",
    command="voiceglm evaluate codes",
)
BESIDE = Published(
    source="a paper.",
    columns=("rate", "error"),
    rows={"theirs": [12.5, None], "other": [50.0, 1.5]},
)


def table(**changes: object) -> Table:
    figures = [
        ratio("a set", "codes", [12.5], scale=1.0, unit="/s", column="rate"),
        ratio("a set", "wrong", [1.0, 0.0, 0.0, 1.0], column="error", system="reader"),
        ratio("a set", "wrong", [0.0, 0.0, 0.0, 1.0], column="error", system="head"),
    ]
    about = {"name": "codes", "title": "A title", "protocol": ["How."], "figures": figures}
    return Table(**{**about, **changes})  # type: ignore[arg-type]


def test_our_systems_stand_in_the_published_columns() -> None:
    text = markdown(table(), HERE, BESIDE)
    assert "| system | rate | error |" in text
    assert "| **tiny, reader** (ours) | 12.50 | 50.00 |" in text
    assert "| **tiny, head** (ours) | 12.50 | 25.00 |" in text
    assert "| theirs | 12.50 | - |" in text
    assert text.index("ours") < text.index("theirs")


def test_what_was_skipped_is_named_with_its_reason() -> None:
    text = markdown(table(skipped=[Skipped("TriviaQA", "not there")]), HERE, None)
    assert "- TriviaQA: not there" in text


def test_a_figure_shows_its_interval_and_its_items() -> None:
    (line,) = (x for x in markdown(table(), HERE, None).splitlines() if "wrong, reader" in x)
    assert line == "| a set | wrong, reader | 50.00 % | 0.0 to 100.0 | 4 |"


def test_an_error_rate_is_over_all_items() -> None:
    found = error_figure("a set", "wrong words", [ErrorRate(1, 1), ErrorRate(0, 3)])
    assert (found.value, found.count) == (25.0, 2)


def test_json_holds_figures_circumstances_and_published_rows(tmp_path: Path) -> None:
    text = keep_table(tmp_path / "codes", table(), HERE)
    kept = json.loads((tmp_path / "codes" / "table.json").read_text())
    assert (tmp_path / "codes" / "table.md").read_text() == text
    assert [figure["value"] for figure in kept["figures"]] == [12.5, 50.0, 25.0]
    assert kept["seed"] == 3
    assert "GLM tokenizer, 12.5 Hz (released)" in kept["published"]["rows"]


def test_rows_are_kept_under_a_plain_name(tmp_path: Path) -> None:
    keep_rows(tmp_path / "new", "LibriSpeech test-clean, S->S", [{"said": "é"}])
    assert (tmp_path / "new" / "librispeech_test_clean_s_s.jsonl").read_text() == '{"said": "é"}\n'
    assert slug("../a b") == "a_b"


PUBLISHED = Path(str(files("voiceglm").joinpath("evaluation", "published.yaml")))


@pytest.mark.parametrize("name", load_yaml(PUBLISHED))
def test_published_rows_are_those_of_a_table_and_have_its_columns(name: str) -> None:
    assert name in TABLES
    found = published(name)
    assert found
    assert found.source
    for system, values in found.rows.items():
        assert len(values) == len(found.columns), system
        assert any(value is not None for value in values), system
