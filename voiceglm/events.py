"""A reply as events: what a conversation yields and every face of it consumes."""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from voiceglm.style import Style


@dataclass(frozen=True)
class TextDelta:
    """More of the written reply."""

    text: str
    ids: tuple[int, ...]  # of the text vocabulary; their text is ``text``
    after_codes: int = 0  # speech ids of the reply that were written before it
    style: Style = field(default_factory=Style)  # how the reply is spoken


@dataclass(frozen=True, eq=False)  # a waveform has no single truth value to compare by
class AudioDelta:
    """More of the spoken reply."""

    samples: Tensor  # (num_samples,), float32 in [-1, 1]
    sample_rate: int  # hertz


@dataclass(frozen=True)
class TurnEnd:
    """The reply is over; always the last event."""

    reason: Literal["finished", "length", "cancelled"]


Event = TextDelta | AudioDelta | TurnEnd
