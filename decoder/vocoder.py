"""HiFT: log-mel to samples by filtering a harmonic source (Li et al. 2023, HiFTNet).

Letters used in shapes: B batch, C channels, M mel frames, L = M * hop samples, H harmonics with
the fundamental, T frames at an inner rate, S frames of the short Fourier transform.

A batch of padded items equals the items one by one: what lies after an item's end is zero before
every convolution, as the convolutions' own padding is, and both Fourier transforms reflect and
normalise at each item's own end.
"""

import math
from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from decoder.config import VocoderConfig
from decoder.masking import length_mask, masked

MAX_LOG_MAGNITUDE = math.log(100.0)  # of a bin of the output spectrum


class Snake(nn.Module):
    """x + sin(a x)^2 / a, with one learned frequency per channel (Ziyin et al. 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        alpha = self.alpha[:, None].to(x.dtype)
        return x + torch.sin(alpha * x).square() / (alpha + 1e-9)


class ResidualBlock(nn.Module):
    """Pairs of convolutions, the first of each pair dilated, each pair beside a shortcut."""

    def __init__(self, channels: int, kernel_size: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            _same_conv(channels, channels, kernel_size, dilation) for dilation in dilations
        )
        self.convs2 = nn.ModuleList(_same_conv(channels, channels, kernel_size) for _ in dilations)
        self.activations1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C, T), zero where the mask (B, 1, T) is, to the same."""
        pairs = zip(self.convs1, self.convs2, self.activations1, self.activations2, strict=True)
        for conv1, conv2, activation1, activation2 in pairs:
            inner = masked(conv1(activation1(x)), mask)
            x = x + masked(conv2(activation2(inner)), mask)
        return x


