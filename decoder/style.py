"""What of a style is made here: how fast mel frames follow one another, and how loud samples are.

Letters used in shapes: N mel channels, M mel frames of a voice by itself, F frames as spoken.
"""

import math

import torch
from torch import Tensor

KNEE = 0.6
"""Of full scale 1; what an amplified sample has above it is bent towards the limit."""


class Stretch:
    """Mel frames to those of the same speech, faster or slower; its pitch stays.

    A frame stands for a stretch of time, and a frame as spoken is interpolated where the middle of
    its stretch lies. Frames that come in parts give the very frames of the whole.

    Args:
        speed: How many times as fast.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._held: Tensor | None = None  # (N, n), what frames to come may lie between
        self._first = 0  # number of the first of them
        self._done = 0  # frames that were returned

    def push(self, mel: Tensor, *, last: bool = False) -> Tensor:
        """Take (N, M) more log-mel and return the frames that are certain, (N, F).

        Args:
            mel: May be empty.
            last: Nothing follows, so everything is certain.
        """
        if self._speed == 1:
            return mel
        held = mel if self._held is None else torch.cat([self._held, mel], dim=1)
        total = self._first + held.shape[1]
        if last:
            end = math.floor(total / self._speed + 0.5)
        else:  # those before the last frame there is
            end = math.ceil((total - 0.5) / self._speed - 0.5)
        end = max(end, self._done)
        frames = self._between(held, total, end)
        kept = min(max(math.floor(self._place(end)), self._first), total)
        self._held, self._first, self._done = held[:, kept - self._first :], kept, end
        return frames

    def _between(self, held: Tensor, total: int, end: int) -> Tensor:
        """Interpolate from the last returned frame to ``end``: (N, n) -> (N, F)."""
        places = [self._place(number) for number in range(self._done, end)]
        # In double on the CPU, so that a frame does not depend on when it is made.
        place = torch.tensor(places, dtype=torch.float64).clamp(0, max(total - 1, 0))
        left = place.floor()
        right = (left + 1).clamp(max=max(total - 1, 0))
        indices = [(side.long() - self._first).to(held.device) for side in (left, right)]
        return torch.lerp(held[:, indices[0]], held[:, indices[1]], (place - left).to(held))

    def _place(self, number: int) -> float:
        """Return where the middle of a frame as spoken lies, in frames."""
        return (number + 0.5) * self._speed - 0.5


def amplified(samples: Tensor, decibels: float, limit: float) -> Tensor:
    """Make (num_samples,) louder or softer, never beyond a limit.

    What would go beyond is bent, not cut: above ``KNEE`` a hyperbolic tangent of slope one goes on.

    Args:
        samples: Within -1 to 1.
        decibels: By how much; 0 changes nothing.
        limit: The most there may be, above ``KNEE``.
    """
    if decibels == 0:
        return samples
    scaled = samples * 10 ** (decibels / 20)
    if decibels < 0:
        return scaled
    room = limit - KNEE
    bent = KNEE + room * torch.tanh((scaled.abs() - KNEE) / room)
    return torch.where(scaled.abs() > KNEE, bent * scaled.sign(), scaled)
