"""Training of the flow on recordings of one voice or of many.

Letters used in shapes below:

    B  batch
    T  codes, 12.5 per second
    N  mel channels, 80
    M  mel frames, 86.13 per second
    S  numbers of a speaker's embedding

Of several voices, the flow is told who speaks by an embedding of the recording itself. A share of
items is not told, and teaches the voice that speaks where none is asked for. As published, training
then has a second stage on one voice: it starts from the flow of the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from decoder.config import FlowConfig
from decoder.data import Collate, FlowDataset, VoicesConfig, embed_rows
from decoder.flow import FlowDraws
from decoder.flow_model import FlowModel
from decoder.samples import FlowSamples
from decoder.speaker import SpeakerEncoder
from decoder.vocoder import HiFTGenerator
from voiceglm.batches import ItemBatches
from voiceglm.checkpoint import load_into
from voiceglm.errors import ConfigError
from voiceglm.manifest import read_manifest
from voiceglm.train_config import TrainConfig
from voiceglm.training import fit

EMBEDDINGS = "speakers.safetensors"
"""In the folder of a run: who speaks in each row of its manifest."""


@dataclass(frozen=True, kw_only=True)
class FlowTask:
    """A training by command: all that it is asked for."""

    manifests: tuple[str, ...]
    tokenizer: str
    """Model whose tokenizer makes codes where a manifest has none."""
    model: FlowConfig
    train: TrainConfig
    voices: VoicesConfig = field(default_factory=VoicesConfig)
    start_from: str | None = None
    """A model, a decoder or the ``model/`` of another run, whose weights are gone on with."""
    speaker_encoder: str | None = None
    """Hears who speaks; without one, one voice is learned."""


@dataclass(frozen=True)
class Start:
    """What a training starts from, beside random weights."""

    tensors: Mapping[str, Tensor] | None = None  # of another flow of the same sizes
    where: str = ""  # what to call them in messages
    encoder: SpeakerEncoder | None = None  # hears who speaks; without, one voice is learned
    vocoder: HiFTGenerator | None = None  # makes samples sound; without, none are made


class FlowTrainingModel(nn.Module):
    """The flow as the training loop sees it: a batch in, its losses out."""

    def __init__(self, flow: FlowModel) -> None:
        super().__init__()
        self.flow = flow

    def forward(
        self,
        codes: Tensor,
        mel: Tensor,
        prompt_lengths: Tensor,
        time: Tensor,
        noise: Tensor,
        hidden: Tensor,
        speaker: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return ``loss``, and the two losses it is the sum of.

        Args:
            codes: (B, T).
            mel: (B, N, M), log-mel; M follows from T.
            prompt_lengths: (B,), first frames that are given.
            time: (B,), in 0 .. 1.
            noise: (B, N, M).
            hidden: (B,), whose conditions are hidden.
            speaker: (B, S), who speaks, zero where that is not told; or ``None``.
        """
        config = self.flow.config
        lengths = torch.full((len(mel),), mel.shape[-1], device=mel.device)
        losses = self.flow.losses(
            codes,
            torch.full_like(lengths, codes.shape[1]),
            mel,
            lengths,
            prompt_lengths,
            draws=FlowDraws(time, noise, hidden),
            speaker=speaker,
        )
        loss = losses.flow
        if config.content_weight:
            loss = loss + config.content_weight * losses.content
        return {"loss": loss, "flow_loss": losses.flow, "content_loss": losses.content}


def train_flow(
    manifest: Path,
    config: FlowConfig,
    train: TrainConfig,
    folder: Path,
    *,
    voices: VoicesConfig | None = None,
    start: Start | None = None,
) -> FlowModel:
    """Train a flow, from scratch or from where a stopped run left off.

    Args:
        manifest: Recordings; every row carries its ``codes``.
        config: What the flow is made of.
        train: How it is trained.
        folder: Where checkpoints and metrics are kept.
        voices: Whose recordings are used; everybody's if ``None``.
        start: Weights to start from, what hears who speaks, what makes samples sound.

    Raises:
        CheckpointError: If the weights to start from are of another architecture.
        ConfigError: If the manifest cannot be used, or the encoder is of another size.
        TrainingError: If the loss is not finite.
    """
    start = start or Start()
    with torch.random.fork_rng():
        torch.manual_seed(train.seed)
        flow = FlowModel(config)
    if start.tensors is not None:
        load_into(flow, start.tensors, where=start.where)
    folder.mkdir(parents=True, exist_ok=True)
    embeddings = None
    if start.encoder is not None:
        _check_size(start.encoder, config)
        embeddings = embed_rows(start.encoder, manifest, folder / EMBEDDINGS)
    dataset = FlowDataset(manifest, config, voices, embeddings)
    batches = ItemBatches(
        dataset,
        Collate(config),
        batch_size=train.items_per_batch,
        lengths=dataset.lengths,
        seed=train.seed,
    )
    samples = None
    if start.vocoder is not None:
        samples = FlowSamples(flow, start.vocoder, read_manifest(manifest))
    fit(FlowTrainingModel(flow), batches, train, folder, samples=samples)
    return flow.eval()


def _check_size(encoder: SpeakerEncoder, config: FlowConfig) -> None:
    if encoder.config.dim != config.speaker_dim:
        raise ConfigError(
            f"model.speaker_dim is {config.speaker_dim}, the speaker encoder gives "
            f"{encoder.config.dim} numbers"
        )
