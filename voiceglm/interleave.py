"""The interleaved reply: stretches of text ids and speech ids in a fixed ratio.

The model speaks while it writes. A reply is

    text[0:13] speech[0:26] text[13:26] speech[26:52] text[26:31] speech[52:] stop

with no delimiters. The model says that its text has ended by producing a speech id where a text
id could stand; from there on everything is speech. A text that fills its stretch exactly says so
only 26 speech ids later, at the start of the next text stretch. Text must keep ahead of speech:
a reply whose speech ends while text remains has no such layout.

Both directions and the rule of what may come next are here, so that training data and generation
can never disagree about the order.

A reply may begin with the ids of the style it is spoken in. They fill the first stretch as text
does and may stand nowhere else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import chain

from voiceglm.errors import ConfigError


class Kind(Enum):
    """What an id of a reply is."""

    TEXT = auto()
    SPEECH = auto()
    STOP = auto()
    STYLE = auto()


@dataclass(frozen=True)
class Layout:
    """How a reply alternates.

    Attributes:
        text_per_stretch: Text ids in one stretch; 0 for a reply of speech only.
        speech_per_stretch: Speech ids in one stretch (26 are 2.08 s); 0 for text only.
    """

    text_per_stretch: int = 13
    speech_per_stretch: int = 26

    def __post_init__(self) -> None:
        """Refuse a layout in which nothing may come."""
        if min(self.text_per_stretch, self.speech_per_stretch) < 0:
            raise ConfigError("a stretch cannot have a negative length")
        if not (self.text_per_stretch or self.speech_per_stretch):
            raise ConfigError("a layout needs text or speech ids")

    def start(self) -> "Position":
        """Return the position before the first id of a reply."""
        spoken = self.text_per_stretch > 0 and self.speech_per_stretch > 0
        return Position(self, text_ended=self.text_per_stretch == 0, may_style=spoken)


REPLY = Layout()
"""A spoken reply: 13 text ids, 26 speech ids."""
TEXT_ONLY = Layout(speech_per_stretch=0)
"""A transcription or a written reply."""
SPEECH_ONLY = Layout(text_per_stretch=0)
"""Text read aloud."""


@dataclass(frozen=True)
class Position:
    """Where a reply stands; a value, so it can be kept, compared and stepped from again.

    Attributes:
        layout: The ratio the reply follows.
        in_speech: Whether the current stretch is one of speech.
        filled: Ids already in the current stretch.
        text_ended: Whether the text is complete, so that only speech may follow.
        may_style: Whether nothing but styles has come of a reply that is spoken.
    """

    layout: Layout
    in_speech: bool = False
    filled: int = 0
    text_ended: bool = False
    may_style: bool = False

    def legal(self) -> frozenset[Kind]:
        """Return the kinds of id that may come next; a reply may stop anywhere."""
        kinds = {Kind.STOP}
        if not self.in_speech and not self.text_ended:
            kinds.add(Kind.TEXT)
            if self.may_style:
                kinds.add(Kind.STYLE)
        if self.layout.speech_per_stretch:
            kinds.add(Kind.SPEECH)
        return frozenset(kinds)

    def step(self, kind: Kind) -> "Position":
        """Return the position after one more id of this kind.

        Raises:
            ConfigError: If this kind may not come here.
        """
        if kind not in self.legal():
            raise ConfigError(f"a {kind.name.lower()} id cannot stand here: {self}")
        if kind is Kind.STOP or self.text_ended:
            return self
        position = self if kind is Kind.STYLE else replace(self, may_style=False)
        if kind is Kind.SPEECH and not self.in_speech:
            return replace(position, text_ended=True)
        return position._fill()

    def _fill(self) -> "Position":
        layout, filled = self.layout, self.filled + 1
        length = layout.speech_per_stretch if self.in_speech else layout.text_per_stretch
        if filled < length or not layout.speech_per_stretch:
            return replace(self, filled=filled)
        return replace(self, in_speech=not self.in_speech, filled=0)


def interleave(text: Sequence[int], speech: Sequence[int], layout: Layout = REPLY) -> list[int]:
    """Merge two id sequences into one reply; nothing is lost or added.

    >>> interleave([1, 2, 3], [70, 71, 72, 73, 74], Layout(2, 2))
    [1, 2, 70, 71, 3, 72, 73, 74]
    """
    if not (layout.text_per_stretch and layout.speech_per_stretch):
        return [*text, *speech]
    text_step, speech_step = layout.text_per_stretch, layout.speech_per_stretch
    stretches = -(-len(text) // text_step)  # ceiling
    head = chain.from_iterable(
        (
            *text[n * text_step : (n + 1) * text_step],
            *speech[n * speech_step : (n + 1) * speech_step],
        )
        for n in range(stretches)
    )
    return [*head, *speech[stretches * speech_step :]]


def keeps_ahead(num_text: int, num_speech: int, layout: Layout = REPLY) -> bool:
    """Say whether the text of a reply is written before its speech ends.

    >>> keeps_ahead(14, 20), keeps_ahead(14, 26), keeps_ahead(13, 0)
    (False, True, True)
    """
    return num_speech >= speech_before_end(num_text, layout)


def speech_before_end(num_text: int, layout: Layout = REPLY) -> int:
    """Return how many speech ids stand before the last text id of a reply.

    >>> speech_before_end(13), speech_before_end(14), speech_before_end(27)
    (0, 26, 52)
    """
    before_last = max(0, -(-num_text // layout.text_per_stretch) - 1)
    return before_last * layout.speech_per_stretch


def split(ids: Iterable[int], *, speech_start_id: int) -> tuple[list[int], list[int]]:
    """Undo :func:`interleave`: text, styles among it, is below ``speech_start_id``.

    >>> split([1, 2, 70, 71, 3, 72], speech_start_id=70)
    ([1, 2, 3], [70, 71, 72])
    """
    text: list[int] = []
    speech: list[int] = []
    for id_ in ids:
        (text if id_ < speech_start_id else speech).append(id_)
    return text, speech
