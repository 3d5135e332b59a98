"""How well speech survives a way through the decoder: what was made beside what was recorded.

Letters used in shapes: C mel bands, M mel frames, N samples.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from decoder.clips import Clip
from decoder.features import LogMel, mel_config
from decoder.pitch import PitchConfig, pitch
from decoder.spectral_loss import log_spectral_distance
from decoder.vocoder import HiFTGenerator


def distances(made: Tensor, real: Tensor, log_mel: LogMel) -> dict[str, float]:
    """Measure how far made speech is from the recording of the same length.

    Args:
        made: (N,).
        real: (N,), at least one mel frame of it.
        log_mel: The mel in which they are compared, and whose frames pitch is found in.

    Returns:
        ``mel``: mean absolute difference of the log-mels; ``decibels``: log-spectral distance;
        ``voicing_error``, ``pitch_error``: see :func:`pitch_distance`.
    """
    search = PitchConfig()
    f0, target = (pitch(samples, log_mel.config, search) for samples in (made, real))
    return {
        "mel": F.l1_loss(log_mel(made), log_mel(real)).item(),
        "decibels": log_spectral_distance(made[None], real[None]).item(),
        **pitch_distance(f0, target),
    }


def pitch_distance(f0: Tensor, target: Tensor, threshold: float = 0.0) -> dict[str, float]:
    """Compare two contours of pitch, both (M,) in Hz and under the threshold where not voiced.

    Returns:
        ``voicing_error``: share of frames whose voicing is wrong; ``pitch_error``: mean relative
        error where both are voiced, as a logarithm.
    """
    ours, theirs = f0 > threshold, target > threshold
    off = (f0[ours & theirs] / target[ours & theirs]).log().abs()
    return {
        "voicing_error": (ours != theirs).float().mean().item(),
        "pitch_error": off.mean().item() if len(off) else 0.0,
    }


def median_pitch(samples: Tensor, log_mel: LogMel) -> float:
    """Return the median pitch of speech (N,) in Hz, zero if nothing is voiced."""
    f0 = pitch(samples, log_mel.config, PitchConfig())
    voiced = f0[f0 > 0]
    return float(voiced.median()) if len(voiced) else 0.0


@torch.no_grad()
def copy_synthesis_error(generator: HiFTGenerator, clips: Iterable[Clip]) -> dict[str, float]:
    """Measure how well recordings survive the way through their own log-mel.

    Returns:
        ``copy_mel``: mean absolute difference of the log-mels; ``copy_db``: log-spectral distance;
        ``voicing_error``, ``pitch_error``: of the predicted pitch, see :func:`pitch_distance`.
    """
    config, device = generator.config, generator.window.device
    log_mel = LogMel(mel_config(config)).to(device)
    rows = []
    for clip in clips:
        real, mel = clip.samples.float().to(device) / 32767, clip.mel.to(device)
        made = generator(mel[None], generator=torch.Generator().manual_seed(0))
        f0, target = generator.f0(mel[None])[0], clip.f0.to(device)
        rows.append(
            {
                "copy_mel": F.l1_loss(log_mel(made)[0], mel).item(),
                "copy_db": log_spectral_distance(made, real[None]).item(),
                **pitch_distance(f0, target, config.voiced_threshold),
            }
        )
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
