"""What the talker reports to a session."""

from dataclasses import dataclass

from voiceglm.events import TextDelta
from voiceglm.history import Usage
from web.response import Ending


@dataclass(frozen=True)
class Wrote:
    """More text of a reply."""

    response_id: str
    delta: TextDelta
    usage: Usage  # of the reply so far


@dataclass(frozen=True)
class Sounded:
    """More audio of a reply."""

    response_id: str
    data: bytes  # as the wire has it
    usage: Usage  # of the reply so far


@dataclass(frozen=True)
class Ended:
    """A reply is complete or has failed; of one that was stopped nothing is reported."""

    response_id: str
    ending: Ending
    usage: Usage | None  # of all of it; None: as it was reported last


@dataclass(frozen=True)
class Transcribed:
    """What the user said; None if it cannot be told."""

    item_id: str
    text: str | None
    seconds: float


Report = Wrote | Sounded | Ended | Transcribed
