"""What a recording sounds like in numbers, whatever it says."""

from dataclasses import dataclass

import numpy as np

from data_synth.levels import FLOOR_DBFS, FRAMES_PER_SECOND, dbfs, frame_powers, frame_size
from data_synth.levels import read_blocks as blocks_of
from voiceglm.audio import AudioInfo, probe_audio
from voiceglm.errors import AudioError
from voiceglm.manifest import Utterance, one_channel

_FULL_SCALE = 0.999  # 16-bit audio that was clipped stands at 0.99997


@dataclass(frozen=True)
class Sound:
    """The figures of one utterance."""

    sample_rate: int  # hertz, of the file
    seconds: float
    peak_dbfs: float
    level_dbfs: float  # of what is not silence
    clipped: float  # share of the samples at full scale
    silence: float  # share of the frames, 0 to 1
    leading_silence: float  # seconds
    trailing_silence: float  # seconds
    num_invalid: int  # samples that are NaN or infinite

    @property
    def speech_seconds(self) -> float:
        """How long it is without its silence."""
        return self.seconds * (1 - self.silence)


class FaultError(Exception):
    """A recording that cannot be measured.

    Attributes:
        kind: What kind of fault, for counting.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def measure(utterance: Utterance, silence_db: float) -> Sound:
    """Measure what training would hear of an utterance, without keeping it in memory.

    Args:
        utterance: One that has a recording.
        silence_db: A frame of 20 ms so much quieter than the loudest (their 95th percentile) is
            silence.

    Raises:
        FaultError: If the file is missing or unreadable, or the utterance is not inside it.
    """
    info = _probe(utterance)
    powers, peak, num_clipped, num_invalid, num_samples = [], 0.0, 0, 0, 0
    try:
        for block, _ in blocks_of(utterance.recording, utterance.start, utterance.num_samples):
            samples = one_channel(block, utterance)
            finite = np.isfinite(samples)
            num_invalid += len(samples) - int(finite.sum())
            samples = np.where(finite, samples, 0.0)
            sizes = np.abs(samples)
            peak = max(peak, float(sizes.max()))
            num_clipped += int((sizes >= _FULL_SCALE).sum())
            num_samples += len(samples)
            powers.append(frame_powers(samples[:, None], frame_size(info.sample_rate))[:, 0])
    except AudioError as error:
        raise FaultError("unreadable file", str(error)) from None
    _check_count(utterance, info, num_samples)
    power = np.concatenate(powers)  # (F,)
    levels = dbfs(power)
    quiet = levels < max(float(np.percentile(levels, 95)) - silence_db, FLOOR_DBFS + 1e-6)
    loud = np.flatnonzero(~quiet)
    first, last = (loud[0], loud[-1] + 1) if len(loud) else (len(levels), len(levels))
    level = dbfs(float(power[~quiet].mean())) if len(loud) else FLOOR_DBFS
    return Sound(
        sample_rate=info.sample_rate,
        seconds=round(num_samples / info.sample_rate, 4),
        peak_dbfs=round(float(dbfs(peak**2)), 2),
        level_dbfs=round(float(level), 2),
        clipped=round(num_clipped / num_samples, 6),
        silence=round(float(quiet.mean()), 4),
        leading_silence=round(float(first) / FRAMES_PER_SECOND, 2),
        trailing_silence=round(float(len(levels) - last) / FRAMES_PER_SECOND, 2),
        num_invalid=num_invalid,
    )


def _probe(utterance: Utterance) -> AudioInfo:
    """Read the file's header and refuse what lies outside of the file."""
    try:
        info = probe_audio(utterance.recording)
    except AudioError as error:
        kind = "missing file" if "no such file" in str(error) else "unreadable file"
        raise FaultError(kind, str(error)) from None
    if utterance.channel is not None and utterance.channel >= info.num_channels:
        message = f"channel {utterance.channel} of a file with {info.num_channels}"
        raise FaultError("outside of the file", message)
    if utterance.num_samples == 0:
        raise FaultError("outside of the file", "num_samples is 0")
    end = utterance.start + (utterance.num_samples or 0)
    if info.is_exact and max(end, utterance.start + 1) > info.num_samples:
        message = f"samples {utterance.start} to {end} of a file with {info.num_samples}"
        raise FaultError("outside of the file", message)
    return info


def _check_count(utterance: Utterance, info: AudioInfo, num_samples: int) -> None:
    """Refuse a file that ends before its header, or its line, says so."""
    expected = utterance.num_samples
    if expected is None:
        expected = info.num_samples - utterance.start if info.is_exact else 1
    if not num_samples or num_samples < expected:
        message = f"{num_samples} samples could be read, expected {expected}"
        raise FaultError("truncated file", message)
