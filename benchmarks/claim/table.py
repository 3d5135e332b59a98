"""The rows of all runs as a table and a plot.

Letters used in shapes: S seeds, I items.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
from numpy.typing import NDArray

from benchmarks.claim.material import Row
from benchmarks.claim.measure import IDS
from benchmarks.claim.settings import ARMS
from voiceglm.evaluation.intervals import crossed_interval

READ, TAUGHT = False, True


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    Attributes:
        title: What it is called.
        name: ``measure`` of its rows.
        mark: The field of a row that says whether it is right.
        taught: Whether it is about taught places or only-read ones; ``None`` for rows without.
        chance: Percent that a guess among the answers of the relation, or of two, would reach.
    """

    title: str
    name: str
    mark: str = "right"
    taught: bool | None = None
    chance: float | None = None


_GUESS = 100 / 12
MEASURES = (
    Measure("only read, S->T", "S->T", taught=READ, chance=_GUESS),
    Measure("only read, S->S, answer heard", "S->T", "right_heard", READ, None),
    Measure("only read, S->S, closest answer", "S->T", "right_nearest", READ, _GUESS),
    Measure("only read, T->T", "T->T", taught=READ, chance=_GUESS),
    Measure("taught, S->T", "S->T", taught=TAUGHT, chance=_GUESS),
    Measure("taught, S->S, answer heard", "S->T", "right_heard", TAUGHT, None),
    Measure("taught, S->S, closest answer", "S->T", "right_nearest", TAUGHT, _GUESS),
    Measure("taught, T->T", "T->T", taught=TAUGHT, chance=_GUESS),
    Measure("only read, likeliest of 12, S->T", "chosen S->T", taught=READ, chance=_GUESS),
    Measure("only read, likeliest of 12, T->T", "chosen T->T", taught=READ, chance=_GUESS),
    Measure("taught, likeliest of 12, S->T", "chosen S->T", taught=TAUGHT, chance=_GUESS),
    Measure("taught, likeliest of 12, T->T", "chosen T->T", taught=TAUGHT, chance=_GUESS),
    Measure("pairs, S->S", "pairs S->S", chance=50.0),
    Measure("pairs, S->T", "pairs S->T", chance=50.0),
    Measure("pairs, T->S", "pairs T->S", chance=50.0),
    Measure("pairs, T->T", "pairs T->T", chance=50.0),
    Measure("name written down, asr", "asr"),
)
_PANELS: Sequence[tuple[str, Sequence[Measure], float]] = (
    ("questions about what was only read", (*MEASURES[:1], *MEASURES[2:4], MEASURES[8]), _GUESS),
    ("right end likelier than the wrong one", MEASURES[12:16], 50.0),
)
PUBLISHED = {"best before (Moshi)": 12.5, "GLM-4-Voice, interleaved": 31.0}
"""Percent of spoken answers that are right, the mean of three sets (Zeng et al. 2024, table 4)."""


@dataclass(frozen=True)
class Result:
    """A figure of one arm, in percent."""

    value: float
    interval: tuple[float, float] | None
    by_seed: Sequence[float]

    def __str__(self) -> str:
        """Return the mean, its interval, and each seed's figure."""
        seeds = " / ".join(f"{each:.1f}" for each in self.by_seed)
        if self.interval is None:
            return f"{self.value:.1f} ({seeds})"
        low, high = self.interval
        return f"{self.value:.1f} [{low:.1f}, {high:.1f}] ({seeds})"


Runs = Mapping[str, Mapping[int, Sequence[Row]]]
"""The rows of each seed of each arm."""


def marks(rows: Iterable[Row], measure: Measure) -> list[float]:
    """Return the marks of one measure, in percent, in the order of the items."""
    return [
        100.0 * row[measure.mark]
        for row in rows
        if row["measure"] == measure.name
        and measure.mark in row
        and (measure.taught is None or row["taught"] == measure.taught)
    ]


