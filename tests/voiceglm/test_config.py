"""YAML to dataclasses: what fits is converted, what does not is named."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from voiceglm.config import build, load_yaml, override
from voiceglm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Optim:
    peak_lr: float = 3e-4
    steps: int = 10
    betas: tuple[float, float] = (0.9, 0.95)

    def __post_init__(self) -> None:
        if self.peak_lr <= 0:
            raise ConfigError(f"optim.peak_lr must be positive, got {self.peak_lr}")


@dataclass(frozen=True, kw_only=True)
class Run:
    name: str
    optim: Optim = field(default_factory=Optim)
    widths: tuple[int, ...] = ()
    stages: tuple[Optim, ...] = ()
    precision: Literal["auto", "float32"] = "auto"
    limit: int | None = None
    size: int | str = 1
    folder: Path | None = None
    shuffle: bool = True
    weights: dict[str, float] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    anything: Any = None


def test_everything_a_field_may_be() -> None:
    values = {
        "name": "try",
        "optim": {"peak_lr": 1, "betas": [0, 1]},
        "widths": [1, 2],
        "stages": [{"steps": 5}, {}],
        "precision": "float32",
        "limit": 3,
        "size": "big",
        "folder": "runs/try",
        "shuffle": False,
        "weights": {"en": 1},
        "names": ["a"],
        "anything": [1, "b"],
    }
    run = build(Run, values)
    assert run == Run(
        name="try",
        optim=Optim(peak_lr=1.0, betas=(0.0, 1.0)),
        widths=(1, 2),
        stages=(Optim(steps=5), Optim()),
        precision="float32",
        limit=3,
        size="big",
        folder=Path("runs/try"),
        shuffle=False,
        weights={"en": 1.0},
        names=["a"],
        anything=[1, "b"],
    )
    assert isinstance(run.optim.peak_lr, float)
    assert isinstance(run.optim.betas, tuple)


def test_what_is_left_out_keeps_its_default() -> None:
    assert build(Run, {"name": "a", "limit": None}) == Run(name="a")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optim": {"peek_lr": 1}}, "unknown setting optim.peek_lr; did you mean optim.peak_lr?"),
        ({"optim": {"xyz": 1}}, "unknown setting optim.xyz; known: betas, peak_lr, steps"),
        ({"optim": {"peak_lr": "3e-4"}}, "optim.peak_lr must be float, got '3e-4'"),
        ({"optim": {"steps": 1.5}}, "optim.steps must be int, got 1.5"),
        ({"optim": {"steps": True}}, "optim.steps must be int, got True"),
        ({"optim": {"peak_lr": True}}, "optim.peak_lr must be float, got True"),
        ({"optim": {"steps": None}}, "optim.steps must be int, got None"),
        ({"optim": {"peak_lr": -1}}, "optim.peak_lr must be positive, got -1.0"),
        ({"optim": {"betas": [1]}}, "optim.betas must hold 2 values, got 1: [1]"),
        ({"optim": 3}, "optim must hold settings (name: value), got 3"),
        ({"widths": [1, "b"]}, "widths[1] must be int, got 'b'"),
        ({"widths": "12"}, "widths must be tuple[int, ...], got '12'"),
        ({"stages": [{}, {"step": 1}]}, "unknown setting stages[1].step"),
        ({"precision": "half"}, "precision must be 'auto' or 'float32', got 'half'"),
        ({"limit": "x"}, "limit must be int, got 'x'"),
        ({"size": 1.5}, "size must be int | str, got 1.5"),
        ({"shuffle": 1}, "shuffle must be bool, got 1"),
        ({"weights": {"en": "x"}}, "weights.en must be float, got 'x'"),
        ({"weights": 3}, "weights must be dict[str, float], got 3"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Run, {"name": "a", **values})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ConfigError, match=r"run\.name is missing"):
        build(Run, {}, where="run.")


def test_load_yaml_reads_numbers_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("optim: {peak_lr: 3e-4, steps: 1_000}\nname: try\n")
    assert load_yaml(path) == {"optim": {"peak_lr": 3e-4, "steps": 1000}, "name": "try"}
    path.write_text("")
    assert load_yaml(path) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "is not YAML"),
        (b"a: 1\nb: 2\na: 3", r"'a' is given twice \(line 3\)"),
        (b"- 1", "holds list, expected settings"),
        (b"\xff\xfe\x00", "is not text"),
        (b"a: !!python/object:os.system x", "is not YAML"),
        (b"[" * 3000, "is not YAML"),
        (b"a: \x07", "is not YAML"),
    ],
)
def test_load_yaml_refuses(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_yaml(path)
    assert "\n" not in str(caught.value)


def test_load_yaml_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_yaml(tmp_path / "nope.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        load_yaml(tmp_path)


def test_override_changes_a_copy() -> None:
    values = {"optim": {"steps": 1}, "empty": None}
    settings = ["optim.steps=20", "optim.peak_lr=1e-3", "new.deep=[1, x]", "empty.a=", "name=a=b"]
    assert override(values, settings) == {
        "optim": {"steps": 20, "peak_lr": 1e-3},
        "new": {"deep": [1, "x"]},
        "empty": {"a": None},
        "name": "a=b",
    }
    assert values == {"optim": {"steps": 1}, "empty": None}


@pytest.mark.parametrize("setting", ["optim", "=3", "a..b=1", ".a=1", "optim.steps.more=1", "a=[1"])
def test_override_refuses(setting: str) -> None:
    with pytest.raises(ConfigError):
        override({"optim": {"steps": 1}}, [setting])
