"""Quantization of frames: one typed layer over three kinds of ``vector-quantize-pytorch``.

Letters used in shapes below:

    B  batch
    T  frames, 12.5 per second
    D  channels of one frame
    N  codes
    M  real frames of this rank's batch, padding left out
    L  levels of finite scalars

One frame in, one code out; nothing here looks at a neighbouring frame, so streaming needs no
state. ``ema`` moves its codebook by averages of the frames assigned to each entry (van den Oord et
al. 2017, appendix A.1), ``fsq`` rounds a few scalars (Mentzer et al. 2023, arXiv 2309.15505),
``simvq`` learns one linear map of a frozen codebook (Zhu et al. 2024, arXiv 2411.02038).

The library gives codebooks, rounding and smoothing. Statistics are ours: summed over all ranks at
every step, so that several processes learn what one would of their joint batch, and none waits for
a rank whose batch is all padding.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import FSQ, SimVQ, VectorQuantize

from tokenizer.config import QuantizerConfig
from voiceglm.ranks import (
    counts_of_ranks,
    mean_over_ranks,
    rank,
    shared_generator,
    sum_over_ranks,
)

_KMEANS_STEPS = 10
_EMPTY_CLUSTER = 1e-2  # frames: dead at once, yet an entry that can be divided by it
_SIMVQ_PULL = 0.25  # of frames towards entries, beside 1 of entries towards frames


@dataclass(frozen=True)
class Quantized:
    """What quantizing a batch gives."""

    frames: Tensor  # (B, T, D), gradients pass straight through to the input; 0 where padding
    codes: Tensor  # (B, T), int64 in [0, N)
    commitment: Tensor  # (), weighted mean squared distance over unmasked frames; 0 in evaluation


class Quantizer(nn.Module, ABC):
    """What the three kinds share: gauges, precision, padding.

    Args:
        config: Size, decay, dead-code rule and so on.
    """

    dead: Tensor  # (), codes whose count was under ``revive_below`` in the last training step

    def __init__(self, config: QuantizerConfig):
        super().__init__()
        self.config = config
        self.register_buffer("dead", torch.zeros(()), persistent=False)

    @property
    @abstractmethod
    def codebook(self) -> Tensor:
        """The entries, (N, D)."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """Look entries up: (B, T) -> (B, T, D)."""

    @property
    def counts(self) -> Tensor:
        """Moving average of frames assigned to each code per training step, (N,)."""
        return self.get_buffer("usage")

    @property
    def perplexity(self) -> Tensor:
        """How many codes are in equal use, by the moving average, (); N at the best."""
        return perplexity(self.counts)

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

    def forward(self, frames: Tensor, mask: Tensor) -> Quantized:
        """Quantize and, while training, learn.

        Args:
            frames: (B, T, D).
            mask: (B, T), True where a frame is real rather than padding.
        """
        with torch.autocast(frames.device.type, enabled=False):
            if not self.training:
                codes = self.encode(frames)
                looked_up = self.lookup(codes).to(frames.dtype)
                return Quantized(looked_up, codes, frames.new_zeros(()))
            found = self._train_step(frames.float(), mask)
        quantized = found.frames.masked_fill(~mask[..., None], 0.0)
        return Quantized(quantized.to(frames.dtype), found.codes, found.commitment)

    @abstractmethod
    def _train_step(self, frames: Tensor, mask: Tensor) -> Quantized:
        """Quantize (B, T, D) float32 frames and update every statistic."""

    def _hits(self, codes: Tensor) -> Tensor:
        """Count (M,) codes over all ranks: (N,) float32."""
        hits = torch.bincount(codes, minlength=self.config.codebook_size)
        return sum_over_ranks(hits.float())

    def _count(self, hits: Tensor) -> None:
        if hits.any():
            self.counts.lerp_(hits, 1.0 - self.config.ema_decay)
            self.dead = (self.counts < self.config.revive_below).sum().float()


class EmaQuantizer(Quantizer):
    """N entries that follow the frames assigned to them; only the encoder learns by gradient.

    Args:
        config: Size, decay and dead-code rule.
        width: Channels of one frame, D.
    """

    def __init__(self, config: QuantizerConfig, width: int):
        super().__init__(config)
        self.library = VectorQuantize(
            width,
            config.codebook_size,
            decay=config.ema_decay,
            eps=1e-5,
            kmeans_init=config.kmeans_init,
            commitment_weight=config.commitment_weight,
            rotation_trick=False,  # the reference passes gradients straight through
            sync_codebook=False,  # summed over ranks here
        )

    @property
    def codebook(self) -> Tensor:
        """The entries, (N, D)."""
        return self.library.codebook

    @property
    def counts(self) -> Tensor:
        """Moving average of frames assigned to each entry per training step, (N,)."""
        return self._buffer("cluster_size")

    @property
    def sums(self) -> Tensor:
        """Moving average of the sum of those frames, (N, D)."""
        return self._buffer("embed_avg")

    def _buffer(self, name: str) -> Tensor:
        return self.library._codebook.get_buffer(name)[0]

    def lookup(self, codes: Tensor) -> Tensor:
        """Look entries up: (B, T) -> (B, T, D)."""
        return F.embedding(codes, self.codebook)

    def _train_step(self, frames: Tensor, mask: Tensor) -> Quantized:
        real = frames.detach()[mask]  # (M, D)
        self._start(real)
        codes = self.encode(frames.detach())
        nearest = self.lookup(codes)
        distances = (frames - nearest).square().mean(2)  # (B, T)
        commitment = self.config.commitment_weight * _masked_mean(distances, mask)
        self._follow(real, codes[mask])
        return Quantized(frames + (nearest - frames).detach(), codes, commitment)

    @torch.no_grad()
    def _follow(self, real: Tensor, codes: Tensor) -> None:
        """Move the entries by the frames of a step: (M, D), (M,)."""
        hits = self._hits(codes)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, real)
        sums = sum_over_ranks(sums)
        if not hits.any():
            return
        self._count(hits)
        self.sums.lerp_(sums, 1.0 - self.config.ema_decay)
        self.library._codebook.update_ema()
        self._revive(real)

    def _revive(self, real: Tensor) -> None:
        """Move unused entries onto real frames, with sum and count, or the next step undoes it."""
        least = self.config.revive_below
        unused = (self.counts < least).nonzero()[:, 0]
        if not len(unused):
            return
        generator = shared_generator(real.device)
        total = sum(counts_of_ranks(len(real), real.device))
        if len(unused) > total:  # the others at a later step, rather than entries that are equal
            chosen = torch.randperm(len(unused), generator=generator)[:total]
            unused = unused[chosen.to(unused.device)]
        entries = pick(real, len(unused), generator)
        self.codebook[unused] = entries
        self.counts[unused] = least
        self.sums[unused] = entries * least

    @torch.no_grad()
    def _start(self, real: Tensor) -> None:
        """Place the entries by k-means before the first step that has a real frame."""
        started = self.library._codebook.get_buffer("initted")
        if started or not sum(counts_of_ranks(len(real), real.device)):
            return
        means = pick(real, self.config.codebook_size, shared_generator(real.device))
        hits = means.new_zeros(len(means))
        for _ in range(_KMEANS_STEPS):
            self.codebook.copy_(means)
            codes = self.encode(real)
            hits = self._hits(codes)
            sums = sum_over_ranks(torch.zeros_like(means).index_add_(0, codes, real))
            means = torch.where(hits[:, None] > 0, sums / hits[:, None].clamp(min=1.0), means)
        counts = hits.clamp(min=_EMPTY_CLUSTER)
        self.codebook.copy_(means)
        self.counts.copy_(counts)
        # The sums of clusters, not their means: a mean divided by its count is a collapse.
        self.sums.copy_(means * counts[:, None])
        started.fill_(True)


class FsqQuantizer(Quantizer):
    """A few scalars, each rounded to a few levels: no codebook is learned.

    The scalars begin as the principal components of the first batch, of variance one, so that
    their levels are in use from the start. Maps as they are drawn leave most frames in the middle.

    Args:
        config: Levels; their product is the number of codes.
        width: Channels of one frame, D.
    """

    started: Tensor  # (), whether the maps have been laid out

    def __init__(self, config: QuantizerConfig, width: int):
        super().__init__(config)
        assert config.levels, "the configuration has levels where the kind is fsq"
        self.library = FSQ(list(config.levels), dim=width)
        self.register_buffer("usage", torch.ones(config.codebook_size))
        self.register_buffer("started", torch.tensor(not self.library.has_projections))

    @property
    def codebook(self) -> Tensor:
        """The frames that codes stand for, (N, D)."""
        return self.library.project_out(self.library.implicit_codebook)

    def encode(self, frames: Tensor) -> Tensor:
        """Round each frame: (B, T, D) -> (B, T)."""
        with torch.autocast(frames.device.type, enabled=False):
            return self._codes(self._round(frames.float()))

    def lookup(self, codes: Tensor) -> Tensor:
        """Turn codes into frames: (B, T) -> (B, T, D)."""
        return self.library.project_out(self.library._indices_to_codes(codes))

    def _round(self, frames: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, L), gradients pass straight through the rounding."""
        return self.library.quantize(self.library.project_in(frames))

    def _codes(self, rounded: Tensor) -> Tensor:
        return self.library.codes_to_indices(rounded.detach()).long()

    @torch.no_grad()
    def _start(self, real: Tensor) -> None:
        """Lay the scalars along principal components: (M, D)."""
        found = None if self.started else moments(real)
        if found is None:
            return
        number = self.library.codebook_dim
        directions, deviations = found.directions[:, :number], found.deviations[:number]
        into = (directions / deviations.clamp(min=1e-4)).T  # (L, D)
        _lay_out(self.library.project_in, into, -into @ found.mean)
        _lay_out(self.library.project_out, directions * deviations, found.mean)
        self.started.fill_(True)

    def _train_step(self, frames: Tensor, mask: Tensor) -> Quantized:
        self._start(frames.detach()[mask])
        rounded = self._round(frames)
        codes = self._codes(rounded)
        self._count(self._hits(codes[mask]))
        return Quantized(self.library.project_out(rounded), codes, frames.new_zeros(()))


