"""Recordings and their codes, as the flow is trained on them.

Letters used in shapes below:

    B  batch
    T  codes, 12.5 per second
    N  mel channels, 80
    M  mel frames, 86.13 per second
    S  numbers of a speaker's embedding
    R  rows of a manifest

A recording is padded or cut to the samples that its codes stand for, so that the frames of
the mel always follow from the number of codes, in training as in speaking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from decoder.config import FlowConfig
from decoder.features import LogMel, mel_config
from decoder.speaker import SpeakerEncoder
from voiceglm.batches import Shared
from voiceglm.errors import ConfigError
from voiceglm.files import write_file
from voiceglm.manifest import Utterance, read_manifest, read_samples


@dataclass(frozen=True, kw_only=True)
class VoicesConfig:
    """Whose recordings teach what."""

    speaker: str = ""
    """Only recordings of this speaker are learned from; empty: everybody's."""
    default: str = ""
    """Whose recordings teach the voice that speaks where none is asked for; empty: everybody's."""
    hidden: float = 0.2
    """Share of those recordings whose speaker the flow is not told."""

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 <= self.hidden <= 1:
            raise ConfigError(f"voices.hidden must be 0 to 1, got {self.hidden}")


@dataclass(frozen=True)
class FlowItem:
    """One recording."""

    codes: Tensor  # (T,), int64
    mel: Tensor  # (N, M), log-mel; M follows from T
    generator: torch.Generator  # where further draws for this item come from
    speaker: Tensor | None = None  # (S,), who speaks, where several voices are learned
    untold: float = 0.0  # how often the flow is not told who speaks


class FlowDataset:
    """The recordings of a manifest; each mel is computed once and kept, in float16.

    Args:
        manifest: Its rows carry ``codes``, a list of integers.
        config: Rates, sizes and the number of codes.
        voices: Whose recordings are used, and for what.
        embeddings: (R, S), who speaks in each row; ``None``: one voice is learned.

    Raises:
        ConfigError: If a row has no codes, or one that is out of range, or a speaker is unknown.
    """

    def __init__(
        self,
        manifest: Path,
        config: FlowConfig,
        voices: VoicesConfig | None = None,
        embeddings: Tensor | None = None,
    ) -> None:
        self.config = config
        self.codes: list[list[int]] = []
        self._utterances: list[Utterance] = []
        self._voices = voices = voices or VoicesConfig()
        self._embeddings = embeddings
        self._rows: list[int] = []  # of the manifest
        utterances = read_manifest(manifest)
        _check_speakers(manifest, utterances, voices)
        for row, utterance in enumerate(utterances):
            if voices.speaker and utterance.speaker != voices.speaker:
                continue
            codes = utterance.extra.get("codes")
            if codes is None or not all(0 <= code < config.num_codes for code in codes):
                raise ConfigError(
                    f"{manifest}: {utterance.path} needs 'codes' in 0..{config.num_codes - 1}, "
                    "made by the tokenizer"
                )
            if codes:
                self.codes.append(list(codes))
                self._utterances.append(utterance)
                self._rows.append(row)
        if not self.codes:
            raise ConfigError(f"{manifest} has no recordings to train on")
        self._mels: list[Tensor | None] = [None] * len(self.codes)
        self._log_mel = LogMel(mel_config(config))

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
        codes = torch.tensor(self.codes[index])
        if self._embeddings is None:
            return FlowItem(codes, mel.float(), generator)
        default = self._voices.default
        may_hide = default in ("", self._utterances[index].speaker)
        speaker = self._embeddings[self._rows[index]]
        untold = self._voices.hidden if may_hide else 0.0
        return FlowItem(codes, mel.float(), generator, speaker, untold)

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
        path, ``noise`` (B, N, M) its start, ``hidden`` (B,) says whose conditions are hidden. Of
        several voices also ``speaker`` (B, S), who speaks, zero where that is not told.
        """
        config = self.config
        start, end = self._run(min(shared.lengths), shared.generator)
        first = int(start * config.frames_per_code)
        last = first + int((end - start) * config.frames_per_code)
        drawn = [self._draw(item, last - first) for item in items]
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

    def _draw(self, item: FlowItem, num_frames: int) -> dict[str, Tensor]:
        """Draw what one item needs."""
        config, generator = self.config, item.generator
        share, given, time, hidden = torch.rand(4, generator=generator)
        prompt = (share * (config.max_prompt_share * num_frames + 1)).long()
        drawn = {
            "prompt_lengths": torch.where(given < config.prompt_probability, prompt, 0),
            "time": time,
            "noise": torch.randn(config.num_mels, num_frames, generator=generator),
            "hidden": hidden < config.guidance_dropout,
        }
        if item.speaker is not None:
            drawn["speaker"] = item.speaker * (torch.rand((), generator=generator) >= item.untold)
        return drawn


def embed_rows(encoder: SpeakerEncoder, manifest: Path, kept: Path) -> Tensor:
    """Say of every row of a manifest who speaks in it: (R, S).

    Args:
        encoder: In evaluation.
        manifest: Recordings.
        kept: A file that embeddings are kept in once they are computed.

    Raises:
        AudioError: If a recording cannot be read.
        OutputError: If the file cannot be written.
    """
    utterances = read_manifest(manifest)
    found = _read_embeddings(kept)
    if found is not None and found.shape == (len(utterances), encoder.config.dim):
        return found
    rate = encoder.config.mel.sample_rate
    rows = [
        encoder.embed(read_samples(utterance, rate), rate)
        for utterance in tqdm(utterances, desc="hear who speaks", unit="clip")
    ]
    write_file(kept, safetensors.torch.save({"embeddings": torch.stack(rows)}))
    return torch.stack(rows)


def _read_embeddings(kept: Path) -> Tensor | None:
    try:
        return safetensors.torch.load_file(kept)["embeddings"]
    except (OSError, SafetensorError, KeyError):  # not there, or of a run that was killed
        return None


def _check_speakers(manifest: Path, utterances: Sequence[Utterance], voices: VoicesConfig) -> None:
    known = sorted({one.speaker for one in utterances if one.speaker})
    for setting, name in (("speaker", voices.speaker), ("default", voices.default)):
        if name and name not in known:
            listed = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
            raise ConfigError(
                f"voices.{setting} is {name!r}, who does not speak in {manifest}; "
                f"known: {listed or 'nobody, its rows have no speaker'}"
            )
