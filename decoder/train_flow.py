"""Training of the flow on recordings of one voice.

Letters used in shapes below:

    B  batch
    T  codes, 12.5 per second
    N  mel channels, 80
    M  mel frames, 86.13 per second
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from decoder.config import FlowConfig
from decoder.data import Collate, FlowDataset
from decoder.flow import FlowDraws
from decoder.flow_model import FlowModel
from voiceglm.batches import ItemBatches
from voiceglm.train_config import TrainConfig
from voiceglm.training import fit


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
    ) -> dict[str, Tensor]:
        """Return ``loss``, and the two losses it is the sum of.

        Args:
            codes: (B, T).
            mel: (B, N, M), log-mel; M follows from T.
            prompt_lengths: (B,), first frames that are given.
            time: (B,), in 0 .. 1.
            noise: (B, N, M).
            hidden: (B,), whose conditions are hidden.
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
        )
        loss = losses.flow
        if config.content_weight:
            loss = loss + config.content_weight * losses.content
        return {"loss": loss, "flow_loss": losses.flow, "content_loss": losses.content}


def train_flow(manifest: Path, config: FlowConfig, train: TrainConfig, folder: Path) -> FlowModel:
    """Train a flow, from scratch or from where a stopped run left off.

    Args:
        manifest: Recordings of one voice; every row carries its ``codes``.
        config: What the flow is made of.
        train: How it is trained.
        folder: Where checkpoints and metrics are kept.

    Raises:
        ConfigError: If the manifest cannot be used.
        TrainingError: If the loss is not finite.
    """
    dataset = FlowDataset(manifest, config)
    with torch.random.fork_rng():
        torch.manual_seed(train.seed)
        flow = FlowModel(config)
    batches = ItemBatches(
        dataset,
        Collate(config),
        batch_size=train.items_per_batch,
        lengths=dataset.lengths,
        seed=train.seed,
    )
    fit(FlowTrainingModel(flow), batches, train, folder)
    return flow.eval()
