"""What a server counts, for Prometheus."""

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


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
        self._begun: dict[str, float] = {}

    def watch(self, message: dict[str, Any]) -> None:
        """Count a message that leaves."""
        kind = message["type"]
        if kind == "response.created":
            self._begun[message["response"]["id"]] = time.monotonic()
        elif kind == "response.output_audio.delta":
            began = self._begun.pop(message["response_id"], None)
            if began is not None:
                self.first_audio.observe(time.monotonic() - began)
        elif kind == "response.done":
            self._begun.pop(message["response"]["id"], None)
            self.replies.labels(message["response"]["status"]).inc()
        elif kind == "error":
            self.errors.labels(message["error"]["code"]).inc()

    def text(self) -> str:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry).decode()
