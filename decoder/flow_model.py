"""Codes to log-mel: an encoder says what to speak, a flow speaks it.

Letters used in shapes below:

    B  batch
    T  codes, 12.5 per second
    D  channels of one encoded code
    N  mel channels, 80
    M  mel frames, 86.13 per second
    P  mel frames of a prompt
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decoder.config import FlowConfig
from decoder.encoder import BlockCausalEncoder
from decoder.estimator import Estimator
from decoder.flow import ConditionalFlow, FlowDraws
from decoder.masking import length_mask, masked, padding_mask
from decoder.regulator import LengthRegulator, frame_lengths
from voiceglm.errors import AudioError
from voiceglm.ranks import mean_over_ranks

DEFAULT_SEED = 0


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
            guess_std=config.content_std,
        )

    def num_frames(self, code_lengths: Tensor) -> Tensor:
        """Count the mel frames that codes stand for: (B,) -> (B,)."""
        return frame_lengths(code_lengths, self.config.frames_per_code)

    def check(self, ids: Sequence[int]) -> Tensor:
        """Return codes as a tensor (T,).

        Raises:
            AudioError: If one is not in the codebook.
        """
        wrong = next((i for i in ids if not 0 <= i < self.config.num_codes), None)
        if wrong is not None:
            raise AudioError(f"speech code {wrong} is not in 0..{self.config.num_codes - 1}")
        return torch.tensor(list(ids), dtype=torch.int64)

    def draw_noise(self, num_frames: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw (N, M), frame after frame: the same in one draw or in many."""
        generator = generator or torch.Generator().manual_seed(DEFAULT_SEED)
        shape = (num_frames, self.config.num_mels)
        return torch.randn(shape, generator=generator, device=generator.device).T

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
            draws: The random numbers of the step.
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
            content=mean_over_ranks(content.float().square().sum(), lengths.sum() * mels),
        )

    def sample(
        self,
        codes: Tensor,
        code_lengths: Tensor,
        noise: Tensor,
        *,
        lengths: Tensor | None = None,
        prompt: Tensor | None = None,
        speaker: Tensor | None = None,
    ) -> Tensor:
        """Speak a padded batch: (B, T) -> log-mel (B, N, M).

        Args:
            codes: (B, T).
            code_lengths: (B,).
            noise: (B, N, M), standard normal (the temperature comes on top); M is the maximum of
                ``lengths``.
            lengths: (B,), mel frames wanted of each item; :meth:`num_frames` if ``None``.
            prompt: (B, N, P), log-mel of the first frames of every item.
            speaker: (B, speaker_dim) or ``None``.

        Returns:
            (B, N, M), the frames of the prompt included; what lies past the frames of an item
            is noise.
        """
        lengths = self.num_frames(code_lengths) if lengths is None else lengths
        size = noise.shape[-1]
        if prompt is not None:
            prompt = F.pad(self.normalize(prompt), (0, size - prompt.shape[-1]))
        condition = self.condition(codes, code_lengths, lengths, prompt=prompt, speaker=speaker)
        mask = padding_mask(lengths, size, noise.dtype)
        mel = self.decoder.solve(self.config.temperature * noise, mask, condition)
        return mel * self.config.mel_std + self.config.mel_mean
