"""Nearest-neighbour quantization: a thin, typed layer over ``vector-quantize-pytorch``.

Letters used in shapes below:

    B  batch
    T  frames, 12.5 per second
    D  channels of one frame
    N  entries in the codebook

One frame in, one code out; nothing here looks at a neighbouring frame, so streaming needs no
state. The codebook is a buffer: it moves by an exponential moving average of the frames assigned to
each entry, and only the encoder learns by gradient (van den Oord et al. 2017, appendix A.1).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import VectorQuantize

from tokenizer.config import QuantizerConfig


@dataclass(frozen=True)
class Quantized:
    """What quantizing a batch gives."""

    frames: Tensor  # (B, T, D), gradients pass straight through to the input
    codes: Tensor  # (B, T), int64 in [0, N)
    commitment: Tensor  # (), weighted mean squared distance over unmasked frames; 0 in evaluation


class Quantizer(nn.Module):
    """A codebook of N vectors of D channels.

    Args:
        config: Size, decay and dead-code rule.
        width: Channels of one frame, D.
    """

    def __init__(self, config: QuantizerConfig, width: int):
        super().__init__()
        self.library = VectorQuantize(
            width,
            config.codebook_size,
            decay=config.ema_decay,
            eps=1e-5,
            kmeans_init=config.kmeans_init,
            threshold_ema_dead_code=config.revive_below,  # type: ignore[arg-type]  a float works
            commitment_weight=config.commitment_weight,
            rotation_trick=False,  # the reference passes gradients straight through
        )

    @property
    def codebook(self) -> Tensor:
        """The entries, (N, D)."""
        return self.library.codebook

    @property
    def counts(self) -> Tensor:
        """Moving average of frames assigned to each entry per training step, (N,)."""
        counts = self.library._codebook.cluster_size
        assert isinstance(counts, Tensor), "the library keeps its counts in a buffer"
        return counts[0]

    @property
    def perplexity(self) -> Tensor:
        """How many entries are in equal use, by the moving average, (); N at the best."""
        shares = self.counts / self.counts.sum()
        return (-(shares * shares.clamp(min=1e-12).log()).sum()).exp()

    def encode(self, frames: Tensor) -> Tensor:
        """Return the nearest entry of each frame: (B, T, D) -> (B, T).

        The library's own evaluation path copies the whole codebook once per item, 80 MB each at
        released sizes; this is the same arithmetic without the copies, always in float32.
        """
        flat, codebook = frames.flatten(0, -2).float(), self.codebook.float()
        with torch.autocast(frames.device.type, enabled=False):
            norms = codebook.square().sum(1) + flat.square().sum(1, keepdim=True)
            distances = torch.addmm(norms, flat, codebook.T, alpha=-2.0)
        return distances.argmin(1).view(frames.shape[:-1])

    def lookup(self, codes: Tensor) -> Tensor:
        """Look entries up: (B, T) -> (B, T, D)."""
        return F.embedding(codes, self.codebook)

    def forward(self, frames: Tensor, mask: Tensor) -> Quantized:
        """Quantize and, while training, move the codebook.

        Args:
            frames: (B, T, D).
            mask: (B, T), True where a frame is real rather than padding.
        """
        if not self.training:
            codes = self.encode(frames)
            return Quantized(self.lookup(codes).to(frames.dtype), codes, frames.new_zeros(()))
        with torch.autocast(frames.device.type, enabled=False):
            quantized, codes, loss = self.library(frames.float(), mask=mask)
        return Quantized(quantized.to(frames.dtype), codes.clamp(min=0), loss.sum())
