"""Speech codes to speech: the flow, the vocoder, and the two together.

Letters used in shapes below:

    B  batch
    T  codes, 12.5 per second
    D  channels of one encoded code
    N  mel channels, 80
    M  mel frames, 86.13 per second
    P  mel frames of a prompt
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decoder.config import DecoderConfig, FlowConfig
from decoder.encoder import BlockCausalEncoder
from decoder.estimator import Estimator
from decoder.flow import ConditionalFlow, FlowDraws
from decoder.masking import length_mask, masked, padding_mask
from decoder.regulator import LengthRegulator, frame_lengths
from decoder.vocoder import HiFTGenerator, fold_weight_norm
from voiceglm.checkpoint import load_into, read_config, read_tensors, resolve, write_checkpoint
from voiceglm.config import build
from voiceglm.errors import AudioError

DEFAULT_SEED = 0


@dataclass(frozen=True)
class Prompt:
    """Speech that was already made, which new speech continues."""

    codes: Sequence[int]
    mel: Tensor  # (N, P), log-mel; P is at most the frames its codes stand for


@dataclass(frozen=True)
class FlowLosses:
    """What a training step has to lower."""

    flow: Tensor  # (), squared error of the velocity
    content: Tensor  # (), squared error of the encoder's first guess at the mel


class FlowModel(nn.Module):
    """Codes to log-mel: an encoder says what to speak, a flow speaks it.

    Parameters carry the names of the published flow, so that its weights load as they are.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        dim, mels = config.encoder.dim, config.num_mels
        self.input_embedding = nn.Embedding(config.num_codes, dim)
        self.spk_embed_affine_layer = nn.Linear(config.speaker_dim, mels)
        self.encoder = BlockCausalEncoder(config.encoder)
        self.encoder_proj = nn.Linear(dim, mels)
        self.length_regulator = LengthRegulator(mels)
        self.decoder = ConditionalFlow(
            Estimator(4 * mels, mels, config.estimator),  # point, content, speaker, prompt
            num_steps=config.num_steps,
            guidance=config.guidance,
            sigma_min=config.sigma_min,
            guidance_dropout=config.guidance_dropout,
            guess_std=config.content_std,
        )

    def num_frames(self, code_lengths: Tensor) -> Tensor:
        """Count the mel frames that codes stand for: (B,) -> (B,)."""
        return frame_lengths(code_lengths, self.config.frames_per_code)

    def normalize(self, mel: Tensor) -> Tensor:
        """Bring a log-mel to the scale of the noise."""
        return (mel - self.config.mel_mean) / self.config.mel_std

    def encode(self, codes: Tensor, code_lengths: Tensor) -> Tensor:
        """Encode codes at their own rate: (B, T) -> (B, T, D)."""
        mask = length_mask(code_lengths, codes.shape[1])
        embedded = self.input_embedding(codes.clamp(min=0)) * mask[..., None]
        return self.encoder(embedded, mask)

    def condition(
        self,
        codes: Tensor,
        code_lengths: Tensor,
        lengths: Tensor,
        *,
        prompt: Tensor | None = None,
        speaker: Tensor | None = None,
    ) -> Tensor:
        """Make what the flow is told about every frame: content, speaker, prompt.

        Args:
            codes: (B, T).
            code_lengths: (B,).
            lengths: (B,), mel frames wanted of each item; M is their maximum.
            prompt: (B, N, M), normalised mel, zero where nothing is given.
            speaker: (B, speaker_dim); zeros if ``None``, so that one learned voice speaks.

        Returns:
            (B, 3 N, M).
        """
        guess: Tensor = self.encoder_proj(self.encode(codes, code_lengths))  # (B, T, N)
        content: Tensor = self.length_regulator(guess, code_lengths, lengths)  # (B, N, M)
        if speaker is None:
            speaker = content.new_zeros(len(content), self.config.speaker_dim)
        if prompt is None:
            prompt = torch.zeros_like(content)
        voice = self.spk_embed_affine_layer(F.normalize(speaker))  # (B, N)
        return torch.cat([content, voice[..., None].expand_as(content), prompt], dim=1)

    def losses(
        self,
        codes: Tensor,
        code_lengths: Tensor,
        mel: Tensor,
        lengths: Tensor,
        prompt_lengths: Tensor,
        *,
        draws: FlowDraws,
        speaker: Tensor | None = None,
    ) -> FlowLosses:
        """Return what a padded batch has to teach.

        Args:
            codes: (B, T).
            code_lengths: (B,).
            mel: (B, N, M), log-mel; M is the maximum of ``lengths``.
            lengths: (B,), mel frames of each item.
            prompt_lengths: (B,), first mel frames that the model is given.
            draws: Random numbers, see :meth:`decoder.flow.ConditionalFlow.draw`.
            speaker: (B, speaker_dim) or ``None``.
        """
        size, mels = mel.shape[-1], self.config.num_mels
        mask = padding_mask(lengths, size, mel.dtype)
        data = masked(self.normalize(mel), mask)
        prompt = data * length_mask(prompt_lengths, size)[:, None]
        condition = self.condition(codes, code_lengths, lengths, prompt=prompt, speaker=speaker)
        content = condition[:, :mels] - data  # both zero where padded
        return FlowLosses(
            flow=self.decoder.loss(data, mask, condition, draws),
            content=content.float().square().sum() / (lengths.sum() * mels),
        )

    def sample(
        self,
        codes: Tensor,
        code_lengths: Tensor,
        noise: Tensor,
        *,
        prompt: Tensor | None = None,
        speaker: Tensor | None = None,
    ) -> Tensor:
        """Speak a padded batch: (B, T) -> log-mel (B, N, M).

        Args:
            codes: (B, T).
            code_lengths: (B,).
            noise: (B, N, M), standard normal (the temperature comes on top); M is the maximum of
                :meth:`num_frames`.
            prompt: (B, N, P), log-mel of the first frames of every item.
            speaker: (B, speaker_dim) or ``None``.

        Returns:
            (B, N, M), the frames of the prompt included; what lies past the frames of an item
            is noise.
        """
        lengths = self.num_frames(code_lengths)
        size = noise.shape[-1]
        if prompt is not None:
            prompt = F.pad(self.normalize(prompt), (0, size - prompt.shape[-1]))
        condition = self.condition(codes, code_lengths, lengths, prompt=prompt, speaker=speaker)
        mask = padding_mask(lengths, size, noise.dtype)
        mel = self.decoder.solve(self.config.temperature * noise, mask, condition)
        return mel * self.config.mel_std + self.config.mel_mean


