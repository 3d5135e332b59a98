"""``SpeechTokenizer``: recordings to codes, and codes to text.

Letters used in shapes below:

    B  batch
    F  mel bands
    L  feature frames, 100 per second
    C  codes, 12.5 per second
    U  labels (characters or text ids)
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from tokenizer.asr import (
    AnyRecognizer,
    CtcRecognizer,
    JointRecognizer,
    attention_half,
    build_recognizer,
)
from tokenizer.config import TokenizerConfig
from tokenizer.convert import convert_config, convert_tensors, is_released
from tokenizer.encoder import FEATURE_STRIDE, Encoded, WhisperVQEncoder
from tokenizer.features import LogMel
from tokenizer.streaming import Listening, ListenState
from voiceglm.audio import check_samples, resample
from voiceglm.checkpoint import load_into, read_config, read_tensors, resolve, write_checkpoint
from voiceglm.config import build
from voiceglm.errors import CheckpointError, ConfigError
from voiceglm.text_tokenizer import TOKENIZER_FILE, load_text_tokenizer

_POSITIONS = "encoder.embed_positions.weight"  # a formula, so not stored


class SpeechTokenizer(nn.Module):
    """Hears: one codebook, 12.5 codes per second.

    Args:
        config: Sizes of features, encoder, quantizer and recognizer.
    """

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        self.features = LogMel(config.features)
        self.encoder = WhisperVQEncoder(config)
        self.recognizer = None
        if config.recognizer is not None:
            sizes = config.encoder
            self.recognizer = build_recognizer(
                config.recognizer,
                width=sizes.width,
                num_heads=sizes.num_heads,
                feedforward_width=sizes.feedforward_width,
            )

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path) -> "SpeechTokenizer":
        """Load a tokenizer, in our layout or as GLM-4-Voice's is released.

        Args:
            name_or_folder: See :func:`voiceglm.checkpoint.resolve`.

        Raises:
            CheckpointError: If the folder is missing, damaged, or not a tokenizer's.
        """
        folder = resolve(name_or_folder, "tokenizer")
        values = read_config(folder)
        released = is_released(values)
        try:
            config = convert_config(values) if released else build(TokenizerConfig, values)
        except ConfigError as error:
            raise CheckpointError(f"{folder} is not a speech tokenizer: {error}") from None
        tokenizer, tensors = cls(config), read_tensors(folder)
        if released:
            tensors = convert_tensors(tensors, config)
        tensors[_POSITIONS] = tokenizer.encoder.embed_positions.weight.detach()
        load_into(tokenizer, tensors, where=folder)
        attention = attention_half(tokenizer.recognizer)
        if attention is not None and (folder / TOKENIZER_FILE).is_file():
            attention.text_tokenizer = load_text_tokenizer(folder / TOKENIZER_FILE)
        return tokenizer.eval()

    def save(
        self, folder: Path, *, dtype: torch.dtype = torch.float16, replace: bool = False
    ) -> None:
        """Write config and weights; ``replace`` allows an older checkpoint of that name.

        Raises:
            OutputError: If the folder cannot be written.
        """
        tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in self.state().items()}
        attention = attention_half(self.recognizer)
        files = {}
        if attention is not None and attention.text_tokenizer is not None:
            files[TOKENIZER_FILE] = attention.text_tokenizer.to_str().encode()
        write_checkpoint(folder, asdict(self.config), tensors, files=files, replace=replace)

    def state(self) -> dict[str, Tensor]:
        """Return the tensors a checkpoint holds."""
        return {k: v for k, v in self.state_dict().items() if k != _POSITIONS}

    @property
    def num_codes(self) -> int:
        """Entries in the codebook; 0 without one."""
        return self.config.quantizer.codebook_size if self.config.quantizer else 0

    @property
    def frame_rate(self) -> float:
        """Codes per second."""
        features = self.config.features
        stride = FEATURE_STRIDE * self.config.encoder.pool_stride
        return features.sample_rate / (features.hop * stride)

    def encode(self, samples: Tensor, sample_rate: int) -> list[int]:
        """Turn one recording into codes.

        Args:
            samples: (num_samples,), float32 in [-1, 1].
            sample_rate: In hertz; anything is resampled to 16 kHz.

        Raises:
            AudioError: If the samples hold NaN, are silent, too short or too long.
        """
        return self.encode_batch([samples], sample_rate)[0]

    def encode_batch(self, batch: Sequence[Tensor], sample_rate: int) -> list[list[int]]:
        """Turn recordings into codes; each gets the codes it would get alone.

        Raises:
            AudioError: If any recording is unusable; its position is named.
        """
        out: list[list[int]] = []
        for pieces in self._pieces(batch, sample_rate):
            encoded = self._run(pieces, upper=False)
            assert encoded.codes is not None, "this tokenizer has no codebook"
            kept = zip(encoded.codes, encoded.mask, strict=True)
            out.append([code for row, mask in kept for code in row[mask].tolist()])
        return out

    def start(self) -> ListenState:
        """Begin to hear a recording that is still being made, at 16 kHz."""
        return ListenState()

    def step(self, chunk: Tensor, state: ListenState) -> list[int]:
        """Hear (num_samples,) more and return the codes of the blocks that are now complete.

        However a recording is cut into chunks, its codes are those of :meth:`encode`; exactly so
        with a fixed log-mel floor, and otherwise with the loudest value so far instead of the
        loudest of the piece.

        Raises:
            AudioError: If the chunk is no waveform, or comes after :meth:`finish`.
            ConfigError: If this encoder looks ahead of its block.
        """
        return self._listening.step(chunk, state)

    def finish(self, state: ListenState) -> list[int]:
        """Return the codes of what is left after the last chunk.

        Raises:
            AudioError: If it was finished before.
        """
        return self._listening.finish(state)

    @property
    def _listening(self) -> Listening:
        return Listening(self.config, self.features, self.encoder)

    @torch.inference_mode()
    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        """Read the words off the codes; a CTC recognizer writes no capitals or punctuation.

        Raises:
            AudioError: If the samples are unusable.
            CheckpointError: If this tokenizer was stored without a recognizer.
        """
        recognizer = self._reader()
        (pieces,) = self._pieces([samples], sample_rate)
        encoded = self._run(pieces, upper=True)
        return " ".join(recognizer.read(encoded.states, encoded.mask)).strip()

    @torch.inference_mode()
    def read(self, batch: Sequence[Sequence[int]]) -> list[str]:
        """Read the words off codes that need no recording, as :meth:`transcribe` does.

        Args:
            batch: Codes, at most those of ``encoder.max_frames`` each.

        Raises:
            CheckpointError: If this tokenizer was stored without a recognizer.
        """
        recognizer = self._reader()
        if not batch:
            return []
        most = self.config.encoder.max_frames // self.config.encoder.pool_stride
        length = min(max(map(len, batch)), most)
        codes = torch.zeros(len(batch), length, dtype=torch.long)
        mask = torch.zeros(len(batch), length, dtype=torch.bool)
        for row, each in enumerate(batch):
            kept = torch.tensor(list(each[:length]), dtype=torch.long)
            codes[row, : len(kept)], mask[row, : len(kept)] = kept, True
        device = next(self.parameters()).device
        states = self.encoder.recognise(codes.to(device), mask.to(device))
        return [text.strip() for text in recognizer.read(states, mask.to(device))]

    @property
    def alphabet(self) -> str:
        """What its recognizer writes with; empty if that is not letters, or it has none."""
        recognizer = self.recognizer
        if isinstance(recognizer, JointRecognizer):
            recognizer = recognizer.ctc
        return recognizer.alphabet if isinstance(recognizer, CtcRecognizer) else ""

    def _reader(self) -> AnyRecognizer:
        if self.recognizer is None:
            raise CheckpointError("this tokenizer was stored without a recognizer")
        return self.recognizer

    def forward(
        self,
        features: Tensor,
        mask: Tensor,
        labels: Tensor,
        text_ids: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the training loss and its parts.

        Args:
            features: (B, F, L).
            mask: (B, L), True where a frame is real.
            labels: (B, U), -100 where padding.
            text_ids: (B, U'), as the labels; of a joint recognizer, whose labels are characters.
            weights: (B,), what each text counts; ``None``: 1.
        """
        targets = {"labels": labels}
        if text_ids is not None:
            targets["text_ids"] = text_ids
        return self.losses(features, mask, targets, weights)[1]

    def losses(
        self,
        features: Tensor,
        mask: Tensor,
        targets: Mapping[str, Tensor],
        weights: Tensor | None = None,
    ) -> tuple[Encoded, dict[str, Tensor]]:
        """Return what the encoder says of a batch, too; see :meth:`forward`."""
        assert self.recognizer is not None, "training needs a recognizer"
        encoded = self.encoder(features, mask)
        parts = self.recognizer.losses(encoded.states, encoded.mask, targets, weights)
        scalars = {"loss": parts["text_loss"] + encoded.commitment, **parts}
        if encoded.codes is not None:
            assert self.encoder.quantizer is not None, "codes come from a quantizer"
            scalars["commitment"] = encoded.commitment
            scalars["perplexity"] = self.encoder.quantizer.perplexity
            scalars["dead_codes"] = self.encoder.quantizer.dead
        return encoded, scalars

    def _pieces(self, batch: Sequence[Tensor], sample_rate: int) -> list[list[Tensor]]:
        """Check, resample and cut recordings to the encoder's positions."""
        config = self.config
        rate = config.features.sample_rate
        length = config.encoder.max_frames * FEATURE_STRIDE * config.features.hop
        out = []
        for number, samples in enumerate(batch):
            what = "the recording" if len(batch) == 1 else f"recording {number}"
            check_samples(samples, sample_rate, what=what)
            out.append(list(resample(samples, sample_rate, rate).split(length)))
        return out

    @torch.inference_mode()
    def _run(self, pieces: list[Tensor], *, upper: bool) -> Encoded:
        features = self.features(pieces)
        return self.encoder(features.values, features.mask, upper=upper)
