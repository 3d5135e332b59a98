"""A dry run for people and for programs: a table, and a JSON object."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from voiceglm.dry_run import GB, USABLE, Estimate
from voiceglm.recipe_config import Machine

_COLUMNS = (
    "stage",
    "parameters",
    "steps",
    "epochs",
    "data",
    "batch/GPU",
    "FLOP",
    "hours",
    "GB/GPU",
    "disk GB",
)


def table(name: str, machine: Machine, estimates: Sequence[Estimate]) -> str:
    """Return the lines of a dry run, what does not fit at their end."""
    rows = [_COLUMNS, *(_row(estimate) for estimate in estimates), _total(estimates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        f"{name}: {machine.gpus} GPU{'s' * (machine.gpus > 1)} of {machine.gpu_memory:g} GB and "
        f"{machine.gpu_tflops:g} TFLOP/s, {machine.utilisation:.0%} of it used",
        "",
    ]
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        cells = [f"{first[0]:{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]
        lines.append("  ".join(cells).rstrip())
    lines += ["", *(_detail(estimate) for estimate in estimates)]
    misfits = [estimate for estimate in estimates if not estimate.fits]
    lines += ["", *(_warning(estimate, machine) for estimate in misfits)] if misfits else []
    return "\n".join(lines) + "\n"


def as_dict(name: str, machine: Machine, estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Return the same as plain values; memory and disk in bytes."""
    stages = [
        {
            **asdict(estimate),
            "parameters": estimate.parameters,
            "memory": {**asdict(estimate.memory), "total": estimate.memory.total},
        }
        for estimate in estimates
    ]
    return {
        "recipe": name,
        "machine": asdict(machine),
        "stages": stages,
        "flop": sum(estimate.flop for estimate in estimates),
        "hours": sum(estimate.hours for estimate in estimates),
        "gpu_hours": sum(estimate.gpu_hours for estimate in estimates),
        "fits": all(estimate.fits for estimate in estimates),
    }


def _row(estimate: Estimate) -> tuple[str, ...]:
    learns = estimate.trainable
    return (
        estimate.stage,
        f"{estimate.parameters:,}",
        f"{estimate.steps:,}" if learns else "",
        f"{estimate.epochs:.2f}" if learns else "",
        _amount(estimate),
        f"{estimate.items_per_gpu:.4g}" if learns else "",
        f"{estimate.flop:.2e}",
        _hours(estimate.hours),
        f"{estimate.memory.total / GB:.1f}" + ("" if estimate.fits else " (!)"),
        f"{estimate.disk / GB:.1f}" if learns else "",
    )


def _total(estimates: Sequence[Estimate]) -> tuple[str, ...]:
    flop = sum(estimate.flop for estimate in estimates)
    hours = sum(estimate.hours for estimate in estimates)
    most = max(estimate.memory.total for estimate in estimates)
    disk = sum(estimate.disk for estimate in estimates)
    cells = (f"{flop:.2e}", _hours(hours), f"{most / GB:.1f}", f"{disk / GB:.1f}")
    return ("all", "", "", "", "", "", *cells)


def _amount(estimate: Estimate) -> str:
    if estimate.unit == "s":
        return f"{estimate.amount / 3600:,.0f} h"
    for size, sign in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if estimate.amount >= size:
            return f"{estimate.amount / size:.3g}{sign} ids"
    return f"{estimate.amount:,.0f} ids"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2f}"


def _detail(estimate: Estimate) -> str:
    """Return what a stage is made of, and what fills the memory."""
    parts = " + ".join(f"{name} {count:,}" for name, count in estimate.parts.items() if count)
    memory = asdict(estimate.memory)
    held = ", ".join(
        f"{name.replace('_', ' ')} {size / GB:.2f}" for name, size in memory.items() if size
    )
    plan = estimate.plan
    ways = [plan.sharding] if estimate.trainable else ["no training"]
    ways += ["layers computed twice"] if plan.recompute else []
    if plan.batches_per_step > 1:
        ways.append(f"{plan.batches_per_step} batches a step")
    return f"{estimate.stage}: {parts}; {', '.join(ways)}; GB: {held}"


def _warning(estimate: Estimate, machine: Machine) -> str:
    return (
        f"DOES NOT FIT: {estimate.stage} needs {estimate.memory.total / GB:.1f} GB, and "
        f"{USABLE:.0%} of {machine.gpu_memory:g} GB can be used; {estimate.advice}"
    )
