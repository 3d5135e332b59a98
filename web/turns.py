"""Voice activity to turns, by the clock of the audio alone.

A turn opens after a little speech and closes after a silence. Interrupting takes two steps: speech
is suspected with its first window, so that the one who is talking can be turned down, and becomes a
turn when it lasts; a cough or an "mm-hmm" is taken back instead.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from web.vad import WINDOW_MS

LEAST = 0.01  # probability that is silence whatever the threshold
EAGERNESS_MS = {"high": 300, "auto": 600, "medium": 600, "low": 1_000}
"""Silence that ends a turn, for what the protocol calls semantic_vad."""


@dataclass(frozen=True, kw_only=True)
class TurnDetection:
    """When a turn begins and ends; names are the protocol's."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = 0.5
    """How likely speech must be, 0 to 1."""
    prefix_padding_ms: int = 300
    """Audio before the first speech that belongs to the turn."""
    silence_duration_ms: int = 500
    """Silence that ends the turn."""
    eagerness: str = "auto"
    """Of semantic_vad, instead of a silence: low, medium, high or auto."""
    idle_timeout_ms: int | None = None
    """How long to wait for the user before speaking first; ``None`` for ever."""
    create_response: bool = True
    interrupt_response: bool = True

    @property
    def silence_ms(self) -> int:
        """Silence that ends a turn of this type."""
        if self.type == "semantic_vad":
            return EAGERNESS_MS[self.eagerness]
        return self.silence_duration_ms


@dataclass(frozen=True)
class Patience:
    """What the protocol has no names for; all in milliseconds of audio."""

    min_speech_ms: int = 160
    """Speech that opens a turn while nobody else talks."""
    min_interruption_ms: int = 192
    """Speech that opens a turn while the assistant talks."""
    max_gap_ms: int = 64
    """Silence within speech that is not yet a turn."""
    max_doubt_ms: int = 1_000
    """How long something may go on that never becomes clear speech."""


class Change(Enum):
    """What a window of audio changed."""

    SUSPECTED = auto()
    """Somebody may have begun to speak."""
    REFUTED = auto()
    """Nobody had."""
    STARTED = auto()
    """A turn has begun, with the speech that was suspected."""
    STOPPED = auto()
    """The turn is over."""


class TurnDetector:
    """One listener.

    Args:
        settings: Of the session.
        patience: Of the server.
    """

    def __init__(self, settings: TurnDetection, patience: Patience):
        self.settings = settings
        self._patience = patience
        self._is_open = False
        self._speech_ms = 0  # of what is suspected
        self._silence_ms = 0  # since the last speech
        self.suspected_ms = 0
        """Audio since the first window of what is suspected, that one included."""

    @property
    def is_open(self) -> bool:
        """Whether a turn has begun and not ended."""
        return self._is_open

    def push(self, probability: float, *, talking: bool) -> Change | None:
        """Judge one more window.

        Args:
            probability: That it holds speech.
            talking: Whether the assistant is being heard.
        """
        # Leaving speech takes less than entering it, so that a weak syllable does not.
        known = self._is_open or self._speech_ms
        entry = max(self.settings.threshold, LEAST)
        is_speech = probability >= (max(entry - 0.15, LEAST) if known else entry)
        self._silence_ms = 0 if is_speech else self._silence_ms + WINDOW_MS
        if self._is_open:
            return self._close()
        if not (is_speech or self._speech_ms):
            return None
        return self._suspect(probability >= entry, talking)

    def _close(self) -> Change | None:
        if self._silence_ms < self.settings.silence_ms:
            return None
        self._is_open, self._silence_ms = False, 0
        return Change.STOPPED

    def _suspect(self, is_clear: bool, talking: bool) -> Change | None:
        is_new = not self._speech_ms
        self.suspected_ms = WINDOW_MS if is_new else self.suspected_ms + WINDOW_MS
        # Weak ones keep a suspicion alive; they do not confirm it.
        self._speech_ms += WINDOW_MS if is_clear else 0
        patience = self._patience
        enough = patience.min_interruption_ms if talking else patience.min_speech_ms
        if self._speech_ms >= enough:
            self._is_open, self._speech_ms = True, 0
            return Change.STARTED
        if self._silence_ms > patience.max_gap_ms or self.suspected_ms > patience.max_doubt_ms:
            self._speech_ms = 0
            return Change.REFUTED
        return Change.SUSPECTED if is_new else None
