"""Speech while its codes are still being written, at a cost per chunk that never grows.

The vocoder's stream is exact: it computes a frame when everything that the frame depends on has
come, and gives the very samples of the whole. The flow cannot be: its estimator attends to all
frames at once. So each chunk of codes is spoken after a bounded window of past codes, with their
mel as prompt if the model is made for that; the last frames of a chunk, spoken without a future,
are held back and faded into the same frames as the next chunk speaks them. Noise belongs to a
frame, whoever computes it.

Letters used in shapes below:

    N  mel channels
    M  mel frames
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from decoder.flow_model import DEFAULT_SEED, FlowModel
from decoder.style import Stretch, amplified
from decoder.vocoder import HiFTGenerator
from decoder.voice import Voice
from voiceglm.errors import AudioError, ConfigError
from voiceglm.style import Style


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How codes are cut into chunks; counts of codes are multiples of the encoder's block."""

    chunks: tuple[int, ...] = (10, 10, 20, 30)
    """Codes of the first chunks; all further ones are as long as the last of these."""
    window: int = 30
    """Most past codes that a chunk is told about."""
    overlap: int = 7
    """Mel frames of a chunk that are held back and faded into the next."""

    def size(self, number: int) -> int:
        """Return the codes of a chunk; the first is number 0."""
        return self.chunks[min(number, len(self.chunks) - 1)]

    def __post_init__(self) -> None:
        if not self.chunks or min(*self.chunks, self.window) < 1 or self.overlap < 0:
            raise ConfigError(
                "stream.chunks and stream.window must be positive, stream.overlap not negative"
            )


@dataclass(frozen=True)
class Draws:
    """Where random numbers come from; apart, so that neither waits for the other's."""

    mel: torch.Generator
    source: torch.Generator

    @classmethod
    def of(cls, generator: torch.Generator | None = None) -> "Draws":
        """Seed both from one generator, a fresh one seeded 0 if ``None``."""
        generator = generator or torch.Generator().manual_seed(DEFAULT_SEED)
        seeds = torch.randint(2**62, (2,), generator=generator, device=generator.device).tolist()
        mel, source = (torch.Generator(generator.device).manual_seed(seed) for seed in seeds)
        return cls(mel, source)


class VocoderStream:
    """Mel frames to the samples that the whole mel would give.

    Args:
        vocoder: In evaluation.
        generator: Of phases and noise.
    """

    def __init__(self, vocoder: HiFTGenerator, generator: torch.Generator):
        self._vocoder = vocoder
        self._generator = generator
        window, config = vocoder.window, vocoder.config
        self._mel = window.new_zeros(config.in_channels, 0)
        self._source = window.new_zeros(1, 1, 0)
        self._first = 0  # number of the first frame in both
        self._done = 0  # frames whose samples have been returned
        self._turns: Tensor | None = None
        self._phase = vocoder.draw_phase(1, generator)
        self.limit = config.audio_limit
        """No sample is larger."""

    @torch.inference_mode()
    def push(self, mel: Tensor, *, last: bool = False) -> Tensor:
        """Take (N, M) more log-mel and return the samples that are now certain, (num_samples,).

        Args:
            mel: May be empty.
            last: Nothing follows, so everything is certain.
        """
        if not (mel.shape[1] or last):  # most codes only wait for their chunk to be full
            return self._mel.new_zeros(0)
        vocoder, hop = self._vocoder, self._vocoder.config.hop_length
        self._mel = torch.cat([self._mel, mel.to(self._mel)], dim=1)
        total = self._first + self._mel.shape[1]
        pitched = total if last else total - vocoder.pitch_margin
        self._excite(pitched)
        ready = total if last else pitched - vocoder.margin
        if ready <= self._done:
            return self._mel.new_zeros(0)
        num_frames = pitched - self._first
        samples = vocoder.synthesize(self._mel[None, :, :num_frames], self._source)[0]
        samples = samples[(self._done - self._first) * hop : (ready - self._first) * hop]
        self._done = ready
        self._forget()
        return samples

    def _excite(self, end: int) -> None:
        """Make the source up to a frame."""
        vocoder, hop = self._vocoder, self._vocoder.config.hop_length
        start = self._first + self._source.shape[-1] // hop
        if end <= start:
            return
        f0 = vocoder.f0(self._mel[None])[:, start - self._first : end - self._first]
        noise = vocoder.draw_noise(1, end - start, self._generator)
        turns = vocoder.m_source.turns(f0, self._turns)
        part = vocoder.m_source(f0, phase=self._phase, noise=noise, turns=turns)
        self._source = torch.cat([self._source, part], dim=-1)
        self._turns = turns[..., -1:]

    def _forget(self) -> None:
        """Drop what no frame to come depends on."""
        margin = self._vocoder.margin + self._vocoder.pitch_margin
        excess = max(0, self._done - margin - self._first)
        self._mel = self._mel[:, excess:]
        self._source = self._source[..., excess * self._vocoder.config.hop_length :]
        self._first += excess


