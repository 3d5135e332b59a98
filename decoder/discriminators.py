"""Networks that tell recorded speech from the vocoder's, in two views of the waveform.

The period view (Kong et al. 2020, HiFi-GAN) folds the samples into a picture as wide as a period;
the spectrogram view (Jang et al. 2021, UnivNet) looks at magnitudes at several resolutions.

Letters used in shapes: B batch, C channels, L samples, P samples of a period, F frequency bins,
T time steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from voiceglm.errors import ConfigError
from voiceglm.ranks import sum_over_ranks, world

SLOPE = 0.1  # of the leaky rectifiers


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Sizes of both views; the defaults are the published ones."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    """Samples; primes, so that the views overlap as little as possible."""
    period_channels: tuple[int, ...] = (32, 128, 512, 1024)
    """Channels of the layers that each make time three times shorter."""
    fft_sizes: tuple[int, ...] = (512, 1024, 2048)
    """Samples in a window; hops are a quarter."""
    spectrogram_channels: int = 32
    spectrogram_layers: int = 4
    """Layers that each halve the number of frequency bins."""

    def __post_init__(self) -> None:
        """Refuse a configuration that judges nothing."""
        if not self.periods and not self.fft_sizes:
            raise ConfigError("discriminator needs at least one of periods and fft_sizes")
        if self.periods and not self.period_channels:
            raise ConfigError("discriminator.period_channels must not be empty")


@dataclass(frozen=True)
class Judgement:
    """What one discriminator says about a batch of waveforms."""

    score: Tensor  # (B, ...), one where it believes the speech to be recorded, else zero
    features: list[Tensor]  # (B, C, ...), what its layers saw


class PeriodDiscriminator(nn.Module):
    """Judges samples that lie one period apart."""

    def __init__(self, period: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        widths = [1, *channels]
        layers = [
            nn.Conv2d(narrow, wide, (5, 1), (3, 1), padding=(2, 0))
            for narrow, wide in pairwise(widths)
        ]
        layers.append(nn.Conv2d(widths[-1], widths[-1], (5, 1), padding=(2, 0)))
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.score = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, samples: Tensor) -> Judgement:
        """Judge waveforms (B, L)."""
        missing = -samples.shape[-1] % self.period
        folded = F.pad(samples[:, None], (0, missing), mode="reflect")
        return _judge(folded.unflatten(-1, (-1, self.period)), self.layers, self.score)


class SpectrogramDiscriminator(nn.Module):
    """Judges magnitudes of the short Fourier transform at one resolution."""

    window: Tensor  # (fft_size,)

    def __init__(self, fft_size: int, channels: int, num_layers: int) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(fft_size), persistent=False)
        layers = [
            nn.Conv2d(channels if index else 1, channels, (9, 3), (2, 1), padding=(4, 1))
            for index in range(num_layers)
        ]
        layers.append(nn.Conv2d(channels, channels, (3, 3), padding=(1, 1)))
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.score = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, samples: Tensor) -> Judgement:
        """Judge waveforms (B, L)."""
        size = len(self.window)
        spectrum = torch.stft(
            samples.float(), size, size // 4, window=self.window, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        # A root of the magnitude brings quiet bins near loud ones without a logarithm's pole.
        return _judge((power + 1e-7).pow(0.25)[:, None], self.layers, self.score)


class Discriminators(nn.Module):
    """Both views at all their scales."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        c = config
        self.views = nn.ModuleList(
            [
                *(PeriodDiscriminator(period, c.period_channels) for period in c.periods),
                *(
                    SpectrogramDiscriminator(size, c.spectrogram_channels, c.spectrogram_layers)
                    for size in c.fft_sizes
                ),
            ]
        )

    def forward(self, samples: Tensor) -> list[Judgement]:
        """Judge waveforms (B, L), one judgement per view."""
        return [view(samples) for view in self.views]


def discriminator_loss(real: Sequence[Judgement], made: Sequence[Judgement]) -> Tensor:
    """Least-squares loss of telling real from made, a mean over views (Mao et al. 2017)."""
    losses = [
        (1 - r.score.float()).square().mean() + m.score.float().square().mean()
        for r, m in zip(real, made, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(made: Sequence[Judgement]) -> Tensor:
    """Least-squares loss of being found out, a mean over views."""
    return torch.stack([(1 - m.score.float()).square().mean() for m in made]).mean()


def feature_loss(real: Sequence[Judgement], made: Sequence[Judgement]) -> Tensor:
    """Mean distance of what the layers saw, relative to how large it is.

    The relative form keeps a deep layer's loss comparable to a shallow one's, so that one weight
    suits every size of discriminator.
    """
    losses = [
        F.l1_loss(b.float(), a.float().detach()) / (_size(a) + 1e-5)
        for r, m in zip(real, made, strict=True)
        for a, b in zip(r.features, m.features, strict=True)
    ]
    return torch.stack(losses).mean()


def _size(features: Tensor) -> Tensor:
    """Return the mean magnitude over a batch, those of other processes included: ()."""
    return sum_over_ranks(features.float().abs().mean()) / world()


def _judge(x: Tensor, layers: nn.ModuleList, score: nn.Module) -> Judgement:
    features = []
    for layer in layers:
        x = F.leaky_relu(layer(x), SLOPE)
        features.append(x)
    return Judgement(score(x), features)
