"""The bytes of a client to turns: decoding, resampling, voice detection. No sockets, no clock."""

from dataclasses import dataclass

import torch
from torch import Tensor

from web.codec import HEARD_RATE, PCM, Inbound, WireFormat
from web.turns import Change, Patience, TurnDetection, TurnDetector
from web.vad import WINDOW, WINDOW_MS, SileroVad


@dataclass(frozen=True, eq=False)
class Heard:
    """More of the turn."""

    samples: Tensor  # (num_samples,) at 16 kHz


@dataclass(frozen=True)
class Turned:
    """A turn was suspected, began or ended."""

    change: Change
    at_ms: int  # since the first sample of the session; of STARTED with what is put before it


EarEvent = Heard | Turned


class Ear:
    """Hears one client.

    Args:
        vad: May be shared.
        patience: How long speech must be.
    """

    def __init__(self, vad: SileroVad, patience: Patience):
        self._vad = vad
        self._patience = patience
        self._inbound = Inbound(PCM)
        self._pending = torch.zeros(0)  # less than a window
        self._past = torch.zeros(0)  # what the next turn may begin with
        self._num_windows = 0
        self._state = vad.start()
        self._detector: TurnDetector | None = None

    def configure(self, form: WireFormat, detection: TurnDetection | None) -> None:
        """Obey new settings; what does not change goes on."""
        if form != self._inbound.form:
            self._inbound = Inbound(form)
        if detection is None:
            self._detector = None
        elif self._detector is None:
            self._detector = TurnDetector(detection, self._patience)
        else:
            self._detector.settings = detection

    def forget(self) -> None:
        """End a turn without a word."""
        if self._detector is not None:
            self._detector = TurnDetector(self._detector.settings, self._patience)
        self._past = torch.zeros(0)

    def push(self, data: bytes, *, talking: bool) -> list[EarEvent]:
        """Hear more.

        Args:
            data: Whole samples, as the wire has them.
            talking: Whether the assistant is being heard.

        Returns:
            What happened, in order. Without turn detection everything belongs to the turn.
        """
        samples = torch.cat([self._pending, self._inbound.push(data)])
        whole = len(samples) - len(samples) % WINDOW
        self._pending = samples[whole:]
        return [
            event for part in samples[:whole].split(WINDOW) for event in self._hear(part, talking)
        ]

    def flush(self) -> list[EarEvent]:
        """Return what is less than a window, for a turn that the client ends."""
        rest, self._pending = self._pending, torch.zeros(0)
        return [Heard(rest)] if len(rest) else []

    def _hear(self, window: Tensor, talking: bool) -> list[EarEvent]:
        if not len(window):
            return []
        self._num_windows += 1
        if self._detector is None:
            return [Heard(window)]
        probability, self._state = self._vad.step(window, self._state)
        was_open = self._detector.is_open
        change = self._detector.push(probability, talking=talking)
        if was_open:
            ended: list[EarEvent] = [Turned(change, self._now())] if change else []
            return [Heard(window), *ended]
        self._past = torch.cat([self._past, window])
        if change is Change.STARTED:
            return self._open(self._detector)
        self._trim(self._detector)
        return [Turned(change, self._now())] if change else []

    def _open(self, detector: TurnDetector) -> list[EarEvent]:
        wanted = self._padding(detector) + detector.suspected_ms * HEARD_RATE // 1000
        turn, self._past = self._past[-wanted:], torch.zeros(0)
        start_ms = self._now() - len(turn) * 1000 // HEARD_RATE
        return [Turned(Change.STARTED, start_ms), Heard(turn)]

    def _trim(self, detector: TurnDetector) -> None:
        kept = self._padding(detector) + max(detector.suspected_ms, WINDOW_MS) * HEARD_RATE // 1000
        self._past = self._past[-kept:]

    def _padding(self, detector: TurnDetector) -> int:
        return detector.settings.prefix_padding_ms * HEARD_RATE // 1000

    def _now(self) -> int:
        return self._num_windows * WINDOW_MS
