"""Pictures of speech: a log-mel spectrogram as a small PNG.

Letters used in shapes below: C mel bands, M mel frames, H pixels down, W pixels across.
"""

import struct
import zlib

import numpy as np
from torch import Tensor

from decoder.features import MelConfig, log_mel

RANGE = 7.0  # natural logarithms that are shown, 61 dB
LOUD = -3.0  # the loudest of speech is at least this; what is all quieter stays dark
# From silence to the loudest; colours between these are mixed.
_ANCHORS = (
    (13, 17, 38),
    (59, 28, 98),
    (140, 41, 99),
    (214, 84, 70),
    (248, 164, 62),
    (252, 244, 190),
)


def spectrogram_png(samples: Tensor, sample_rate: int) -> bytes:
    """Draw (num_samples,) of speech: one pixel a mel frame across, low tones at the bottom."""
    highest = min(MelConfig.high_hz, sample_rate / 2)
    mel = log_mel(samples.cpu(), MelConfig(sample_rate=sample_rate, high_hz=highest)).numpy()
    loudest = max(LOUD, float(mel.max(initial=LOUD)))
    levels = np.clip((mel - loudest) / RANGE + 1, 0, 1)  # (C, M)
    return png(np.round(levels[::-1] * 255).astype(np.uint8))


def png(levels: np.ndarray) -> bytes:
    """Write a picture of 256 colours (PNG, second edition, W3C 2003).

    Args:
        levels: (H, W), uint8, both at least 1.
    """
    height, width = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, by palette
    # Each line begins with the number of its filter; 0 is none.
    lines = np.pad(levels, ((0, 0), (1, 0))).tobytes()
    chunks = [
        (b"IHDR", header),
        (b"PLTE", _palette()),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _palette() -> bytes:
    places = np.linspace(0, len(_ANCHORS) - 1, 256)
    anchors = np.array(_ANCHORS).T  # (3, anchors)
    mixed = [np.interp(places, np.arange(len(_ANCHORS)), channel) for channel in anchors]
    return np.round(np.stack(mixed, axis=1)).astype(np.uint8).tobytes()
