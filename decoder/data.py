"""Recordings of one voice and their codes, as the flow is trained on them.

Letters used in shapes below:

    B  batch
    T  codes, 12.5 per second
    N  mel channels, 80
    M  mel frames, 86.13 per second

A recording is padded or cut to the samples that its codes stand for, so that the frames of
the mel always follow from the number of codes, in training as in speaking.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from decoder.config import FlowConfig
from decoder.features import LogMel, MelConfig
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, read_manifest, read_samples


@dataclass(frozen=True)
class FlowItem:
    """One recording."""

    codes: Tensor  # (T,), int64
    mel: Tensor  # (N, M), log-mel; M follows from T


class FlowDataset(Dataset[FlowItem]):
    """The recordings of a manifest; each mel is computed once and kept, in float16.

    Args:
        manifest: Its rows carry ``codes``, a list of integers.
        config: Rates, sizes and the number of codes.

    Raises:
        ConfigError: If a row has no codes, or one that is out of range.
    """

    def __init__(self, manifest: Path, config: FlowConfig) -> None:
        self.config = config
        self.codes: list[list[int]] = []
        self._utterances: list[Utterance] = []
        for utterance in read_manifest(manifest):
            codes = utterance.extra.get("codes")
            if codes is None or not all(0 <= code < config.num_codes for code in codes):
                raise ConfigError(
                    f"{manifest}: {utterance.path} needs 'codes' in 0..{config.num_codes - 1}, "
                    "made by the tokenizer"
                )
            if codes:
                self.codes.append(list(codes))
                self._utterances.append(utterance)
        if not self.codes:
            raise ConfigError(f"{manifest} has no recordings to train on")
        self._mels: list[Tensor | None] = [None] * len(self.codes)
        self._log_mel = LogMel(
            MelConfig(
                sample_rate=config.sample_rate, hop=config.hop_length, num_bands=config.num_mels
            )
        )

    @property
    def lengths(self) -> list[int]:
        """Number of codes of every recording."""
        return [len(codes) for codes in self.codes]

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self.codes)

    def __getitem__(self, index: int) -> FlowItem:
        """Return one recording."""
        mel = self._mels[index]
        if mel is None:
            mel = self._mels[index] = self._compute(index).half()
        return FlowItem(torch.tensor(self.codes[index]), mel.float())

    def _compute(self, index: int) -> Tensor:
        config = self.config
        samples = read_samples(self._utterances[index], config.sample_rate)
        wanted = round(len(self.codes[index]) / config.code_rate * config.sample_rate)
        samples = F.pad(samples, (0, max(0, wanted - len(samples))))[:wanted]
        return self._log_mel(samples)  # (N, M)


def collate(config: FlowConfig) -> Callable[[Sequence[FlowItem]], dict[str, Tensor]]:
    """Return what joins recordings of about equal length to a batch.

    All are cut to the shortest, because a batch without padding computes a good deal faster,
    and prefixes are what the flow has to learn in any case.
    """

    def join(items: Sequence[FlowItem]) -> dict[str, Tensor]:
        """Return codes (B, T) and mel (B, N, M)."""
        length = min(len(item.codes) for item in items)
        frames = int(length * config.frames_per_code)
        return {
            "codes": torch.stack([item.codes[:length] for item in items]),
            "mel": torch.stack([item.mel[:, :frames] for item in items]),
        }

    return join
