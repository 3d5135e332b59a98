"""Waveform to log-mel features, the way Whisper does it.

Letters used in shapes below:

    B  batch
    F  mel bands
    L  feature frames, 100 per second, always a multiple of 8 (one code)
"""

from dataclasses import dataclass

import librosa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tokenizer.config import FeatureConfig

FRAMES_PER_CODE = 8  # 100 Hz features, 12.5 Hz codes


@dataclass(frozen=True)
class Features:
    """Log-mel features of a padded batch."""

    values: Tensor  # (B, F, L)
    mask: Tensor  # (B, L), True where a frame begins inside the recording


class LogMel(nn.Module):
    """Log-mel spectrogram, normalised to about [-1, 1].

    Each item is transformed on its own and padded afterwards, so an item's features never depend on
    what it is batched with.
    """

    window: Tensor  # (window,)
    filters: Tensor  # (window // 2 + 1, F)

    def __init__(self, config: FeatureConfig):
        super().__init__()
        self.config = config
        filters = librosa.filters.mel(
            sr=config.sample_rate, n_fft=config.window, n_mels=config.num_mel_bins
        )
        self.register_buffer("window", torch.hann_window(config.window), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters).T.contiguous(), persistent=False)

    @property
    def samples_per_code(self) -> int:
        """Samples that become one code: 1280 at 16 kHz, 80 ms."""
        return self.config.hop * FRAMES_PER_CODE

    def forward(self, pieces: list[Tensor]) -> Features:
        """Transform and pad a batch: B tensors (num_samples,) -> features.

        A piece is filled with zeros to a whole number of codes before it is transformed.
        """
        device = self.window.device
        items = [self._item(piece.to(device)) for piece in pieces]  # each (F, L_i)
        length = max(item.shape[1] for item in items)
        values = torch.stack([F.pad(item, (0, length - item.shape[1])) for item in items])
        starts = torch.arange(length, device=device) * self.config.hop  # first sample of a frame
        counts = torch.tensor([len(piece) for piece in pieces], device=device)
        return Features(values, starts[None, :] < counts[:, None])

    @property
    def margin(self) -> int:
        """Samples a frame looks at before and after its own place: half a window."""
        return self.config.window // 2

    def log_power(self, samples: Tensor) -> Tensor:
        """Return the log10 mel power of whole windows: (margin + L * hop + margin,) -> (F, L).

        The frame at ``n * hop`` of the recording is the n-th if ``samples`` begin ``margin`` before
        the recording does.
        """
        config = self.config
        spectrum = torch.stft(
            samples,
            config.window,
            config.hop,
            window=self.window,
            center=False,
            return_complex=True,
        )
        power = spectrum.abs().square()  # (window // 2 + 1, L)
        return (self.filters.T @ power).clamp(min=1e-10).log10()

    def scale(self, log_power: Tensor, lowest: Tensor | float) -> Tensor:
        """Cut log10 powers off at ``lowest`` and bring them to about [-1, 1]."""
        return (log_power.clamp(min=lowest) + 4.0) / 4.0

    def _item(self, samples: Tensor) -> Tensor:
        samples = F.pad(samples.float(), (0, -len(samples) % self.samples_per_code))
        edges = F.pad(samples[None], (self.margin, self.margin), mode="reflect")[0]
        log_power = self.log_power(edges)[:, : len(samples) // self.config.hop]
        floor = self.config.fixed_floor
        return self.scale(log_power, log_power.max() - 8.0 if floor is None else floor)