class MelStream:
    """Codes to mel frames, each final when it is returned.

    Args:
        flow: In evaluation.
        generator: Of the noise.
        config: Chunks and window.

    Raises:
        ConfigError: If a chunk or the window is not whole blocks of the flow's encoder.
    """

    def __init__(
        self,
        flow: FlowModel,
        generator: torch.Generator,
        config: StreamConfig,
    ):
        block = flow.config.encoder.block_size
        if any(size % block for size in (*config.chunks, config.window)):
            raise ConfigError(f"stream.chunks and stream.window must be multiples of {block} codes")
        self._flow = flow
        self._generator = generator
        self._config = config
        self._pending: list[int] = []
        self._num_chunks = 0
        self._codes: list[int] = []  # of the window
        self._start = 0  # number of its first code
        empty = flow.encoder_proj.weight.new_zeros(flow.config.num_mels, 0)
        self._speaker: Tensor | None = None
        self._mel = empty  # of the window, faded and final
        self._noise = empty  # of the window and the frames held back
        self._held = empty  # the end of the last chunk, as it was spoken without a future

    def speak_as(self, speaker: Tensor | None) -> None:
        """Say who speaks from the next chunk on.

        Args:
            speaker: (1, speaker_dim); the voice that the flow has by itself if ``None``.
        """
        self._speaker = None if speaker is None else speaker.to(self._mel)

    def push(self, ids: Sequence[int]) -> Tensor:
        """Take more codes and return the mel that is final, (N, M), often no frame.

        Raises:
            AudioError: If an id is no code; the stream is unchanged.
        """
        self._flow.check(ids)
        self._pending += ids
        parts = [self._mel[:, :0]]
        while len(self._pending) >= (size := self._config.size(self._num_chunks)):
            ready, self._pending = self._pending[:size], self._pending[size:]
            parts.append(self._speak(ready, last=False))
        return torch.cat(parts, dim=1)

    def finish(self) -> Tensor:
        """Return what was held back, (N, M)."""
        return self._speak(self._pending, last=True) if self._pending else self._held

    def _frames(self, num_codes: int) -> int:
        """Count the mel frames of the first codes of the reply."""
        return int(self._flow.num_frames(torch.tensor([num_codes])))

    @torch.inference_mode()
    def _speak(self, new: list[int], *, last: bool) -> Tensor:
        """Speak the next codes and return the mel that is final, (N, M)."""
        self._num_chunks += 1
        self._codes = self._codes + new
        device = self._mel.device
        end = self._frames(self._start + len(self._codes))
        num_frames = end - self._frames(self._start)
        missing = num_frames - self._noise.shape[1]
        noise = self._flow.draw_noise(missing, self._generator).to(self._noise)
        self._noise = torch.cat([self._noise, noise], dim=1)
        mel = self._flow.sample(
            torch.tensor([self._codes], device=device),
            torch.tensor([len(self._codes)], device=device),
            self._noise[None],
            lengths=torch.tensor([num_frames], device=device),
            prompt=self._mel[None] if self._flow.config.stream_prompt else None,
            speaker=self._speaker,
        )[0, :, self._mel.shape[1] :]
        mel = fade(self._held, mel)
        kept = 0 if last else min(self._config.overlap, mel.shape[1])
        final = mel[:, : mel.shape[1] - kept]
        self._held = mel[:, mel.shape[1] - kept :]
        self._mel = torch.cat([self._mel, final], dim=1)
        self._forget()
        return final

    def _forget(self) -> None:
        """Drop whole blocks from the start of the window."""
        block = self._flow.config.encoder.block_size
        excess = max(0, len(self._codes) - self._config.window)
        excess = min(-(-excess // block) * block, len(self._codes))
        frames = self._frames(self._start + excess) - self._frames(self._start)
        frames = min(frames, self._mel.shape[1])
        self._start += excess
        self._codes = self._codes[excess:]
        self._mel = self._mel[:, frames:]
        self._noise = self._noise[:, frames:]


class DecodeStream:
    """Codes to samples; drop it and nothing is left of it.

    Args:
        mel: Codes to mel.
        vocoder: Mel to samples.
        voice: Who speaks; ``None`` for the voice that the flow has by itself.
        style: How, before :meth:`style` says more.
    """

    def __init__(
        self,
        mel: MelStream,
        vocoder: VocoderStream,
        voice: Voice | None = None,
        style: Style | None = None,
    ):
        self._to_mel = mel
        self._to_samples = vocoder
        self._voice = voice
        self._begun = False
        self._finished = False
        self._take(style or Style())

    def style(self, name: str) -> None:
        """Speak as a name of ``voiceglm.style.STYLE_NAMES`` says, besides those given before.

        A tone that the voice lacks and every accent change nothing here.

        Raises:
            AudioError: If a code has come; the stream is unchanged.
            ConfigError: If there is no such style.
        """
        if self._begun:
            raise AudioError("this stream has begun in its style; start another")
        self._take(self._style.changed(name))

    def _take(self, style: Style) -> None:
        self._style = style
        self._stretch = Stretch(style.speed)
        voice = self._voice and self._voice.in_tone(style.tone)
        self._to_mel.speak_as(None if voice is None else voice.vector())

    def push(self, ids: Sequence[int]) -> Tensor:
        """Take more codes and return the samples that are ready, (num_samples,), often none.

        Raises:
            AudioError: If an id is no code, or the stream is finished; the stream is unchanged.
        """
        self._check_open()
        self._begun = self._begun or bool(ids)
        return self._sound(self._to_mel.push(ids))

    def finish(self) -> Tensor:
        """Return everything that was held back, (num_samples,), and end the stream.

        Raises:
            AudioError: If it was finished before.
        """
        self._check_open()
        self._begun = self._finished = True
        return self._sound(self._to_mel.finish(), last=True)

    def _sound(self, mel: Tensor, *, last: bool = False) -> Tensor:
        samples = self._to_samples.push(self._stretch.push(mel, last=last), last=last)
        return amplified(samples, self._style.gain, self._to_samples.limit)

    def _check_open(self) -> None:
        if self._finished:
            raise AudioError("this stream is finished; start another")


def fade(old: Tensor, new: Tensor) -> Tensor:
    """Go from ``old`` (N, K) to ``new`` (N, M) over the K frames that both describe.

    The weights are raised cosines that add up to one.
    """
    size = min(old.shape[1], new.shape[1])
    if size == 0:
        return new
    steps = (torch.arange(size, device=new.device) + 0.5) / size
    weight = F.pad(0.5 - 0.5 * torch.cos(math.pi * steps), (0, new.shape[1] - size), value=1.0)
    return torch.lerp(F.pad(old[:, :size], (0, new.shape[1] - size)), new, weight)
