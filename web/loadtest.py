"""How a server holds up: many callers at once, and what each of them has to wait for."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from web.caller import Caller, Question, Turn

STAGGER = 0.35  # seconds between two callers' beginnings
WATCH = 1.0  # seconds between two looks at the server

TIMES = {
    "end of speech to speech_stopped": "to_stopped",
    "end of speech to response.created": "to_response",
    "end of speech to first audio": "to_first_audio",
    "barge-in to speech_started": "to_started",
    "barge-in to last old audio": "to_last_old_audio",
}


@dataclass(frozen=True)
class Look:
    """A server, looked at from outside."""

    seconds: float  # since the beginning
    sessions: int
    resident_mb: float
    loop_lag_p99_ms: float


@dataclass(frozen=True)
class LoadTest:
    """What was found."""

    callers: int
    turns: list[Turn]
    looks: list[Look]

    def to_json(self) -> dict[str, Any]:
        """Return figures for people and the raw ones they come from."""
        turns = [turn for turn in self.turns if turn.status != "unanswered"]
        # A reply that was cut short is no failure if somebody cut it.
        good = [turn for turn in turns if turn.status in ("completed", "cancelled")]
        streams = [turn.stream / turn.audio for turn in turns if turn.audio > 0.5]
        return {
            "callers": self.callers,
            "turns": len(self.turns),
            "ok_percent": round(100 * len(good) / max(1, len(self.turns)), 2),
            "milliseconds": {
                name: spread(1_000 * value for value in self._values(key))
                for name, key in TIMES.items()
            },
            "stream_real_time_factor": spread(streams, digits=3),
            "underruns": sum(turn.underruns for turn in turns),
            "gap_ms": round(1_000 * sum(turn.gap for turn in turns)),
            "loop_lag_p99_ms": max((look.loop_lag_p99_ms for look in self.looks), default=None),
            "memory_mb_per_minute": self._slope(),
            "trouble": sorted({each for turn in self.turns for each in turn.trouble}),
            "raw": {
                "turns": [asdict(turn) for turn in self.turns],
                "server": [asdict(look) for look in self.looks],
            },
        }

    def _values(self, key: str) -> list[float]:
        found = (getattr(turn, key) for turn in self.turns)
        return [value for value in found if value is not None]

    def _slope(self) -> float | None:
        """Return how the server's memory grows, fitted over the second half of the test."""
        late = self.looks[len(self.looks) // 2 :]
        if len(late) < 3:
            return None
        minutes = np.array([look.seconds / 60 for look in late])
        return round(float(np.polyfit(minutes, [look.resident_mb for look in late], 1)[0]), 2)


def spread(values: Iterable[float], *, digits: int = 0) -> dict[str, float] | None:
    """Return count, median and tails; None of nothing."""
    found = np.array(list(values))
    if not len(found):
        return None
    tails = zip(("p50", "p95", "p99"), np.percentile(found, (50, 95, 99)), strict=True)
    return {"count": len(found), **{name: round(float(value), digits) for name, value in tails}}


async def load_test(
    url: str,
    questions: Sequence[Question],
    *,
    callers: int,
    turns: int,
    interrupt_every: int = 0,
    key: str | None = None,
) -> LoadTest:
    """Call a server from many sides at once.

    Args:
        url: ``ws://.../v1/realtime``.
        questions: Each caller begins with another.
        callers: At the same time.
        turns: Questions of each.
        interrupt_every: See :meth:`web.caller.Caller.call`.
        key: For servers that want one.
    """
    looks: list[Look] = []
    watching = asyncio.ensure_future(_watch(url, looks))

    async def call(n: int) -> list[Turn]:
        await asyncio.sleep(n * STAGGER)
        caller = Caller(url, questions, key)
        return await caller.call(turns, interrupt_every=interrupt_every, offset=n)

    try:
        found = await asyncio.gather(*map(call, range(callers)))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return LoadTest(callers, [turn for each in found for turn in each], looks)


async def _watch(url: str, looks: list[Look]) -> None:
    parts = urlsplit(url)
    health = urlunsplit((parts.scheme.replace("ws", "http"), parts.netloc, "/health", "", ""))
    began = time.monotonic()
    while True:
        found = await asyncio.to_thread(_get, health)
        if found is not None:
            seconds = round(time.monotonic() - began, 2)
            values = (found["sessions"], found["resident_mb"], found["loop_lag_p99_ms"])
            looks.append(Look(seconds, *values))
        await asyncio.sleep(WATCH)


def _get(url: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None