class SimVqQuantizer(Quantizer):
    """N frozen random entries under one linear map that is learned: all of them move at once.

    The map begins with entries spread as the frames of the first batch are. As it is drawn, they
    lie around zero on a scale of their own, and a few of them are nearest to everything.

    Args:
        config: Size and commitment.
        width: Channels of one frame, D.
    """

    started: Tensor  # (), whether the map has been laid out

    def __init__(self, config: QuantizerConfig, width: int):
        super().__init__(config)
        self.library = SimVQ(
            width,
            config.codebook_size,
            codebook_transform=nn.Linear(width, width),
            rotation_trick=False,
        )
        self.register_buffer("usage", torch.ones(config.codebook_size))
        self.register_buffer("started", torch.tensor(False))

    @property
    def map(self) -> nn.Linear:
        """What is learned."""
        transform = self.library.code_transform
        assert isinstance(transform, nn.Linear), "the library keeps the map it is given"
        return transform

    @property
    def codebook(self) -> Tensor:
        """The entries as they are mapped now, (N, D)."""
        return self.library.codebook

    def lookup(self, codes: Tensor) -> Tensor:
        """Look entries up: (B, T) -> (B, T, D)."""
        return self.map(F.embedding(codes, self.library.get_buffer("frozen_codebook")))

    @torch.no_grad()
    def _start(self, real: Tensor) -> None:
        """Give the entries the mean and the covariance of frames: (M, D)."""
        found = None if self.started else moments(real)
        if found is None:
            return
        width = real.shape[1]  # the library draws entries of variance 1 / D
        spread = (found.directions * found.deviations) @ found.directions.T
        _lay_out(self.map, width**0.5 * spread, found.mean)
        self.started.fill_(True)

    def _train_step(self, frames: Tensor, mask: Tensor) -> Quantized:
        self._start(frames.detach()[mask])
        with torch.no_grad():
            codes = self.encode(frames)
        nearest = self.lookup(codes)
        to_frames = (nearest - frames.detach()).square().mean(2)  # (B, T)
        to_entries = (frames - nearest.detach()).square().mean(2)
        pull = _masked_mean(to_frames + _SIMVQ_PULL * to_entries, mask)
        self._count(self._hits(codes[mask]))
        straight = frames + (nearest - frames).detach()
        return Quantized(straight, codes, self.config.commitment_weight * pull)


