"""Figures that others published, in ``published.yaml``: shown beside ours, never computed with."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from voiceglm.config import build, load_yaml


@dataclass(frozen=True, kw_only=True)
class Published:
    """The published rows of one table."""

    source: str
    columns: tuple[str, ...]
    rows: dict[str, Any]  # of each system one value a column, None where none was published


def published(table: str) -> Published | None:
    """Return what was published of a table; nothing if there is none.

    Raises:
        ConfigError: If the file that comes with the package is damaged.
    """
    path = Path(str(files("voiceglm").joinpath("evaluation", "published.yaml")))
    found = load_yaml(path).get(table)
    return None if found is None else build(Published, found, where=f"{table}.")
