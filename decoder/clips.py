"""Recordings in memory, with all that a vocoder learns from.

Letters used in shapes: C mel bands, M mel frames, N = M * hop samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from decoder.features import QUIET, LogMel, MelConfig
from decoder.pitch import PitchConfig, pitch
from voiceglm.manifest import Utterance, read_samples


@dataclass(frozen=True)
class Clip:
    """One utterance with what the vocoder reads and predicts."""

    samples: Tensor  # (N,) int16
    mel: Tensor  # (C, M)
    f0: Tensor  # (M,) Hz, zero where not voiced


class Clips:
    """Utterances in memory, each read and measured when it is first used."""

    def __init__(self, utterances: Sequence[Utterance], mel: MelConfig, pitch: PitchConfig) -> None:
        self.utterances = list(utterances)
        self.pitch = pitch
        self.log_mel = LogMel(mel)
        self._clips: dict[int, Clip] = {}

    def __len__(self) -> int:
        """Return how many utterances there are."""
        return len(self.utterances)

    def __getitem__(self, index: int) -> Clip:
        """Return one utterance, cut to whole frames."""
        if index not in self._clips:
            mel = self.log_mel.config
            samples = read_samples(self.utterances[index], mel.sample_rate)
            samples = samples[: len(samples) // mel.hop * mel.hop]
            self._clips[index] = Clip(
                (samples.clamp(-1, 1) * 32767).round().to(torch.int16),
                self.log_mel(samples),
                pitch(samples, mel, self.pitch),
            )
        return self._clips[index]

    def segment(self, index: int, start: float, num_frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Cut samples (N,), log-mel (C, M) and pitch (M,) out of one utterance.

        Args:
            index: which utterance.
            start: where the cut begins, 0 for the earliest place and 1 for the latest.
            num_frames: M; a shorter utterance is followed by silence.
        """
        clip, hop = self[index], self.log_mel.config.hop
        first = int(start * max(0, len(clip.f0) - num_frames + 1))
        end = first + num_frames
        missing = max(0, end - len(clip.f0))
        samples = clip.samples[first * hop : end * hop].float() / 32767
        return (
            F.pad(samples, (0, missing * hop)),
            F.pad(clip.mel[:, first:end], (0, missing), value=QUIET),
            F.pad(clip.f0[first:end], (0, missing)),
        )
