"""How far apart two waveforms are for the ear: distances between magnitude spectra.

Letters used in shapes: B batch, N samples, F frequency bins, T time steps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR = 1e-5  # of a power; about 100 dB under a full-scale sine


class SpectralLoss(nn.Module):
    """Multi-resolution distance of Yamamoto et al. 2020 (Parallel WaveGAN), section 2.2."""

    def __init__(self, fft_sizes: Sequence[int]) -> None:
        super().__init__()
        self.fft_sizes = tuple(fft_sizes)

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """Return the mean over resolutions of convergence and log-magnitude distance.

        Args:
            made: (B, N).
            real: (B, N).
        """
        losses = []
        for size in self.fft_sizes:
            a, b = _magnitude(made, size), _magnitude(real, size)
            convergence = torch.linalg.vector_norm(b - a, dim=(1, 2)) / torch.linalg.vector_norm(
                b, dim=(1, 2)
            )
            losses.append(convergence.mean() + F.l1_loss(a.log(), b.log()))
        return torch.stack(losses).mean()


def log_spectral_distance(made: Tensor, real: Tensor, fft_size: int = 1024) -> Tensor:
    """Return the root mean square over bins of the level difference, a mean over frames, in dB."""
    a, b = _magnitude(made, fft_size), _magnitude(real, fft_size)
    return (20 * (a / b).log10()).square().mean(1).sqrt().mean()


def _magnitude(samples: Tensor, size: int) -> Tensor:
    """(B, N) to (B, F, T)."""
    window = torch.hann_window(size, device=samples.device)
    spectrum = torch.stft(samples.float(), size, size // 4, window=window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp_min(FLOOR).sqrt()
