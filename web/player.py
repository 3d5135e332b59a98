"""A simulated loudspeaker: what a listener would have heard of what came over the wire."""

from dataclasses import dataclass


@dataclass
class Player:
    """Plays audio at the pace of the clock; all times in seconds of it.

    Attributes:
        lead: Audio that must be there before a reply begins to sound.
        underruns: How often it ran dry in the middle of a reply.
        gap: Silence that was heard because of that.
    """

    lead: float = 0.1
    underruns: int = 0
    gap: float = 0.0
    _waiting: float = 0.0  # seconds of audio that wait for more
    _began: float | None = None  # when the reply began to sound
    _until: float = 0.0  # when what is there will have been played

    def push(self, seconds: float, now: float) -> None:
        """Take more audio."""
        if self._began is None:
            self._waiting += seconds
            if self._waiting >= self.lead:
                self._start(now)
            return
        if now > self._until:
            self.underruns += 1
            self.gap += now - self._until
            self._until = now
        self._until += seconds

    def end(self, now: float) -> None:
        """Know that no more comes: what is shorter than the lead sounds, too."""
        if self._began is None and self._waiting:
            self._start(now)

    def clear(self, now: float) -> float:
        """Fall silent and return how much of the reply was heard."""
        heard = 0.0 if self._began is None else min(now, self._until) - self._began - self.gap
        self._waiting, self._began, self.gap = 0.0, None, 0.0
        return heard

    def is_playing(self, now: float) -> bool:
        """Whether something sounds."""
        return self._began is not None and now < self._until

    def _start(self, now: float) -> None:
        self._began, self._until = now, now + self._waiting
        self._waiting = 0.0
