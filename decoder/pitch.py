"""The pitch of recorded speech: what the vocoder's predictor learns from.

Letters used in shapes: N samples, M mel frames.
"""

from dataclasses import dataclass

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decoder.features import MelConfig


@dataclass(frozen=True, kw_only=True)
class PitchConfig:
    """Where pitch is looked for, and what counts as voiced."""

    low_hz: float = 60.0
    high_hz: float = 400.0
    min_correlation: float = 0.6
    """Of a frame with itself one period later; less is not voiced."""
    min_level: float = 0.02
    """Of a frame, as a share of the loudest frame's; less is not voiced."""
    max_ratio: float = 1.8
    """Between a frame's pitch and the median of the utterance; more is a slip of an octave."""


def pitch(samples: Tensor, mel: MelConfig, config: PitchConfig) -> Tensor:
    """Return the pitch at the middle of every mel frame, zero where speech is not voiced.

    YIN (de Cheveigne and Kawahara 2002) gives the period; the correlation of the frame with itself
    one period later says whether there is one.

    Args:
        samples: (N,).
        mel: the frames' rate and length.
        config: the search.

    Returns:
        (M,), Hz, M = N // mel.hop.
    """
    count = len(samples) // mel.hop
    size, hop = mel.fft_size, mel.hop
    edge = (size - hop) // 2
    signal = np.pad(samples.double().numpy(), (edge, edge + size))
    hertz = librosa.yin(
        signal,
        fmin=config.low_hz,
        fmax=config.high_hz,
        sr=mel.sample_rate,
        frame_length=size,
        hop_length=hop,
        center=False,
    )[:count]
    frames = librosa.util.frame(signal, frame_length=size, hop_length=hop, axis=0)[:count]
    return torch.from_numpy(np.where(_voiced(frames, hertz, mel, config), hertz, 0.0)).float()


def _voiced(
    frames: NDArray[np.float64], hertz: NDArray[np.float64], mel: MelConfig, config: PitchConfig
) -> NDArray[np.bool_]:
    """Say which frames (M, size) repeat themselves at the pitch (M,) found for them."""
    size = frames.shape[1]
    period = np.rint(mel.sample_rate / hertz).astype(np.int64)  # (M,) samples
    span = size - int(np.ceil(mel.sample_rate / config.low_hz))  # samples compared
    start = (size - span - period) // 2
    place = start[:, None] + np.arange(span)
    here = np.take_along_axis(frames, place, axis=1)
    later = np.take_along_axis(frames, place + period[:, None], axis=1)
    power = np.sqrt(np.square(here).sum(1) * np.square(later).sum(1))
    correlation = (here * later).sum(1) / np.maximum(power, 1e-9)
    level = np.sqrt(np.square(frames).mean(1))
    loud = level > config.min_level * max(float(level.max(initial=0.0)), 1e-6)
    voiced = loud & (correlation > config.min_correlation)
    if voiced.any():
        distance = np.abs(np.log(hertz / np.median(hertz[voiced])))
        voiced &= distance < np.log(config.max_ratio)
    # A frame that disagrees with both its neighbours is a slip.
    padded = np.pad(voiced.astype(np.int64), 1, mode="edge")
    return padded[:-2] + padded[1:-1] + padded[2:] >= 2
