"""What a run says of itself: JSON lines, TensorBoard where it is installed, curves."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from voiceglm.errors import OutputError
from voiceglm.files import write_file

METRICS = "metrics.jsonl"
CURVES = "curves.png"
TENSORBOARD = "tensorboard"
_HIDDEN = ("epoch", "seconds", "total_flos", "train_runtime", "train_loss")  # of no use as curves
_SMOOTHED = 40  # points that a curve is averaged down to


class TrainingLog:
    """Appends what is measured to the files of a run's folder.

    Args:
        folder: Of the run's checkpoints.
        step: Where the run goes on; what a stopped run measured behind it is forgotten.
    """

    def __init__(self, folder: Path, step: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / METRICS
        _forget_after(self._path, step)
        self._board = _open_board(folder / TENSORBOARD, step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values of a step.

        Raises:
            OutputError: If the file cannot be written.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from None
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what TensorBoard still holds back."""
        if self._board is not None:
            self._board.close()


class Gauge(TrainerCallback):
    """A callback that has something to write down; ``fit`` gives it the run's log."""

    log: TrainingLog | None = None  # None in processes that write nothing


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Return the rows of a run, in order; a line that a kill cut short is passed over."""
    path = folder / METRICS
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def plot_run(folder: Path) -> Path | None:
    """Draw every curve of a run; return the picture, or ``None`` where matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    curves = _curves(read_metrics(folder))
    if not curves:
        return None
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, columns, squeeze=False).flat
    for place in places:
        place.set_visible(False)
    for place, (name, points) in zip(figure.axes, curves.items(), strict=False):
        place.set_visible(True)
        steps, values = zip(*points, strict=True)
        place.plot(steps, values, color="0.75", linewidth=0.8)
        place.plot(*zip(*_smooth(points), strict=True), color="tab:blue", linewidth=1.4)
        place.set_title(name.replace("_", " "), fontsize=9)
        place.set_xlabel("step", fontsize=8)
        place.tick_params(labelsize=7)
        place.grid(alpha=0.3)
    picture = folder / CURVES
    figure.savefig(picture, dpi=110)
    return picture


def _forget_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    rows = [row for row in read_metrics(path.parent) if row["step"] <= step]
    write_file(path, "".join(f"{json.dumps(row)}\n" for row in rows).encode())


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415  an extra
    except ModuleNotFoundError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


def _curves(rows: list[dict[str, float]]) -> dict[str, list[tuple[float, float]]]:
    """Return the points of every measure that was taken more than once."""
    curves: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            if name != "step" and not name.startswith(_HIDDEN):
                curves[name].append((row["step"], value))
    return {name: points for name, points in curves.items() if len(points) > 1}


def _smooth(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average neighbouring points, down to a few."""
    size = -(-len(points) // _SMOOTHED)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]
