"""What a server counts, for Prometheus."""

import asyncio
import resource
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LAG_SECONDS = 0.05
SECONDS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


def resident_mb() -> float:
    """Return the memory this process has now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return round(pages * resource.getpagesize() / 1e6, 1)


class LoopLag:
    """How late the event loop is: what everybody waits for who shares it."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._late: deque[float] = deque(maxlen=1_000)  # seconds

    @property
    def p99_ms(self) -> float:
        """Of the last minute or so."""
        ordered = sorted(self._late)
        return round(1_000 * ordered[int(0.99 * len(ordered))], 2) if ordered else 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._late.append(max(0.0, loop.time() - due))
            self._gauge.set(self.p99_ms / 1_000)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.sessions = Gauge("voiceglm_sessions", "Sessions that are open.", registry=registry)
        self.session_seconds = Histogram(
            "voiceglm_session_seconds",
            "How long sessions lasted.",
            buckets=(1, 10, 60, 300, 900, 1_800, 3_600),
            registry=registry,
        )
        self.refused = Counter(
            "voiceglm_refused", "Clients that were turned away.", ["reason"], registry=registry
        )
        self.replies = Counter(
            "voiceglm_replies", "Replies, by how they ended.", ["status"], registry=registry
        )
        self.errors = Counter(
            "voiceglm_client_errors", "Events that were refused.", ["code"], registry=registry
        )
        self.first_audio = Histogram(
            "voiceglm_first_audio_seconds",
            "From the beginning of a reply to its first audio.",
            buckets=SECONDS,
            registry=registry,
        )
        self.lag = LoopLag(
            Gauge("voiceglm_loop_lag_p99_seconds", "How late the event loop is.", registry=registry)
        )

    def watcher(self) -> Callable[[dict[str, Any]], None]:
        """Return what counts the messages that leave in one session."""
        began: float | None = None  # the reply that has not sounded yet

        def watch(message: dict[str, Any]) -> None:
            nonlocal began
            kind = message["type"]
            if kind == "response.created":
                began = time.monotonic()
            elif kind == "response.output_audio.delta" and began is not None:
                self.first_audio.observe(time.monotonic() - began)
                began = None
            elif kind == "response.done":
                self.replies.labels(message["response"]["status"]).inc()
            elif kind == "error":
                self.errors.labels(message["error"]["code"]).inc()

        return watch

    def text(self) -> str:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry).decode()
