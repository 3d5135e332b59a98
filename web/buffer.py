"""The audio a client has sent and not committed: the protocol's input audio buffer."""

import torch
from torch import Tensor

from web.codec import HEARD_RATE
from web.errors import ClientError
from web.items import Item, remember

MIN_COMMIT_MS = 100.0
MAX_TURN_SECONDS = 600


class InputBuffer:
    """What the user is saying.

    Attributes:
        item_id: What it will become; None while the user says nothing.
        total_ms: Audio that was sent since the session began.
    """

    def __init__(self) -> None:
        self.item_id: str | None = None
        self.total_ms = 0.0
        self._appended_ms = 0.0  # since the last commit or clear
        self._pieces: list[Tensor] = []
        self._num_samples = 0

    def append(self, milliseconds: float) -> None:
        """Take note of audio that was sent."""
        self.total_ms += milliseconds
        self._appended_ms += milliseconds

    def begin(self, item_id: str) -> None:
        """The user begins to say something."""
        self.item_id = item_id
        self._pieces, self._num_samples = [], 0

    def collect(self, samples: Tensor) -> bool:
        """Take (num_samples,) at 16 kHz of what is said; say whether there was room."""
        if self._num_samples > MAX_TURN_SECONDS * HEARD_RATE:
            return False
        self._pieces.append(remember(samples))
        self._num_samples += len(samples)
        return True

    def check(self, *, by_hand: bool) -> None:
        """See whether a client may commit.

        Args:
            by_hand: Turns are ended by the client alone.

        Raises:
            ClientError: If there is too little.
        """
        buffered = self._appended_ms if by_hand or self.item_id else 0.0
        if buffered < MIN_COMMIT_MS:
            raise ClientError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms "
                f"of audio, but buffer only has {buffered:.2f}ms of audio.",
            )

    def take(self) -> Item | None:
        """Return what was said, which is in the buffer no longer; None if nothing was."""
        item_id, pieces = self.item_id, self._pieces
        self.clear()
        if item_id is None:
            return None
        heard = torch.cat(pieces) if pieces else torch.zeros(0, dtype=torch.int16)
        return Item(item_id, role="user", is_audio=True, heard=heard)

    def clear(self) -> None:
        """Drop it."""
        self.item_id, self._appended_ms = None, 0.0
        self._pieces, self._num_samples = [], 0
