"""How loud a recording is from moment to moment, read piece by piece: any length fits the memory.

Letters used in shapes:

    N  samples
    C  channels
    F  frames of 20 ms
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from voiceglm.errors import AudioError

FRAMES_PER_SECOND = 50
FLOOR_DBFS = -120.0
"""What complete silence is called; its logarithm would be minus infinity."""

_BLOCK_FRAMES = 1_500  # 30 s


def read_blocks(
    path: Path, start: int = 0, num_samples: int | None = None
) -> Iterator[tuple[np.ndarray, int]]:
    """Give a stretch of a file in blocks that are whole frames, but for the last.

    Args:
        path: The recording.
        start: First sample.
        num_samples: How many, or to the end; fewer come if the file has fewer.

    Yields:
        (N, C) float32, and the sample rate in hertz.

    Raises:
        AudioError: If the file cannot be read.
    """
    try:
        with soundfile.SoundFile(path) as file:
            size = frame_size(file.samplerate) * _BLOCK_FRAMES
            left = math.inf if num_samples is None else num_samples  # MP3 only estimates its own
            if start:
                file.seek(start)
            while len(block := file.read(int(min(size, left)), dtype="float32", always_2d=True)):
                left -= len(block)
                yield block, file.samplerate
    except (soundfile.SoundFileError, AssertionError, OSError) as error:
        raise AudioError(f"cannot read {path}: {error}") from None


def frame_size(sample_rate: int) -> int:
    """Return how many samples a frame has."""
    return max(1, sample_rate // FRAMES_PER_SECOND)


def frame_powers(block: np.ndarray, size: int) -> np.ndarray:
    """Return the mean square of every frame: (N, C) -> (F, C); a last part frame counts as one."""
    starts = np.arange(0, len(block), size)
    sums = np.add.reduceat(block.astype(np.float64) ** 2, starts, axis=0)
    lengths = np.minimum(size, len(block) - starts)
    return sums / lengths[:, None]


def dbfs(power: np.ndarray | float) -> np.ndarray:
    """Return mean squares in decibels of full scale; a full-scale square wave has 0."""
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DBFS / 10)))
