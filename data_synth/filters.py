"""What speech is not good enough for a corpus, and why; everything left out is counted."""

from collections.abc import Sequence
from dataclasses import dataclass

from voiceglm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """Bounds of what is kept.

    Attributes:
        min_units: Words, or Chinese characters, of a document.
        min_codes_per_letter: Of a span's speech; less is speech with a hole.
        max_codes_per_letter: More is speech that drags on.
        max_repeats: How often a code, or a group of up to eight, may come in a row.
        checked_share: Of the spans, chosen at random, are read back by the tokenizer's recognizer.
        max_error: Character error rate of a span that is read back; above it is drawn again.
        attempts: How often a span is drawn before it stays text.
    """

    min_units: int = 3
    min_codes_per_letter: float = 0.35
    max_codes_per_letter: float = 2.5
    max_repeats: int = 12
    checked_share: float = 0.05
    max_error: float = 0.5
    attempts: int = 3

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 <= self.min_codes_per_letter < self.max_codes_per_letter:
            raise ConfigError("filters.min_codes_per_letter must be below max_codes_per_letter")
        if self.max_repeats < 1 or self.attempts < 1:
            raise ConfigError("filters.max_repeats and filters.attempts must be at least 1")
        if not 0 <= self.checked_share <= 1 or self.max_error < 0:
            raise ConfigError("filters.checked_share must be 0 to 1, max_error at least 0")


def fault(said: str, codes: Sequence[int], *, ended: bool, config: FilterConfig) -> str | None:
    """Return what is wrong with the speech of a span; None if nothing is.

    Args:
        said: What should have been spoken, in words.
        codes: The speech, without its end.
        ended: Whether the model came to an end by itself.
        config: Bounds.
    """
    if not ended:
        return "no end"
    if not codes:
        return "silent"
    letters = sum(letter.isalnum() for letter in said) or 1
    rate = len(codes) / letters
    # A very short text has a pause before and behind it.
    if rate < config.min_codes_per_letter:
        return "too short"
    if len(codes) > config.max_codes_per_letter * letters + 10:
        return "too long"
    return "loop" if repeats(codes) > config.max_repeats else None


def repeats(codes: Sequence[int], longest: int = 8) -> int:
    """Return how often a group of codes, up to ``longest`` of them, comes in a row at the most."""
    most = 1 if codes else 0
    for size in range(1, longest + 1):
        run = 0
        for here, there in zip(codes, codes[size:], strict=False):
            run = run + 1 if here == there else 0
            most = max(most, run // size + 1)
    return most
