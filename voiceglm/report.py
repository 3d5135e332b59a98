"""The page of ``voiceglm evaluate nano``: what was measured beside what must be reached."""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from voiceglm.checkpoint import resolve
from voiceglm.errors import ConfigError
from voiceglm.evaluation import nano_world, reply
from voiceglm.evaluation.bars import Bar, Judged, judge, needed, read_tables
from voiceglm.files import write_file


def summarize(output: Path, model: str, bench: Path | None) -> str:
    """Write ``summary.json`` and ``summary.md`` of the tables in a folder, and return the latter.

    Args:
        output: Where the tables were measured.
        model: Whose files are weighed.
        bench: What ``voiceglm bench -o`` wrote, for the speeds.

    Raises:
        CheckpointError: If there is no such model.
        ConfigError: If a table or ``bench`` is damaged.
        OutputError: If the files cannot be written.
    """
    tables = read_tables(output, needed())
    judged = [*judge(tables), *_speeds(bench), _size(model)]
    skills = {name: _by_skill(table) for name, table in tables.items() if name == reply.NAME}
    text = "\n".join([*_page(judged), *_skills(skills.get(reply.NAME, {})), *_sources(tables)])
    summary = {
        "bars": [asdict(each) for each in judged],
        "right_by_skill": skills.get(reply.NAME, {}),
        "tables": {name: _circumstances(table) for name, table in tables.items()},
    }
    write_file(output / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())
    write_file(output / "summary.md", f"{text}\n".encode())
    return f"{text}\n"


def commit() -> str:
    """Return the commit of the checkout that is worked in, if it is one."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def _speeds(bench: Path | None) -> Iterable[Judged]:
    """Judge the speeds that were timed, if they were."""
    first = Bar("bench", "voiceglm bench", "first sound after the end of speech", at_most=400.0)
    loop = Bar("bench", "voiceglm bench", "whole loop, real-time factor", at_most=0.5)
    if bench is None:
        return [Judged(first), Judged(loop)]
    try:
        row = json.loads(bench.read_text(encoding="utf-8"))
        first, loop = (
            replace(bar, set=f"{bar.set}, {row['threads']} thread(s)") for bar in (first, loop)
        )
        values = row["parts_ms"]["total"]["p50"], row["real_time_factors"]["whole_loop"]["p50"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{bench} is not what voiceglm bench -o writes: {error!r}") from None
    return [
        Judged(bar, value, unit, None, row["repeats"], bar.is_reached(value))
        for bar, value, unit in zip((first, loop), values, ("ms", ""), strict=True)
    ]


def _size(model: str) -> Judged:
    bar = Bar("files", "all files of the model", "size", at_most=48.0)
    sizes = [path.stat().st_size for path in resolve(model).rglob("*") if path.is_file()]
    megabytes = sum(sizes) / 1e6
    return Judged(bar, megabytes, "MB", None, len(sizes), bar.is_reached(megabytes))


def _by_skill(table: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the share of right replies of each skill, by language."""
    start = "right replies, "
    return {
        language: {
            figure["what"].removeprefix(start): figure["value"]
            for figure in table["figures"]
            if figure["set"] == name and figure["what"].startswith(start)
        }
        for language, name in nano_world.QUESTIONS.items()
    }


def _page(judged: Sequence[Judged]) -> Iterable[str]:
    yield "| what | measured on | measured | 95 % | items | must reach | reached |"
    yield "|---|---|---|---|---|---|---|"
    for each in judged:
        bar = each.bar
        what = f"{bar.what}, {bar.system}" if bar.system else bar.what
        if each.value is None:
            cells = ("not measured", "", "")
        else:
            ends = "" if each.interval is None else " to ".join(f"{x:.2f}" for x in each.interval)
            cells = (f"{each.value:.2f} {each.unit}".strip(), ends, str(each.count))
        verdict = {None: "", True: "yes", False: "no"}[each.reached]
        yield f"| {what} | {bar.set} | {' | '.join(cells)} | {bar} | {verdict} |"
    yield ""


def _skills(by_language: Mapping[str, Mapping[str, float]]) -> Iterable[str]:
    for language, shares in by_language.items():
        yield from (f"| skill, {language} | right replies, % |", "|---|---|")
        yield from (f"| {skill} | {share:.1f} |" for skill, share in shares.items())
        yield ""


def _sources(tables: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for name, table in tables.items():
        about = _circumstances(table)
        yield (
            f"{name}: {about['date']}, {about['machine']}, commit {about['commit']},"
            f" seed {about['seed']}, `{about['command']}`."
        )


def _circumstances(table: Mapping[str, Any]) -> dict[str, Any]:
    names = ("model", "recognizer", "seed", "date", "machine", "commit", "command")
    return {name: table[name] for name in names}
