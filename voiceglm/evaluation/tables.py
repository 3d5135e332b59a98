"""A table of results: figures with their intervals, what was skipped and why, as JSON and Markdown.

The rows a table was computed from are kept beside it, one JSON object a line.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voiceglm.error_rate import ErrorRate
from voiceglm.evaluation.intervals import interval
from voiceglm.evaluation.published import Published, published
from voiceglm.files import write_file, write_json_lines

Row = Mapping[str, Any]
TABLE = "table.json"
"""Of a table's folder, what holds its figures."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured value."""

    set: str  # what it was measured on
    what: str
    value: float
    unit: str = "%"
    count: int  # items it was computed from
    interval: tuple[float, float] | None = None  # 95 %, in the same unit
    column: str = ""  # of the published table it may be compared with
    system: str = ""  # which row of ours that is, such as "language model as reader"


@dataclass(frozen=True)
class Skipped:
    """A set or a measure that was left out."""

    what: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the papers."""

    name: str
    title: str
    protocol: Sequence[str]  # how it was measured, one sentence each
    figures: Sequence[Figure]
    skipped: Sequence[Skipped] = ()


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """Where figures come from."""

    model: str
    recognizer: str
    seed: int
    date: str
    machine: str
    commit: str
    command: str


def ratio(
    set_: str,
    what: str,
    parts: Sequence[float],
    wholes: Sequence[float] | None = None,
    *,
    scale: float = 100.0,
    **about: Any,
) -> Figure:
    """Return a ratio of sums, or a mean, with its interval.

    Args:
        set_: What it was measured on.
        what: What it is.
        parts: Of each item.
        wholes: Of each item; ones if there are none.
        scale: 100 for percent.
        about: Further fields of the figure.
    """
    wholes = [1.0] * len(parts) if wholes is None else wholes
    ends = interval(parts, wholes)
    return Figure(
        set=set_,
        what=what,
        value=scale * sum(parts) / max(1e-12, sum(wholes)) if parts else float("nan"),
        count=len(parts),
        interval=None if ends is None else (scale * ends[0], scale * ends[1]),
        **about,
    )


def error_figure(set_: str, what: str, errors: Sequence[ErrorRate], **about: Any) -> Figure:
    """Return an error rate over items, in percent, with its interval."""
    edits = [float(error.edits) for error in errors]
    return ratio(set_, what, edits, [float(error.length) for error in errors], **about)


def without_errors(
    rows: Sequence[Row],
    name: str,
    skipped: list[Skipped],
    *,
    what: str = "recordings cannot be used",
) -> list[Row]:
    """Return the rows of a set without an error.

    Args:
        rows: Of the set.
        name: What the set is called in the table.
        skipped: Is told how many others there are, and why the first is one.
        what: The others are.
    """
    errors = [row["error"] for row in rows if "error" in row]
    if errors:
        reason = f"{len(errors)} of {len(rows)} {what}, the first: {errors[0]}"
        skipped.append(Skipped(name, reason))
    return [row for row in rows if "error" not in row]


def keep_rows(folder: Path, name: str, rows: Iterable[Row]) -> None:
    """Write the rows of one set under a folder of its table.

    Raises:
        OutputError: If they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json_lines(folder / f"{slug(name)}.jsonl", rows)


def slug(name: str) -> str:
    """Return a name as it is used for a file."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def keep_table(folder: Path, table: Table, circumstances: Circumstances) -> str:
    """Write a table as ``table.json`` and ``table.md`` and return its Markdown.

    Raises:
        OutputError: If they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = published(table.name)
    summary = {**asdict(table), "published": beside and asdict(beside), **asdict(circumstances)}
    write_file(folder / TABLE, json.dumps(summary, indent=1, ensure_ascii=False).encode())
    text = markdown(table, circumstances, beside)
    write_file(folder / "table.md", text.encode())
    return text


def markdown(table: Table, circumstances: Circumstances, beside: Published | None) -> str:
    """Return a table as Markdown: what was measured, what was skipped, the published rows."""
    c = circumstances
    lines = [f"## {table.title}", "", *table.protocol, ""]
    lines += ["| measured on | what | value | 95 % | items |", "|---|---|---|---|---|"]
    lines += [
        f"| {f.set} | {_what(f)} | {_with_unit(f.value, f.unit)} | {_ends(f)} | {f.count} |"
        for f in table.figures
    ]
    if table.skipped:
        lines += ["", "Skipped:", ""]
        lines += [f"- {skipped.what}: {skipped.reason}" for skipped in table.skipped]
    if beside:
        lines += ["", *_beside(table, c, beside)]
    lines += [
        "",
        f"{c.date}, {c.machine}, commit {c.commit}, seed {c.seed}, recognizer {c.recognizer}, "
        f"`{c.command}`.",
    ]
    return "\n".join(lines) + "\n"


def _beside(table: Table, circumstances: Circumstances, beside: Published) -> Iterable[str]:
    """Give the published rows, ours first where a figure has a published column."""
    yield f"Published: {beside.source}"
    yield ""
    yield f"| system | {' | '.join(beside.columns)} |"
    yield "|---" * (len(beside.columns) + 1) + "|"
    for system, values in _ours(table.figures).items():
        name = f"{circumstances.model}, {system}" if system else circumstances.model
        yield _line(f"**{name}** (ours)", [values.get(column) for column in beside.columns])
    for name, values in beside.rows.items():
        yield _line(name, values)


def _ours(figures: Iterable[Figure]) -> dict[str, dict[str, float]]:
    """Return the values of each system of ours by column; what names no system is all of theirs."""
    found: dict[str, dict[str, float]] = {}
    for figure in figures:
        if figure.column:
            found.setdefault(figure.system, {})[figure.column] = figure.value
    shared = found.pop("", {})
    return {system: {**shared, **own} for system, own in found.items()} or {"": shared}


def _line(name: str, values: Sequence[Any]) -> str:
    return f"| {name} | {' | '.join(_cell(value) for value in values)} |"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _what(figure: Figure) -> str:
    return f"{figure.what}, {figure.system}" if figure.system else figure.what


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}".strip()


def _ends(figure: Figure) -> str:
    if figure.interval is None:
        return ""
    digits = 1 if figure.unit == "%" else 2
    return " to ".join(f"{end:.{digits}f}" for end in figure.interval)
