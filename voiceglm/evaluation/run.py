"""Every table by its name, measured one after the other and kept."""

import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from voiceglm.evaluation import (
    codes,
    intent,
    people,
    reconstruction,
    reply,
    spoken_lm,
    spoken_qa,
    style,
    turns,
)
from voiceglm.evaluation.subject import Settings, Subject, load_subject
from voiceglm.evaluation.tables import TABLE, Circumstances, Table, keep_table
from voiceglm.report import commit

TABLES: dict[str, Callable[[Subject], Table]] = {
    module.NAME: module.measure
    for module in (codes, reconstruction, spoken_lm, spoken_qa, reply, turns, style, intent, people)
}
"""What measures each table."""


def missing(output: Path, names: Sequence[str]) -> list[str]:
    """Return those of several tables that an output folder does not hold yet."""
    return [name for name in names if not (output / name / TABLE).is_file()]


def measure_tables(settings: Settings, names: Sequence[str], command: str) -> Iterator[str]:
    """Measure tables, keep each in a folder of its own, and give their Markdown as they come.

    Args:
        settings: What is measured.
        names: Of :data:`TABLES`.
        command: What was typed, for the record.

    Raises:
        CheckpointError: If a model is missing or damaged.
        OutputError: If results cannot be written.
    """
    subject = load_subject(settings)
    settings.output.mkdir(parents=True, exist_ok=True)
    circumstances = _circumstances(subject, command)  # of the start: the code that measures
    for name in names:
        yield keep_table(settings.output / name, TABLES[name](subject), circumstances)


def _circumstances(subject: Subject, command: str) -> Circumstances:
    threads = torch.get_num_threads()
    return Circumstances(
        model=subject.settings.model,
        recognizer=subject.recognizer_name,
        seed=subject.settings.seed,
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{platform.processor() or platform.machine()}, {threads} thread(s)",
        commit=commit(),
        command=command,
    )