@dataclass(frozen=True)
class Moments:
    """Where frames lie, the same on every rank."""

    mean: Tensor  # (D,)
    directions: Tensor  # (D, D), principal components in columns, the strongest first
    deviations: Tensor  # (D,), standard deviations along them


def moments(real: Tensor) -> Moments | None:
    """Find the moments of the frames of all ranks: (M, D); None if there are none."""
    total = sum(counts_of_ranks(len(real), real.device))
    if not total:
        return None
    mean = sum_over_ranks(real.sum(0)) / total
    covariance = sum_over_ranks((real - mean).T @ (real - mean)) / total
    variances, directions = torch.linalg.eigh(covariance)  # ascending
    largest = directions.abs().argmax(0, keepdim=True)
    directions = (directions * directions.gather(0, largest).sign()).flip(1)
    if rank() > 0:  # another processor may find others where two variances are equal
        directions = torch.zeros_like(directions)
    return Moments(mean, sum_over_ranks(directions), variances.flip(0).clamp(min=0.0).sqrt())


def build_quantizer(config: QuantizerConfig, width: int) -> Quantizer:
    """Build the kind that a configuration asks for, for frames of ``width`` channels."""
    kinds = {"ema": EmaQuantizer, "fsq": FsqQuantizer, "simvq": SimVqQuantizer}
    return kinds[config.kind](config, width)