def matrix(runs: Mapping[int, Sequence[Row]], measure: Measure) -> NDArray[np.float64]:
    """Return the marks of an arm: (S, I)."""
    return np.array([marks(runs[seed], measure) for seed in sorted(runs)], np.float64)


def result(values: NDArray[np.float64]) -> Result:
    """Sum up (S, I) marks."""
    return Result(float(values.mean()), crossed_interval(values), values.mean(1).tolist())


def table(runs: Runs, ceiling: Sequence[Row] = ()) -> str:
    """Return the table as Markdown: a line for each measure that was taken, a column for each arm.

    The last column is what interleaving changes: ``full`` minus ``none`` on the same questions,
    seed by seed.
    """
    arms = [arm for arm in ARMS if runs.get(arm)]
    differ = {"none", "full"} <= set(arms) and runs["none"].keys() == runs["full"].keys()
    heads = ["%", "chance", *arms, *(["full - none"] if differ else [])]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for measure in MEASURES:
        found = {arm: matrix(runs[arm], measure) for arm in arms}
        if not all(values.size for values in found.values()):
            continue
        cells = [str(result(values)) for values in found.values()]
        if differ:
            cells.append(str(result(found["full"] - found["none"])))
        chance = "" if measure.chance is None else f"{measure.chance:.1f}"
        lines.append(f"| {' | '.join([measure.title, chance, *cells])} |")
    counted = [_mean_ids(runs[arm]) for arm in arms]
    if all(counted):
        cells = [IDS, "", *(f"{count:,}" for count in counted), *([""] if differ else [])]
        lines.append(f"| {' | '.join(cells)} |")
    for mark, title in (("right_heard", "answer heard"), ("right_nearest", "closest answer")):
        heard = [100.0 * row[mark] for row in ceiling]
        if heard:
            lines.append(f"\nCeiling of S->S, {title}: {sum(heard) / len(heard):.1f} %.")
    return "\n".join(lines) + "\n"


def _mean_ids(runs: Mapping[int, Sequence[Row]]) -> int:
    counts = [row["count"] for rows in runs.values() for row in rows if row["measure"] == IDS]
    return round(sum(counts) / max(1, len(counts)))


def draw(runs: Runs, path: Path) -> None:
    """Draw the figures by the share of documents that is interleaved, beside the published ones."""
    arms = [arm for arm in ARMS if runs.get(arm)]
    figure = Figure(figsize=(11, 4), layout="constrained")
    places = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    for axes, (title, measures, chance) in zip(places, _PANELS, strict=False):
        for measure in measures:
            found = {arm: matrix(runs[arm], measure) for arm in arms}
            if all(values.size for values in found.values()):
                _curve(axes, measure, {arm: result(each) for arm, each in found.items()})
        axes.axhline(chance, color="gray", linewidth=1, linestyle=":", label="chance")
        axes.set(title=title, xlabel="% of documents interleaved", ylabel="% right")
        axes.set(xticks=[100 * share for share in ARMS.values()], ylim=(0, 103))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    places[2].bar(list(PUBLISHED), list(PUBLISHED.values()), color=["0.7", "tab:orange"], width=0.6)
    places[2].set(title="published, S->S, other questions", ylabel="% right", ylim=(0, 103))
    places[2].tick_params(axis="x", labelsize=7)
    figure.savefig(path, dpi=110)


def _curve(axes: Any, measure: Measure, results: Mapping[str, Result]) -> None:
    shares = [100 * ARMS[arm] for arm in results]
    means = [each.value for each in results.values()]
    label = measure.title.removeprefix("only read, ").removeprefix("pairs, ")
    (line,) = axes.plot(shares, means, "o-", label=label)
    for share, each in zip(shares, results.values(), strict=True):
        axes.plot([share] * len(each.by_seed), each.by_seed, ".", color=line.get_color(), alpha=0.5)
        if each.interval:
            axes.plot([share] * 2, each.interval, color=line.get_color(), linewidth=1, alpha=0.6)
