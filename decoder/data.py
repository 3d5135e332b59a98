"""Recordings of one voice and their codes, as the flow is trained on them.

Letters used in shapes below:

    B  batch
    T  codes, 12.5 per second
    N  mel channels, 80
    M  mel frames, 86.13 per second

A recording is padded or cut to the samples that its codes stand for, so that the frames of
the mel always follow from the number of codes, in training as in speaking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from decoder.config import FlowConfig
from decoder.features import LogMel, MelConfig
from voiceglm.batches import Shared
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, read_manifest, read_samples


@dataclass(frozen=True)
class FlowItem:
    """One recording."""

    codes: Tensor  # (T,), int64
    mel: Tensor  # (N, M), log-mel; M follows from T
    generator: torch.Generator  # where further draws for this item come from


class FlowDataset:
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

    def draw(self, index: int, generator: torch.Generator) -> FlowItem:
        """Return one recording."""
        mel = self._mels[index]
        if mel is None:
            mel = self._mels[index] = self._compute(index).half()
        return FlowItem(torch.tensor(self.codes[index]), mel.float(), generator)

    def _compute(self, index: int) -> Tensor:
        config = self.config
        samples = read_samples(self._utterances[index], config.sample_rate)
        wanted = round(len(self.codes[index]) / config.code_rate * config.sample_rate)
        samples = F.pad(samples, (0, max(0, wanted - len(samples))))[:wanted]
        return self._log_mel(samples)  # (N, M)


@dataclass(frozen=True)
class Collate:
    """Joins recordings of about equal length to a batch, and draws what a training step needs.

    All are cut to the shortest, because a batch without padding computes a good deal faster, and
    prefixes are what the flow has to learn in any case. Speaking in pieces is part of the training:
    a share of the batches is cut to a random run of blocks, and some items are given a number of
    their first frames as a prompt (GLM-4-Voice, arXiv 2412.02612, section 3.2). There the run
    always begins with the utterance; here it may begin anywhere, because a stream that speaks in a
    bounded window forgets how its utterance began.
    """

    config: FlowConfig

    def __call__(self, items: Sequence[FlowItem], shared: Shared) -> dict[str, Tensor]:
        """Return ``codes`` (B, T), ``mel`` (B, N, M), and per item the draws of its step.

        ``prompt_lengths`` (B,) counts the frames that are given, ``time`` (B,) is the place on the
        path, ``noise`` (B, N, M) its start, ``hidden`` (B,) says whose conditions are hidden.
        """
        config = self.config
        start, end = self._run(min(shared.lengths), shared.generator)
        first = int(start * config.frames_per_code)
        last = first + int((end - start) * config.frames_per_code)
        drawn = [self._draw(item.generator, last - first) for item in items]
        return {
            "codes": torch.stack([item.codes[start:end] for item in items]),
            "mel": torch.stack([item.mel[:, first:last] for item in items]),
            **{name: torch.stack([each[name] for each in drawn]) for name in drawn[0]},
        }

    def _run(self, num_codes: int, generator: torch.Generator) -> tuple[int, int]:
        """Return which codes are kept: a random run of blocks, or all of them."""
        config, block = self.config, self.config.encoder.block_size
        num_blocks = num_codes // block
        chance = float(torch.rand((), generator=generator))
        if num_blocks == 0 or chance >= config.crop_probability:
            return 0, num_codes
        length = int(torch.randint(1, num_blocks + 1, (), generator=generator))
        start = int(torch.randint(num_blocks - length + 1, (), generator=generator))
        return block * start, block * (start + length)

    def _draw(self, generator: torch.Generator, num_frames: int) -> dict[str, Tensor]:
        """Draw what one item needs."""
        config = self.config
        share, given, time, hidden = torch.rand(4, generator=generator)
        prompt = (share * (config.max_prompt_share * num_frames + 1)).long()
        return {
            "prompt_lengths": torch.where(given < config.prompt_probability, prompt, 0),
            "time": time,
            "noise": torch.randn(config.num_mels, num_frames, generator=generator),
            "hidden": hidden < config.guidance_dropout,
        }
