"""Training of the flow on recordings of one voice.

Letters used in shapes below:

    B  batch
    T  codes, 12.5 per second
    N  mel channels, 80
    M  mel frames, 86.13 per second

Speaking in pieces is part of the training: batches are cut to a random run of blocks, and items
get a random number of their first frames as a prompt (GLM-4-Voice, arXiv 2412.02612, section 3.2).
There the run always begins with the utterance; here it may begin anywhere, because a stream that
speaks in a bounded window forgets how its utterance began.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from decoder.config import FlowConfig
from decoder.data import FlowDataset, collate
from decoder.flow_model import FlowModel
from voiceglm.training import TrainConfig, fit


class FlowTrainingModel(nn.Module):
    """The flow as the training loop sees it: a batch in, its losses out.

    Random numbers come from the default generator, which the loop seeds, saves and restores.
    """

    def __init__(self, flow: FlowModel) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, codes: Tensor, mel: Tensor) -> dict[str, Tensor]:
        """Return ``loss``, and the two losses it is the sum of.

        Args:
            codes: (B, T).
            mel: (B, N, M), log-mel; M follows from T.
        """
        config = self.flow.config
        codes, mel = self._crop(codes, mel)
        lengths = torch.full((len(mel),), mel.shape[-1], device=mel.device)
        losses = self.flow.losses(
            codes,
            torch.full_like(lengths, codes.shape[1]),
            mel,
            lengths,
            draw_prompt_lengths(lengths, config),
            draws=self.flow.decoder.draw(mel),
        )
        loss = losses.flow
        if config.content_weight:
            loss = loss + config.content_weight * losses.content
        return {"loss": loss, "flow_loss": losses.flow, "content_loss": losses.content}

    def _crop(self, codes: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Cut a random run of blocks out of the batch, or leave it."""
        config, block = self.flow.config, self.flow.config.encoder.block_size
        num_blocks = codes.shape[1] // block
        if num_blocks == 0 or torch.rand(()) >= config.crop_probability:
            return codes, mel
        length = block * int(torch.randint(1, num_blocks + 1, ()))
        start = block * int(torch.randint(num_blocks - length // block + 1, ()))
        first = int(start * config.frames_per_code)
        frames = int(length * config.frames_per_code)
        return codes[:, start : start + length], mel[..., first : first + frames]


def draw_prompt_lengths(lengths: Tensor, config: FlowConfig) -> Tensor:
    """Draw how many first frames each item is given: (B,) -> (B,), many of them 0."""
    share, chance = torch.rand(2, len(lengths), device=lengths.device)
    prompts = (share * (config.max_prompt_share * lengths + 1)).long()
    return torch.where(chance < config.prompt_probability, prompts, 0)


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
    fit(FlowTrainingModel(flow), dataset, collate(config), train, folder, lengths=dataset.lengths)
    return flow.eval()
