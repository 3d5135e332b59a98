"""The training objective of the tokenizer: codes must keep what is needed to write the text down.

Letters used in shapes below:

    B  batch
    C  codes, 12.5 per second
    D  channels
    U  text ids
    V  text vocabulary

Two recognizers share one interface. CTC converges within minutes on a small machine; the attention
decoder is the published objective (GLM-4-Voice, arXiv 2412.02612, section 2.1).
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperDecoder

from tokenizer.config import RecognizerConfig
from tokenizer.encoder import additive_bias
from voiceglm.errors import ConfigError
from voiceglm.ranks import mean_over_ranks

IGNORED = -100  # a label that is padding


class Recognizer(Protocol):
    """Reads text off encoder states."""

    def loss(self, states: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch, (): states (B, C, D), mask (B, C), labels (B, U)."""
        ...


class CtcRecognizer(nn.Module):
    """Connectionist temporal classification over characters (Graves et al. 2006).

    Each code is spread over ``upsample`` output frames, because letters can come faster than codes.
    """

    def __init__(self, config: RecognizerConfig, width: int):
        super().__init__()
        self.alphabet = config.alphabet
        self.upsample = config.upsample
        self.project = nn.Linear(width, config.upsample * (len(config.alphabet) + 1))

    def labels(self, text: str) -> list[int]:
        """Spell text: characters outside the alphabet become one space. Blank is 0."""
        known = [letter if letter in self.alphabet else " " for letter in text.lower()]
        return [self.alphabet.index(letter) + 1 for letter in " ".join("".join(known).split())]

    def log_probabilities(self, states: Tensor) -> Tensor:
        """Score characters: (B, C, D) -> (B, C * upsample, 1 + alphabet), log scale."""
        logits = self.project(states).float()
        return logits.unflatten(2, (self.upsample, -1)).flatten(1, 2).log_softmax(2)

    def loss(self, states: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Return the negative log likelihood per character, ()."""
        scores = self.log_probabilities(states).transpose(0, 1)  # (C * upsample, B, V)
        counts = (labels != IGNORED).sum(1)
        losses = F.ctc_loss(
            scores,
            labels.clamp(min=0),
            mask.sum(1) * self.upsample,
            counts,
            reduction="none",
            zero_infinity=True,
        )
        return mean_over_ranks(losses.sum(), counts.sum())

    def read(self, states: Tensor, mask: Tensor) -> list[str]:
        """Write the most probable characters down, repeats and blanks removed."""
        best = self.log_probabilities(states).argmax(2)  # (B, C * upsample)
        lengths = (mask.sum(1) * self.upsample).tolist()
        return [self._collapse(row[:n]) for row, n in zip(best, lengths, strict=True)]

    def _collapse(self, best: Tensor) -> str:
        ids = torch.unique_consecutive(best).tolist()
        return "".join(self.alphabet[i - 1] for i in ids if i > 0).strip()


class AttentionRecognizer(nn.Module):
    """Whisper's text decoder over the encoder states; output weights tied to its embedding."""

    def __init__(self, config: RecognizerConfig, encoder: WhisperConfig):
        super().__init__()
        self.start_id, self.pad_id = config.start_id, config.pad_id
        self.decoder = WhisperDecoder(encoder)

    def logits(self, states: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Score each text id given those before it: -> (B, U, V)."""
        shifted = labels.roll(1, dims=1)
        shifted = shifted.masked_fill(shifted == IGNORED, self.pad_id)
        shifted[:, 0] = self.start_id
        decoder, length = self.decoder, shifted.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        past, heard = additive_bias(earlier[None, None]), additive_bias(mask[:, None, None, :])
        hidden = decoder.embed_tokens(shifted) + decoder.embed_positions(shifted)
        # transformers' own pass over these layers takes no mask of the encoder's padding.
        for layer in decoder.layers:
            hidden = layer(hidden, past, states, encoder_attention_mask=heard, use_cache=False)
        return F.linear(decoder.layer_norm(hidden), decoder.embed_tokens.weight)

    def loss(self, states: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy over text ids, ()."""
        logits = self.logits(states, mask, labels)
        total = F.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return mean_over_ranks(total, (labels != IGNORED).sum())


def build_recognizer(
    config: RecognizerConfig, *, width: int, num_heads: int, feedforward_width: int
) -> CtcRecognizer | AttentionRecognizer:
    """Build the recognizer a configuration asks for.

    Raises:
        ConfigError: If a CTC alphabet names a character twice.
    """
    if config.kind == "ctc":
        if len(set(config.alphabet)) != len(config.alphabet):
            raise ConfigError(f"recognizer.alphabet repeats a character: {config.alphabet!r}")
        return CtcRecognizer(config, width)
    whisper = WhisperConfig(
        vocab_size=config.vocab_size,
        d_model=width,
        decoder_layers=config.num_layers,
        decoder_attention_heads=num_heads,
        decoder_ffn_dim=feedforward_width,
        max_target_positions=config.max_text_ids,
        pad_token_id=config.pad_id,
        bos_token_id=None,
        eos_token_id=None,
        decoder_start_token_id=config.start_id,
        dropout=0.0,
        activation_function="gelu",
    )
    whisper._attn_implementation = "sdpa"
    return AttentionRecognizer(config, whisper)