def perplexity(counts: Tensor) -> Tensor:
    """Return how many codes in equal use would be as uncertain as these counts: (N,) -> ()."""
    shares = counts.float() / counts.sum().clamp(min=1e-12)
    return (-(shares * shares.clamp(min=1e-12).log()).sum()).exp()


def pick(real: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw frames from those of all ranks, the same on each: (M, D) -> (count, D).

    No frame is drawn twice unless there are fewer than ``count``.

    Args:
        real: This rank's frames; there may be none, if another rank has some.
        count: How many are drawn.
        generator: In the same state on every rank.
    """
    sizes = counts_of_ranks(len(real), real.device)
    total, first = sum(sizes), sum(sizes[: rank()])
    if total >= count:
        places = torch.randperm(total, generator=generator)[:count]
    else:
        places = torch.randint(total, (count,), generator=generator)
    mine = (places - first).to(real.device)
    here = (mine >= 0) & (mine < len(real))
    picked = real.new_zeros(count, real.shape[1])
    picked[here] = real[mine[here]]
    return sum_over_ranks(picked)


def _lay_out(map_: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Set a linear map, without gradient."""
    assert isinstance(map_, nn.Linear), "the library maps linearly"
    with torch.no_grad():
        map_.weight.copy_(weight)
        map_.bias.copy_(bias)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real frames of all ranks: (B, T), (B, T) -> (); 0 if there is none."""
    return mean_over_ranks(values.masked_fill(~mask, 0.0).sum(), mask.sum())
