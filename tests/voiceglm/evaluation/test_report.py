"""The page of what must be reached: every bar has its figure, what is missing is not hidden."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.voiceglm.evaluation.test_reconstruction import voiced_subject
from tests.voiceglm.evaluation.tiny import Ear, scripted, subject
from voiceglm.cli import main
from voiceglm.errors import ConfigError
from voiceglm.evaluation import codes, nano_world, reconstruction, reply, turns
from voiceglm.evaluation.bars import BARS, Bar, judge, needed, read_tables
from voiceglm.evaluation.tables import TABLE, Circumstances, Figure, Table, keep_table
from voiceglm.report import summarize

HERE = Circumstances(
    model="tiny", recognizer="an ear", seed=3, date="2026-01-01", machine="a machine",
    commit="abc", command="voiceglm evaluate nano",
)  # fmt: skip
SPEEDS = {
    "parts_ms": {"total": {"p50": 312.0, "p95": 400.0}},
    "real_time_factors": {"whole_loop": {"p50": 0.61, "p95": 0.7}},
    "threads": 1,
    "repeats": 20,
}


def kept(output: Path, value: float) -> None:
    """Keep every table with every figure that a bar asks for."""
    english = nano_world.QUESTIONS["en"]
    for name in needed():
        figures = [
            Figure(set=bar.set, what=bar.what, system=bar.system, value=value, count=7)
            for bar in BARS
            if bar.table == name
        ]
        figures.append(Figure(set=english, what="right replies, days", value=12.5, count=2))
        table = Table(name=name, title=name, protocol=[], figures=figures)
        keep_table(output / name, table, HERE)


@pytest.mark.parametrize(
    ("bar", "value", "reached"),
    [
        (Bar("t", "s", "w", at_least=95.0), 95.0, True),
        (Bar("t", "s", "w", at_least=95.0), 94.9, False),
        (Bar("t", "s", "w", at_most=2.0), 2.0, True),
        (Bar("t", "s", "w", at_most=2.0), 2.1, False),
        (Bar("t", "s", "w"), 2.1, None),
    ],
)
def test_a_bar_is_reached_or_not(bar: Bar, value: float, reached: bool | None) -> None:
    assert bar.is_reached(value) is reached


def test_every_bar_has_its_figure(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    counts = {"num_questions": 4, "num_readings": 1}
    talking = scripted(tmp_path, lambda samples: "this", ear=Ear(""), **counts)
    subjects = {
        codes: subject(tmp_path, ear=Ear(""), **counts),
        reconstruction: voiced_subject(tmp_path, ear=Ear(""), **counts),
        reply: talking,
        turns: talking,
    }
    found = {module.NAME: asdict(module.measure(one)) for module, one in subjects.items()}
    rare = {turns.right(kind) for kind in (turns.MEMORY, turns.FOLLOW_UP, turns.BACK)}
    rare.add(reconstruction.to_vocoded("median pitch error"))  # what random weights say has none
    missing = [
        each.bar
        for each in judge(found)
        if each.value is None and each.bar.table in found and each.bar.what not in rare
    ]
    assert missing == []


def test_the_page_says_what_is_reached_and_what_was_not_measured(
    nano: Path, tmp_path: Path
) -> None:
    kept(tmp_path, 90.0)
    (tmp_path / "turns" / TABLE).unlink()
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps(SPEEDS))
    lines = summarize(tmp_path, "nano", bench).splitlines()
    english, chinese = nano_world.QUESTIONS.values()
    assert f"| right replies | {english} | 90.00 % |  | 7 | at least 95 | no |" in lines
    assert f"| ASR-CER | {chinese} | 90.00 % |  | 7 | at most 6 | no |" in lines
    use = f"| codebook in use | {codes.EVERYTHING} | 90.00 % |  | 7 | at least 80 | yes |"
    assert use in lines
    (memory, *_) = (x for x in lines if turns.right(turns.MEMORY) in x)
    assert memory.endswith("| not measured |  |  | at least 85 |  |")
    timed = "voiceglm bench, 1 thread(s)"
    assert (
        f"| first sound after the end of speech | {timed} | 312.00 ms |  | 20 | at most 400 | yes |"
        in lines
    )
    assert f"| whole loop, real-time factor | {timed} | 0.61 |  | 20 | at most 0.5 | no |" in lines
    (size,) = (x for x in lines if x.startswith("| size |"))
    assert size.endswith("| at most 48 | yes |")
    assert "| days | 12.5 |" in lines
    assert any("commit abc" in line for line in lines)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["right_by_skill"]["en"] == {"days": 12.5}
    assert {row["reached"] for row in summary["bars"]} == {True, False, None}
    assert (tmp_path / "summary.md").read_text() == "\n".join(lines) + "\n"


def test_speeds_that_were_not_timed_are_named(nano: Path, tmp_path: Path) -> None:
    text = summarize(tmp_path, "nano", None)
    assert "| first sound after the end of speech | voiceglm bench | not measured |" in text


def test_damaged_results_are_one_clear_line(nano: Path, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text('{"parts_ms": {}}')
    with pytest.raises(ConfigError, match="is not what voiceglm bench -o writes"):
        summarize(tmp_path, "nano", tmp_path / "bench.json")
    kept(tmp_path, 1.0)
    (tmp_path / "codes" / TABLE).write_text("{")
    with pytest.raises(ConfigError, match=r"codes/table\.json is no table: .*measure codes again"):
        read_tables(tmp_path, ["codes"])


def test_tables_that_are_there_are_kept_on_resuming(
    nano: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(settings: object) -> None:
        raise AssertionError("nothing is left to measure")

    monkeypatch.setattr("voiceglm.evaluation.run.load_subject", load)
    kept(tmp_path, 100.0)
    assert main(["evaluate", "nano", "--resume", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == (tmp_path / "summary.md").read_text().strip()
