"""How a reply is spoken: what a user asked for, kept until something else is asked for.

A style has four parts, each with a name or none, which is the voice as it is by itself:

    accent   british scottish cantonese     written by the language model as speech ids; the decoder
                                            need not know
    rate     slow_1 .. slow_3 fast_1 .. fast_3
    tone     low high whisper cheerful sad  as a voice was recorded
    volume   soft loud

A reply carries every part that has a name, in this order, so that a conversation whose beginning
was forgotten goes on as it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from voiceglm.errors import ConfigError

ACCENTS = ("british", "scottish", "cantonese")
RATES: Mapping[str, float] = {
    "slow_1": 0.87,
    "slow_2": 0.74,
    "slow_3": 0.62,
    "fast_1": 1.15,
    "fast_2": 1.35,
    "fast_3": 1.6,
}
"""How many times as fast as the voice speaks by itself."""
TONES = ("low", "high", "whisper", "cheerful", "sad")
VOLUMES: Mapping[str, float] = {"soft": -8.0, "loud": 5.0}
"""Decibels."""

STYLE_NAMES = (*ACCENTS, *RATES, *TONES, *VOLUMES)
"""Every name of a part, in the order in which a reply carries them."""

_PARTS = {
    **dict.fromkeys(ACCENTS, "accent"),
    **dict.fromkeys(RATES, "rate"),
    **dict.fromkeys(TONES, "tone"),
    **dict.fromkeys(VOLUMES, "volume"),
}
_BACK = {
    "american": ("accent",),
    "mandarin": ("accent",),
    "steady": ("rate",),
    "normal": ("accent", "rate", "tone", "volume"),
}
"""Wishes that set parts back to what the voice is by itself."""


@dataclass(frozen=True)
class Style:
    """How a reply is spoken; an empty part is the voice as it is by itself."""

    accent: str = ""
    rate: str = ""
    tone: str = ""
    volume: str = ""

    def __post_init__(self) -> None:
        """Refuse a name that is not one of its part.

        Raises:
            ConfigError: Naming both.
        """
        for part in ("accent", "rate", "tone", "volume"):
            name = getattr(self, part)
            if name and _PARTS.get(name) != part:
                raise ConfigError(f"{name!r} is no {part} of a style; known: {_known(part)}")

    @staticmethod
    def of(names: Iterable[str]) -> "Style":
        """Return the style of some names; of two names of one part the later.

        Raises:
            ConfigError: If a name is unknown.
        """
        style = Style()
        for name in names:
            style = style.changed(name)
        return style

    def changed(self, wish: str) -> "Style":
        """Return the style after a wish, whose level is not added to an earlier one.

        Args:
            wish: A name of ``STYLE_NAMES``, or ``normal`` for none of them, ``steady`` for no rate,
                ``american`` or ``mandarin`` for no accent.

        Raises:
            ConfigError: If there is no such wish.
        """
        if wish in _BACK:
            return replace(self, **dict.fromkeys(_BACK[wish], ""))
        if wish not in _PARTS:
            known = ", ".join((*STYLE_NAMES, *_BACK))
            raise ConfigError(f"no style is called {wish!r}; known: {known}")
        return replace(self, **{_PARTS[wish]: wish})

    def names(self) -> tuple[str, ...]:
        """Return the parts that have a name, in the order in which a reply carries them."""
        return tuple(filter(None, (self.accent, self.rate, self.tone, self.volume)))

    @property
    def speed(self) -> float:
        """How many times as fast as the voice by itself."""
        return RATES.get(self.rate, 1.0)

    @property
    def gain(self) -> float:
        """Decibels."""
        return VOLUMES.get(self.volume, 0.0)


def _known(part: str) -> str:
    return ", ".join(name for name, of in _PARTS.items() if of == part)
