"""What a session wants done: messages to send, orders to the ear and to the talker."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from voiceglm.language_model import Sampling
from web.codec import WireFormat
from web.turns import TurnDetection


@dataclass(frozen=True)
class Send:
    """A message to the client."""

    message: dict[str, Any]


@dataclass(frozen=True)
class Close:
    """The end of the session."""

    code: int
    reason: str


# To the ear.


@dataclass(frozen=True)
class Listen:
    """Hear more bytes; what they turn out to be comes back at once."""

    data: bytes
    talking: bool


@dataclass(frozen=True)
class Configure:
    """Hear otherwise from now on."""

    form: WireFormat
    detection: TurnDetection | None


@dataclass(frozen=True)
class Flush:
    """Give out what is less than a window; the client ends the turn."""


@dataclass(frozen=True)
class ForgetSound:
    """Drop what was heard and is no turn yet."""


# To the talker, which does one thing after the other.


@dataclass(frozen=True, eq=False)
class Hear:
    """Read more of the user's turn."""

    samples: Tensor  # (num_samples,) at 16 kHz


@dataclass(frozen=True)
class Commit:
    """End the user's turn: it becomes an item."""

    item_id: str


@dataclass(frozen=True)
class Unhear:
    """Drop the user's turn."""


@dataclass(frozen=True, eq=False)
class Transcribe:
    """Write down what an item says, beside everything else."""

    item_id: str
    samples: Tensor  # (num_samples,) at 16 kHz


@dataclass(frozen=True, eq=False)
class Say:
    """Put an item into the conversation."""

    item_id: str
    speaker: Literal["user", "assistant", "system"]
    said: "str | Tensor"
    before: tuple[str, ...] = ()
    """Items that follow it, the nearest first; the model may have forgotten some."""


@dataclass(frozen=True)
class Forget:
    """Take an item out of the conversation."""

    item_id: str


@dataclass(frozen=True)
class Cut:
    """Keep of a reply what was heard."""

    item_id: str
    heard_ms: float


@dataclass(frozen=True)
class Reply:
    """Answer; events come back with the response's id."""

    response_id: str
    item_id: str
    instructions: str
    sampling: Sampling
    aloud: bool
    form: WireFormat
    only: tuple[Say, ...] | None = None
    """Answer these alone, not the conversation."""
    beside: bool = False
    """Outside the conversation, at the same time as its own replies."""
    voice: str = ""
    """Who speaks; a name that is not a voice's is the model's own."""


@dataclass(frozen=True)
class StopReply:
    """Stop answering, at once, ahead of every other order."""

    response_id: str


Order = Hear | Commit | Unhear | Say | Forget | Cut | Reply
Action = Send | Close | Listen | Configure | Flush | ForgetSound | Transcribe | StopReply | Order
