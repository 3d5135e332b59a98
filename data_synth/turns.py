"""Who speaks when in a call with one speaker a channel, told by how loud each channel is.

Nothing here looks at words: a pause within a sentence and one after it differ by length only.

Letters used in shapes:

    F  frames of 20 ms
    C  channels
"""

from dataclasses import dataclass

import numpy as np

from data_synth.levels import FRAMES_PER_SECOND


@dataclass(frozen=True, kw_only=True)
class TurnRules:
    """What counts as a turn."""

    min_level_dbfs: float = -50.0
    """Anything quieter is nobody speaking."""
    above_noise_db: float = 12.0
    """Speech is so much louder than its channel's background, its quietest tenth."""
    crosstalk_db: float = 15.0
    """Where the other channel is so much louder, this one hears it through the air."""
    max_pause_seconds: float = 0.8
    """A longer pause ends a turn."""
    min_seconds: float = 0.3
    """Anything shorter is a click or a breath."""
    margin_seconds: float = 0.1
    """Kept before and after, where consonants are quiet."""


@dataclass(frozen=True)
class FoundTurn:
    """One stretch in which a channel speaks."""

    start: float  # seconds
    end: float
    channel: int


def find_turns(levels: np.ndarray, rules: TurnRules) -> list[FoundTurn]:
    """Return the turns of every channel in the order of their starts.

    Args:
        levels: (F, C), in dBFS.
        rules: What counts as a turn.
    """
    if not len(levels):
        return []
    background = np.percentile(levels, 10, axis=0)  # (C,)
    speaks = levels > np.maximum(rules.min_level_dbfs, background + rules.above_noise_db)
    speaks &= levels > levels.max(axis=1, keepdims=True) - rules.crosstalk_db
    found = [
        turn
        for channel in range(levels.shape[1])
        for turn in _stretches(speaks[:, channel], channel, rules)
    ]
    return sorted(found, key=lambda turn: (turn.start, turn.channel))


def _stretches(speaks: np.ndarray, channel: int, rules: TurnRules) -> list[FoundTurn]:
    """Join the loud frames of a channel, (F,) of bool, over short pauses."""
    padded = np.concatenate([[False], speaks, [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(padded)).reshape(-1, 2) / FRAMES_PER_SECOND  # (runs, 2) seconds
    joined: list[list[float]] = []
    for start, end in edges.tolist():
        if joined and start - joined[-1][1] <= rules.max_pause_seconds:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    last = len(speaks) / FRAMES_PER_SECOND
    margin = rules.margin_seconds
    return [
        FoundTurn(max(0.0, start - margin), min(last, end + margin), channel)
        for start, end in joined
        if end - start >= rules.min_seconds
    ]
