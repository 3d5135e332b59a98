"""Which parts of a text are spoken: the span sampler of interleaved speech-text pre-training.

The method of Zeng et al. 2024 (arXiv 2411.17607, section 2): span lengths are drawn from a Poisson
distribution until they cover a share of the text; the spans are put at random places that do not
overlap. Between two spans at least one unit of text remains, as in SlamKit's sampler.

A *unit* is a word, or a single character of Chinese. What is chosen depends on the text, the
settings and the seed alone, on any machine: the draws use Python's own generator.
"""

import hashlib
import math
import random
import re
from dataclasses import dataclass

from voiceglm.errors import ConfigError
from voiceglm.scripts import HAN, HAN_MARKS

Unit = tuple[int, int]  # first character, and the one behind the last

# A character of Chinese or a word without any; marks behind it belong to it.
_UNIT = re.compile(rf"[{HAN}][{HAN_MARKS}]*|[^\s{HAN}]+")


@dataclass(frozen=True, kw_only=True)
class SpanConfig:
    """How spans are drawn.

    Attributes:
        mean_length: Of a span, in units: the Poisson distribution's only parameter.
        share: Of the units that is spoken, on average.
        gap: Units of text that remain between two spans, at least.
        max_length: Longest span, in units: what the text-to-token model can say at once.
        seed: Another seed, other spans.
    """

    mean_length: float = 10.0
    share: float = 0.3
    gap: int = 1
    max_length: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 < self.mean_length <= 500:
            raise ConfigError(f"spans.mean_length must be 0 to 500, got {self.mean_length}")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"spans.share must be 0 to 1, got {self.share}")
        if self.gap < 1 or self.max_length < 1:
            raise ConfigError("spans.gap and spans.max_length must be at least 1")


@dataclass(frozen=True)
class Segment:
    """A stretch of a document; all of them, one after the other, are the document."""

    text: str
    is_spoken: bool


def units(text: str) -> list[Unit]:
    """Return the words of a text, and its characters of Chinese, in order."""
    return [match.span() for match in _UNIT.finditer(text)]


def choose_spans(num_units: int, config: SpanConfig, rng: random.Random) -> list[Unit]:
    """Return which units are spoken: spans of unit numbers, in order.

    The last span that is drawn would cover too much; it is kept as often as makes the share right
    on average. A text without room for a span and its gaps gets fewer.

    Args:
        num_units: Of the text.
        config: How spans are drawn.
        rng: Where the draws come from.
    """
    lengths: list[int] = []
    left = config.share * num_units
    while left > 0:
        length = min(_poisson(config.mean_length, rng), config.max_length)
        if length == 0:
            continue
        if length > left and rng.random() >= left / length:
            break
        left -= length
        lengths.append(length)
    while lengths and sum(lengths) + config.gap * (len(lengths) - 1) > num_units:
        lengths.pop()
    return _place(lengths, num_units, config.gap, rng)


def segments(text: str, config: SpanConfig) -> list[Segment]:
    """Cut a document into what is written and what is spoken, the same on any machine.

    Space behind a span belongs to the text that follows it.
    """
    found = units(text)
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    rng = random.Random(f"{config.seed}/{digest}")
    out: list[Segment] = []
    written_to = 0
    for first, behind in choose_spans(len(found), config, rng):
        start, end = found[first][0], found[behind - 1][1]
        if start > written_to:
            out.append(Segment(text[written_to:start], False))
        out.append(Segment(text[start:end], True))
        written_to = end
    if written_to < len(text):
        out.append(Segment(text[written_to:], False))
    return out


def _place(lengths: list[int], num_units: int, gap: int, rng: random.Random) -> list[Unit]:
    """Put spans at places drawn uniformly among all that leave their gaps."""
    count = len(lengths)
    free = num_units - sum(lengths) - gap * (count - 1)
    # Of free + count places in a row, those of the spans: what lies between are free units.
    places = sorted(rng.sample(range(free + count), count)) if count else []
    found: list[Unit] = []
    covered = 0
    for number, (place, length) in enumerate(zip(places, lengths, strict=True)):
        start = place - number + covered + gap * number
        found.append((start, start + length))
        covered += length
    return found


def _poisson(mean: float, rng: random.Random) -> int:
    """Draw a number (Knuth 1969, volume 2, section 3.4.1)."""
    threshold, product, count = math.exp(-mean), rng.random(), 0
    while product > threshold:
        product *= rng.random()
        count += 1
    return count
