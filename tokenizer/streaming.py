"""Codes while somebody is still speaking, the same as those of the whole recording.

A block of the encoder attends to itself and its past, so its codes are final as soon as its last
sample has come. A stream keeps keys and values, a few hundred samples, and nothing of the model.

The one thing that looks ahead is Whisper's log-mel floor, the loudest value of the whole piece
minus 8. A fixed floor does not; for the moving one the loudest value so far is taken.

Letters used in shapes below:

    N  samples
    F  mel bands
    L  feature frames, 100 per second
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from tokenizer.config import TokenizerConfig
from tokenizer.encoder import CONTEXT, FEATURE_STRIDE, EncoderPast, WhisperVQEncoder
from tokenizer.features import LogMel
from voiceglm.errors import AudioError, ConfigError


@dataclass
class _Piece:
    """A stretch that the encoder has positions for; the next one starts afresh."""

    past: EncoderPast = field(default_factory=EncoderPast)
    samples: Tensor = field(default_factory=lambda: torch.zeros(0))  # (N,) still needed
    loudest: float = -math.inf  # log10 mel power


@dataclass
class ListenState:
    """One recording on its way in; drop it and it is gone."""

    piece: _Piece = field(default_factory=_Piece)
    num_samples: int = 0
    finished: bool = False


class Listening:
    """Turns chunks into codes; holds the model, never the state.

    Args:
        config: Must have a block of attention and causal convolutions.
        features: Log-mel.
        encoder: Its codes.

    Raises:
        ConfigError: If the codes of this encoder depend on what comes later.
    """

    def __init__(self, config: TokenizerConfig, features: LogMel, encoder: WhisperVQEncoder):
        sizes = config.encoder
        if not sizes.block_frames or not sizes.causal_convolution:
            raise ConfigError(
                "this tokenizer cannot stream: it needs encoder.block_frames and "
                "encoder.causal_convolution"
            )
        if sizes.block_frames % sizes.pool_stride or not encoder.quantizer:
            raise ConfigError("this tokenizer cannot stream: a block must be whole codes")
        self._features = features
        self._encoder = encoder
        self._hop = config.features.hop
        self._block = sizes.block_frames * FEATURE_STRIDE  # feature frames
        self._piece = sizes.max_frames * FEATURE_STRIDE

    @torch.inference_mode()
    def step(self, chunk: Tensor, state: ListenState) -> list[int]:
        """Hear (N,) more samples and return the codes of every block that is now complete.

        Raises:
            AudioError: If the chunk is no waveform or the stream is finished; the state is kept.
        """
        if state.finished:
            raise AudioError("this stream is finished; start another")
        if chunk.dim() != 1 or not chunk.is_floating_point():
            shape = tuple(chunk.shape)
            raise AudioError(f"a chunk is {chunk.dtype} {shape}, expected (num_samples,) of floats")
        if not torch.isfinite(chunk).all():
            raise AudioError("a chunk holds values that are not finite")
        state.num_samples += len(chunk)
        piece = state.piece
        piece.samples = torch.cat([piece.samples, chunk.float().cpu()])
        return [code for codes in self._complete(state) for code in codes]

    @torch.inference_mode()
    def finish(self, state: ListenState) -> list[int]:
        """Return the codes of what is left, and end the stream.

        Raises:
            AudioError: If it was finished before.
        """
        if state.finished:
            raise AudioError("this stream is finished; start another")
        state.finished = True
        missing = self._end(state.piece) - self._done(state.piece)
        codes = self._encode(state.piece, -(-missing // self._hop)) if missing > 0 else []
        state.piece = _Piece()
        return codes

    def _complete(self, state: ListenState) -> Iterator[list[int]]:
        while True:
            piece = state.piece
            frames = min(self._block, self._piece - FEATURE_STRIDE * piece.past.num_frames)
            end = self._done(piece) + frames * self._hop
            if self._end(piece) < end:
                return
            yield self._encode(piece, frames)
            if FEATURE_STRIDE * piece.past.num_frames == self._piece:
                state.piece = _Piece(samples=piece.samples[self._kept(piece) :])

    def _done(self, piece: _Piece) -> int:
        """Samples of the piece that have become codes."""
        return FEATURE_STRIDE * piece.past.num_frames * self._hop

    def _kept(self, piece: _Piece) -> int:
        """Samples before those that are kept so that the features reach back far enough."""
        return CONTEXT * self._hop + self._features.margin if piece.past.num_frames else 0

    def _end(self, piece: _Piece) -> int:
        """Samples of the piece that have come."""
        return self._done(piece) - self._kept(piece) + len(piece.samples)

    def _encode(self, piece: _Piece, num_frames: int) -> list[int]:
        """Encode the next feature frames of a piece and forget the samples nobody needs."""
        kept, margin = self._kept(piece), self._features.margin
        num_samples = min(self._end(piece) - self._done(piece), num_frames * self._hop)
        missing = -num_samples % self._features.samples_per_code
        samples = F.pad(piece.samples[: kept + num_samples], (0, missing))
        if kept == 0:
            samples = torch.cat([samples[1 : margin + 1].flip(0), samples])
        # The last frame looks at samples that are still to come, so it is not computed; the
        # second convolution, which takes every other frame, does not look at it.
        device = self._features.window.device
        log_power = self._features.log_power(samples.to(device))  # (F, CONTEXT + L - 1)
        piece.loudest = max(piece.loudest, float(log_power.max()))
        floor = self._features.config.fixed_floor
        lowest = piece.loudest - 8.0 if floor is None else floor
        values = F.pad(self._features.scale(log_power, lowest), (0, 1))
        starts = torch.arange(0, num_samples + missing, self._hop, device=device)
        mask = starts < num_samples
        codes = self._encoder.next_codes(values[None], mask[None], piece.past)
        piece.samples = piece.samples[kept + num_samples - self._kept(piece) :]
        return codes[mask[:: len(mask) // len(codes)]].tolist()
