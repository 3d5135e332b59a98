"""One process of a training run of several: a few steps on its share of fixed batches.

    python two_ranks.py RANK WORLD MEETING_FILE OUT

Run with a world of one it takes the joint batches; what must be equal is saved.
"""

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tokenizer.config import (
    EncoderConfig,
    FeatureConfig,
    QuantizerConfig,
    RecognizerConfig,
    TokenizerConfig,
)
from tokenizer.model import SpeechTokenizer
from tokenizer.quantizer import build_quantizer
from voiceglm.ranks import rank, shared_generator, world

WIDTH, LENGTH = 6, 40
EMA = QuantizerConfig(codebook_size=32, ema_decay=0.7, revive_below=0.8, kmeans_init=True)
KINDS = {
    "ema": EMA,
    "ema without k-means": replace(EMA, kmeans_init=False),
    "fsq": QuantizerConfig(kind="fsq", codebook_size=27, levels=(3, 3, 3)),
    "simvq": QuantizerConfig(kind="simvq", codebook_size=32),
}
SPLITS = [(3, 1), (2, 2), (4, 0), (1, 3), (4, 0)]  # items of each rank, step by step
REAL = [(40, 31, 17, 40), (40, 40, 0, 0), (9, 40, 40, 1), (0, 5, 0, 0), (12, 40, 3, 40)]
"""Real frames of each item: in the second step all of rank 1's batch is padding, in the third and
the fifth it is empty, in the fourth rank 0's is padding and nearly all of the codes are dead."""


def share(batch: Tensor, step: int) -> Tensor:
    """This rank's items of a joint batch."""
    if world() == 1:
        return batch
    first = SPLITS[step][0]
    return batch[:first] if rank() == 0 else batch[first:]


def quantize(config: QuantizerConfig) -> dict[str, Tensor]:
    """Train a quantizer behind a linear map for the steps above."""
    torch.manual_seed(1)
    encoder, quantizer = nn.Linear(WIDTH, WIDTH), build_quantizer(config, WIDTH).train()
    torch.manual_seed(100 + rank())  # ranks draw differently unless they agree not to
    out: dict[str, Tensor] = {}
    for step, real in enumerate(REAL):
        generator = torch.Generator().manual_seed(step)
        frames = torch.randn(4, LENGTH, WIDTH, generator=generator)
        aim = torch.randn(4, LENGTH, WIDTH, generator=generator)
        mask = torch.arange(LENGTH) < torch.tensor(real)[:, None]
        if rank() == 0:
            torch.manual_seed(step)
        mine = share(mask, step)
        found = quantizer(encoder(share(frames, step)), mine)
        text = ((found.frames - share(aim, step)).square().mean(2) * mine).sum()
        loss = world() * text / mask.sum() + found.commitment
        weights = [*encoder.parameters(), *quantizer.parameters()]
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        for number, gradient in enumerate(gradients):
            assert gradient is not None, "every weight is reached, whatever the batch"
            if world() > 1:
                distributed.all_reduce(gradient)
            out[f"{step}.gradient.{number}"] = gradient / world()
        out[f"{step}.codebook"] = quantizer.codebook.detach().clone()
        out[f"{step}.counts"] = quantizer.counts.clone()
        out[f"{step}.dead"] = quantizer.dead.clone()
    return out


def tokenize() -> dict[str, Tensor]:
    """Train a whole tokenizer by DistributedDataParallel, with its buffers broadcast."""
    encoder = EncoderConfig(
        width=16, num_heads=2, feedforward_width=32, num_layers=2, max_frames=240,
        pool_after=1, quantize_after=1, encoder_only=False, block_frames=40,
    )  # fmt: skip
    recognizer = RecognizerConfig(
        kind="joint", alphabet="abcdef", num_layers=1, vocab_size=12, max_text_ids=8,
        start_id=9, pad_id=10, end_id=11,
    )  # fmt: skip
    features = FeatureConfig(num_mel_bins=20, fixed_floor=-5.0)
    quantizer = replace(EMA, codebook_size=16)
    torch.manual_seed(2)
    model: nn.Module = SpeechTokenizer(
        TokenizerConfig(
            features=features, encoder=encoder, quantizer=quantizer, recognizer=recognizer
        )
    ).train()
    plain = model
    if world() > 1:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    out: dict[str, Tensor] = {}
    for step in range(2):
        generator = torch.Generator().manual_seed(50 + step)
        values = torch.randn(4, 20, 160, generator=generator)
        mask = torch.arange(160) < torch.tensor([160, 96, 40, 120])[:, None]
        labels = torch.randint(1, 7, (4, 5), generator=generator)
        labels[1, 2:] = -100
        weights = torch.tensor([1.0, 0.3, 1.0, 0.5])
        if rank() == 0:
            torch.manual_seed(step)
        batch: dict[str, Any] = {"text_ids": share(labels, step), "weights": share(weights, step)}
        scalars = model(share(values, step), share(mask, step), share(labels, step), **batch)
        optimizer.zero_grad()
        scalars["loss"].backward()
        optimizer.step()
    out.update({name: value.clone() for name, value in plain.state_dict().items()})
    return out


def steps() -> dict[str, Any]:
    """Everything that a world of any size must agree on."""
    out: dict[str, Any] = {name: quantize(config) for name, config in KINDS.items()}
    out["tokenizer"] = tokenize()
    torch.manual_seed(rank())
    out["drawn"] = {"drawn": torch.rand(3, generator=shared_generator(torch.device("cpu")))}
    return out


if __name__ == "__main__":
    number, size, meeting, place = sys.argv[1:]
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=int(number),
        world_size=int(size),
        timeout=timedelta(seconds=60),
    )
    torch.save(steps(), Path(place))
    distributed.destroy_process_group()