class PitchPredictor(nn.Module):
    """Pitch of every mel frame, near zero where speech is not voiced."""

    def __init__(self, in_channels: int, channels: int, num_layers: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(num_layers):
            layers += [_same_conv(channels if index else in_channels, channels, 3), nn.ELU()]
        self.condnet = nn.ModuleList(layers)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-mel (B, C, M) to Hz (B, M)."""
        x = masked(mel, mask)
        for layer in self.condnet:
            x = masked(layer(x), mask)
        return self.classifier(x.transpose(1, 2)).squeeze(-1).abs()


class HarmonicSource(nn.Module):
    """Sines at the pitch and its overtones, and noise, mixed into one signal."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.l_linear = nn.Linear(config.num_harmonics + 1, 1)

    def turns(self, f0: Tensor, start: Tensor | None = None) -> Tensor:
        """Return how far the fundamental has turned at every sample, whole turns left out.

        In double, and modulo one before the overtones are taken: an error of the phase would grow
        with the length of the utterance.

        Args:
            f0: (B, M), Hz.
            start: (B, 1, 1), turns before the first sample, of a signal that goes on; else 0.

        Returns:
            (B, 1, L), float64 in [0, 1).
        """
        rates = f0.double() / self.config.sample_rate
        turns = rates.repeat_interleave(self.config.hop_length, dim=-1).cumsum(-1)[:, None]
        return (turns if start is None else turns + start).remainder(1.0)

    def forward(
        self, f0: Tensor, *, phase: Tensor, noise: Tensor, turns: Tensor | None = None
    ) -> Tensor:
        """Return the source of every sample.

        Args:
            f0: (B, M), Hz.
            phase: (B, H, 1), radians at the start, usually zero for the fundamental.
            noise: (B, H, L), standard normal.
            turns: (B, 1, L), what :meth:`turns` gives for a signal that goes on.

        Returns:
            (B, 1, L), within -1 to 1.
        """
        c = self.config
        turns = (self.turns(f0) if turns is None else turns).float()
        order = torch.arange(1, c.num_harmonics + 2, device=f0.device)[:, None]  # (H, 1)
        sines = torch.sin(2 * math.pi * (order * turns).remainder(1.0) + phase)
        voiced = f0.repeat_interleave(c.hop_length, dim=-1)[:, None] > c.voiced_threshold
        level = torch.where(voiced, c.nsf_sigma, c.nsf_alpha / 3)
        values = c.nsf_alpha * sines * voiced + level * noise  # (B, H, L)
        return torch.tanh(self.l_linear(values.transpose(1, 2))).transpose(1, 2)


class HiFTGenerator(nn.Module):
    """The vocoder: pitch, source, and a network that filters the source into speech."""

    window: Tensor  # (n_fft,)

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = c = config
        widths = [c.base_channels // 2**n for n in range(len(c.upsample_rates) + 1)]
        bins = c.istft_n_fft + 2  # real and imaginary parts, or magnitudes and phases
        self.f0_predictor = PitchPredictor(c.in_channels, c.f0_channels, c.f0_num_layers)
        self.m_source = HarmonicSource(c)
        self.conv_pre = _same_conv(c.in_channels, c.base_channels, 7)
        self.ups = nn.ModuleList(
            weight_norm(nn.ConvTranspose1d(wide, narrow, size, rate, (size - rate) // 2))
            for wide, narrow, size, rate in zip(
                widths, widths[1:], c.upsample_kernel_sizes, c.upsample_rates, strict=False
            )
        )
        # How much slower than the spectrum of the source each stage runs: 8 and 1 as released.
        slower = [*accumulate(c.upsample_rates[:0:-1], int.__mul__, initial=1)][::-1]
        self.source_downs = nn.ModuleList(
            _down_conv(bins, width, factor)
            for width, factor in zip(widths[1:], slower, strict=True)
        )
        self.source_resblocks = nn.ModuleList(
            ResidualBlock(width, size, c.source_resblock_dilations)
            for width, size in zip(widths[1:], c.source_resblock_kernel_sizes, strict=True)
        )
        self.resblocks = nn.ModuleList(
            ResidualBlock(width, size, c.resblock_dilations)
            for width in widths[1:]
            for size in c.resblock_kernel_sizes
        )
        self.conv_post = _same_conv(widths[-1], bins, 7)
        self.register_buffer("window", torch.hann_window(c.istft_n_fft), persistent=False)

    def f0(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the pitch of log-mel frames: (B, C, M) -> (B, M), Hz."""
        return self.f0_predictor(mel, _mask(lengths, mel.shape[-1]))

    def source(
        self, f0: Tensor, *, phase: Tensor, noise: Tensor, cached: Tensor | None = None
    ) -> Tensor:
        """Return the excitation of a pitch contour.

        Args:
            f0: (B, M), Hz.
            phase: (B, H, 1), radians at the start of each harmonic.
            noise: (B, H, L), standard normal.
            cached: (B, 1, n), excitation of an earlier call that replaces the first n samples.

        Returns:
            (B, 1, L).
        """
        source = self.m_source(f0, phase=phase, noise=noise)
        return (
            source if cached is None else torch.cat([cached, source[..., cached.shape[-1] :]], -1)
        )

    def draw(
        self, batch_size: int, num_frames: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw the phases (B, H, 1) and the noise (B, H, L) that :meth:`source` needs."""
        phase = self.draw_phase(batch_size, generator)
        return phase, self.draw_noise(batch_size, num_frames, generator)

    def draw_phase(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Draw the phase at which each harmonic starts: (B, H, 1), the fundamental's 0."""
        shape = (batch_size, self.config.num_harmonics + 1, 1)
        phase = torch.rand(shape, generator=generator, device=generator.device)
        phase = (2 * phase - 1) * math.pi
        phase[:, 0] = 0.0
        return phase.to(self.window.device)

    def draw_noise(self, batch_size: int, num_frames: int, generator: torch.Generator) -> Tensor:
        """Draw (B, H, L), frame after frame: one item gets the same in one draw or in many."""
        harmonics, hop = self.config.num_harmonics + 1, self.config.hop_length
        shape = (batch_size, num_frames, harmonics, hop)
        noise = torch.randn(shape, generator=generator, device=generator.device)
        return noise.transpose(1, 2).flatten(2).to(self.window.device)

    def synthesize(self, mel: Tensor, source: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Filter the source into speech.

        Args:
            mel: (B, C, M), natural-log mel.
            source: (B, 1, L).
            lengths: (B,), real frames of each item; all of them if not given.

        Returns:
            (B, L), zero after each item's end.
        """
        return self._to_samples(self._spectrum(mel, source, lengths), lengths)

    @property
    def pitch_margin(self) -> int:
        """Mel frames on either side that the pitch of a frame depends on."""
        return self.config.f0_num_layers

    @property
    def margin(self) -> int:
        """Mel frames on either side that the samples of a frame depend on, source given."""
        c = self.config
        sides = c.istft_n_fft // (2 * c.istft_hop) + 1  # spectral frames beside one, both ways
        rates = [*accumulate(c.upsample_rates, int.__mul__)]  # per mel frame
        widest = max(_reach(size, c.resblock_dilations) for size in c.resblock_kernel_sizes)
        reach = (sides + 3) / rates[-1]  # back from the samples, the last convolution first
        longest = 0.0
        for stage in reversed(range(len(rates))):
            reach += widest / rates[stage]
            size = c.source_resblock_kernel_sizes[stage]
            source = (_reach(size, c.source_resblock_dilations) + 1) / rates[stage]
            source += sides / rates[-1]
            longest = max(longest, reach + source)
            reach += c.upsample_rates[stage] / rates[stage]  # one frame before the upsampling
        return math.ceil(max(longest, reach + 3)) + 1

    def forward(
        self, mel: Tensor, *, generator: torch.Generator, lengths: Tensor | None = None
    ) -> Tensor:
        """Turn log-mel (B, C, M) into samples (B, L); the generator draws phases and noise."""
        phase, noise = self.draw(len(mel), mel.shape[-1], generator)
        source = self.source(self.f0(mel, lengths), phase=phase, noise=noise)
        return self.synthesize(mel, source, lengths)

    def _spectrum(self, mel: Tensor, source: Tensor, lengths: Tensor | None) -> Tensor:
        """Return log-magnitudes and phases (B, n_fft + 2, S) of the speech."""
        c = self.config
        rate, num_kernels = 1, len(c.resblock_kernel_sizes)
        source_bins = self._analyse(source, lengths)
        mask = _mask(lengths, mel.shape[-1])
        x = masked(self.conv_pre(masked(mel, mask)), mask)
        for stage, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, c.lrelu_slope))
            rate *= c.upsample_rates[stage]
            last = stage == len(self.ups) - 1
            if last:  # n hops have n + 1 edges, each the middle of a Fourier frame
                x = F.pad(x, (1, 0), mode="reflect")
            mask = _mask(lengths, x.shape[-1], rate, extra=int(last))
            side = masked(self.source_downs[stage](source_bins), mask)
            x = masked(x, mask) + self.source_resblocks[stage](side, mask)
            blocks = self.resblocks[stage * num_kernels : (stage + 1) * num_kernels]
            x = torch.stack([block(x, mask) for block in blocks]).mean(0)
        return self.conv_post(F.leaky_relu(x))

    def _analyse(self, source: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the spectrum of the source, (B, 1, L) -> (B, n_fft + 2, S), real parts first."""
        c = self.config
        edge, num_samples = c.istft_n_fft // 2, source.shape[-1]
        end = num_samples if lengths is None else c.hop_length * lengths[:, None]
        position = torch.arange(-edge, num_samples + edge, device=source.device).abs()
        mirrored = torch.where(position < end, position, 2 * (end - 1) - position).clamp_min(0)
        padded = source[:, 0].gather(1, mirrored.expand(len(source), -1))
        bins = torch.stft(
            padded,
            c.istft_n_fft,
            c.istft_hop,
            window=self.window,
            center=False,
            return_complex=True,
        )
        mask = _mask(lengths, bins.shape[-1], c.hop_length // c.istft_hop, extra=1)
        return masked(torch.cat([bins.real, bins.imag], dim=1), mask)

    def _to_samples(self, spectrum: Tensor, lengths: Tensor | None) -> Tensor:
        """Overlap-add magnitudes and phases (B, n_fft + 2, S) into samples (B, L)."""
        c = self.config
        num_frames = spectrum.shape[-1]
        spectrum = spectrum.float()
        logarithm, angle = spectrum.chunk(2, dim=1)
        magnitude = logarithm.clamp_max(MAX_LOG_MAGNITUDE).exp()
        bins = torch.polar(magnitude, c.phase_limit * torch.sin(angle))
        frames = torch.fft.irfft(bins, dim=1) * self.window[:, None]  # (B, n_fft, S)
        mask = _mask(lengths, num_frames, c.hop_length // c.istft_hop, extra=1)
        weight = self.window.square()[:, None].expand(1, -1, num_frames)
        weight = self._overlap_add(masked(weight, mask))
        samples = self._overlap_add(masked(frames, mask)) / weight.clamp_min(1e-11)
        mask = _mask(lengths, samples.shape[-1], c.hop_length)
        return masked(samples[:, None], mask)[:, 0].clamp(-c.audio_limit, c.audio_limit)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """(B, n_fft, S) -> (B, L), the half frames at both ends cut off."""
        size, hop, count = self.config.istft_n_fft, self.config.istft_hop, frames.shape[-1]
        total = hop * (count - 1) + size
        added = F.fold(frames, (1, total), kernel_size=(1, size), stride=(1, hop))
        return added[:, 0, 0, size // 2 : total - size // 2]


def parametrized(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors of old-style weight normalisation to the names of this module."""
    ends = {
        ".weight_g": ".parametrizations.weight.original0",
        ".weight_v": ".parametrizations.weight.original1",
    }
    renamed = {}
    for name, tensor in tensors.items():
        end = next((end for end in ends if name.endswith(end)), "")
        renamed[name.removesuffix(end) + ends.get(end, "")] = tensor
    return renamed


def folded(vocoder: "HiFTGenerator") -> "HiFTGenerator":
    """Return a copy with every normalised weight replaced by its value, for inference.

    A deep copy would share the classes that torch makes for normalised modules, and folding it
    would break the original, which may still be in training.
    """
    with torch.random.fork_rng(devices=[]):
        copy = HiFTGenerator(vocoder.config)
    weights: dict[str, Tensor] = {**vocoder.state_dict()}
    for name, part in vocoder.named_modules():
        if parametrize.is_parametrized(part, "weight"):
            for number in (0, 1):
                del weights[f"{name}.parametrizations.weight.original{number}"]
            value = part.weight
            assert isinstance(value, Tensor), "a normalised weight is computed when it is asked for"
            weights[f"{name}.weight"] = value.detach()
    for part in copy.modules():
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight")
    window = vocoder.window
    copy = copy.to(device=window.device, dtype=window.dtype)
    copy.load_state_dict(weights)
    return copy.train(vocoder.training)


def _same_conv(in_channels: int, out_channels: int, size: int, dilation: int = 1) -> nn.Module:
    padding = dilation * (size - 1) // 2
    return weight_norm(
        nn.Conv1d(in_channels, out_channels, size, padding=padding, dilation=dilation)
    )


def _reach(size: int, dilations: tuple[int, ...]) -> int:
    """Return how many frames each way a residual block looks."""
    return size // 2 * (sum(dilations) + len(dilations))


def _down_conv(in_channels: int, out_channels: int, factor: int) -> nn.Module:
    if factor == 1:
        return nn.Conv1d(in_channels, out_channels, 1)
    return nn.Conv1d(in_channels, out_channels, 2 * factor, factor, factor // 2)


def _mask(
    lengths: Tensor | None, size: int, per_frame: int = 1, *, extra: int = 0
) -> Tensor | None:
    """Return (B, 1, size), True up to each item's end at a rate of ``per_frame``."""
    if lengths is None:
        return None
    return length_mask(lengths * per_frame + extra, size)[:, None]
