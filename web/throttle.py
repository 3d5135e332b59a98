"""How fast one client may send: faster is not refused, only read later."""

from dataclasses import dataclass

BURST_SECONDS = 4.0  # of the rates, at once


@dataclass
class Throttle:
    """A bucket that fills with time; a message takes what it costs in messages or in bytes.

    Attributes:
        messages_per_second: 20 ms of audio each are 50.
        bytes_per_second: Real time is 64,000 in base64, of G.711 10,667.
    """

    messages_per_second: float = 400.0
    bytes_per_second: float = 1_000_000.0
    _free_at: float = 0.0  # when the bucket would be full again

    def delay(self, num_bytes: int, now: float) -> float:
        """Take a message and return how long to wait before the next is read, in seconds."""
        cost = max(1 / self.messages_per_second, num_bytes / self.bytes_per_second)
        self._free_at = max(self._free_at, now) + cost
        return max(0.0, self._free_at - now - BURST_SECONDS)
