"""How far a synthesis has come, and what is in it."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_synth.ledger import LOG
from data_synth.plan import Plan
from data_synth.shards import finished, read_mark


@dataclass(frozen=True)
class Status:
    """A synthesis at one moment.

    Attributes:
        shards: Finished.
        total: Planned.
        counts: Sums over the finished shards.
        left_out: Documents that are not in the corpus, by reason.
        ids_per_second: Of the shards finished by the newest run here; None if it is not known.
        seconds_left: At that rate.
        failures: The newest reason by shard, of those that are not finished.
        retries: Shards that were begun again.
    """

    shards: int
    total: int
    counts: dict[str, int]
    left_out: dict[str, int]
    ids_per_second: float | None
    seconds_left: float | None
    failures: dict[int, str]
    retries: int

    def to_json(self) -> dict[str, Any]:
        """Return all of it with the shares that people ask for."""
        counts = self.counts
        ids = counts.get("ids", 0)
        spoken = counts.get("spans", 0) - counts.get("spans_left_text", 0)
        checked = counts.get("checked_characters", 0)
        return {
            **self.__dict__,
            "failures": {str(number): why for number, why in self.failures.items()},
            "speech_share_percent": _percent(counts.get("speech_ids", 0), ids),
            "codes_per_span": round(counts.get("speech_ids", 0) / spoken, 2) if spoken else None,
            "character_error_percent": _percent(counts.get("wrong_characters", 0), checked),
        }


def status(folder: Path, plan: Plan) -> Status:
    """Look at a folder; work may be going on in it."""
    counts: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    ids: dict[int, int] = {}
    done = finished(folder, len(plan.shards))
    for number in done:
        mark = read_mark(folder, number)
        counts.update(mark["counts"])
        left_out.update(mark["left_out"])
        ids[number] = mark["counts"]["ids"]
    events = _events(folder / LOG)
    began = max((n for n, event in enumerate(events) if event["event"] == "run"), default=None)
    newest = events[began:] if began is not None else []
    made = [event for event in newest if event["event"] == "done"]
    rate = left = None
    if made and (seconds := made[-1]["time"] - newest[0]["time"]) > 0:
        rate = sum(ids.get(event["shard"], 0) for event in made) / seconds
        left = (len(plan.shards) - len(done)) * seconds / len(made)
    failures = {
        event["shard"]: event["reason"]
        for event in newest
        if event["event"] in ("failed", "stopped") and event["shard"] not in ids
    }
    retries = sum(event["event"] == "again" for event in events)
    return Status(
        len(done),
        len(plan.shards),
        dict(sorted(counts.items())),
        dict(left_out.most_common()),
        rate,
        left,
        failures,
        retries,
    )


def _events(path: Path) -> list[dict[str, Any]]:
    """Read the log; a line that a kill has torn is no event."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            found.append(event)
    return found


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None