class SpeechDecoder(nn.Module):
    """Speech codes to samples.

    >>> decoder = SpeechDecoder.from_pretrained("nano")  # doctest: +SKIP
    >>> samples = decoder.decode([17, 4, 256])  # doctest: +SKIP
    """

    def __init__(self, flow: FlowModel, vocoder: HiFTGenerator) -> None:
        super().__init__()
        self.config = DecoderConfig(flow=flow.config, vocoder=vocoder.config)
        self.flow = flow
        self.vocoder = deepcopy(vocoder)  # the caller's may still be in training
        fold_weight_norm(self.vocoder)

    @property
    def sample_rate(self) -> int:
        """Samples per second of what :meth:`decode` returns."""
        return self.config.vocoder.sample_rate

    @property
    def num_codes(self) -> int:
        """Codes are integers in [0, num_codes)."""
        return self.config.flow.num_codes

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path) -> "SpeechDecoder":
        """Load a checkpoint by name, or from its folder.

        Raises:
            CheckpointError: If there is none, or it is damaged.
        """
        folder = resolve(name_or_folder, "decoder")
        config = build(DecoderConfig, read_config(folder), where="decoder")
        decoder = cls(FlowModel(config.flow), HiFTGenerator(config.vocoder))
        load_into(decoder, read_tensors(folder), where=str(folder))
        return decoder.eval()

    def save(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write a checkpoint that :meth:`from_pretrained` reads, its weights in ``dtype``."""
        weights = {name: weight.to(dtype) for name, weight in self.state_dict().items()}
        write_checkpoint(folder, asdict(self.config), weights)

    @torch.inference_mode()
    def mel(
        self,
        ids: Sequence[int],
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        prompt: Prompt | None = None,
    ) -> Tensor:
        """Turn codes into a log-mel: (N, M), the frames of the prompt left out.

        Args:
            ids: Codes.
            noise: (N, M), standard normal, prompt frames included.
            generator: Where noise comes from if none is given; a fresh one seeded 0 if ``None``.
            prompt: Speech to continue.

        Raises:
            AudioError: If an id is not a code of this decoder.
        """
        parameter = self.flow.encoder_proj.weight
        given = [] if prompt is None else prompt.codes
        if not ids:
            return parameter.new_zeros(self.config.flow.num_mels, 0)
        codes = self._codes([*given, *ids]).to(parameter.device)
        code_lengths = torch.tensor([len(codes)], device=parameter.device)
        if noise is None:
            size = int(self.flow.num_frames(code_lengths))
            noise = self._noise((self.config.flow.num_mels, size), generator)
        prompt_mel = None if prompt is None else prompt.mel.to(parameter)[None]
        mel = self.flow.sample(
            codes[None], code_lengths, noise.to(parameter)[None], prompt=prompt_mel
        )
        return mel[0] if prompt is None else mel[0, :, prompt.mel.shape[-1] :]

    def decode(self, ids: Sequence[int], *, generator: torch.Generator | None = None) -> Tensor:
        """Speak codes: (num_samples,), float32 in [-1, 1].

        Args:
            ids: Codes, 12.5 per second.
            generator: Where noise and phases come from; a fresh one seeded 0 if ``None``.

        Raises:
            AudioError: If an id is not a code of this decoder.
        """
        if generator is None:
            generator = torch.Generator().manual_seed(DEFAULT_SEED)
        mel = self.mel(ids, generator=generator)
        if mel.shape[-1] == 0:
            return mel.new_zeros(0)
        with torch.inference_mode():
            return self.vocoder(mel[None], generator=generator)[0]

    def _codes(self, ids: Sequence[int]) -> Tensor:
        wrong = next((i for i in ids if not 0 <= i < self.num_codes), None)
        if wrong is not None:
            raise AudioError(f"speech code {wrong} is not in 0..{self.num_codes - 1}")
        return torch.tensor(list(ids))

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        if generator is None:
            generator = torch.Generator().manual_seed(DEFAULT_SEED)
        return torch.randn(shape, generator=generator, device=generator.device)
