"""The training objective of the tokenizer: codes must keep what is needed to write the text down.

Letters used in shapes below:

    B  batch
    C  codes, 12.5 per second
    D  channels
    U  labels: characters or text ids
    V  text vocabulary

CTC converges within minutes on a small machine; the attention decoder is the published objective
(GLM-4-Voice, arXiv 2412.02612, section 2.1). Both can be trained on the same states.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, EncoderDecoderCache, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperDecoder

from tokenizer.config import RecognizerConfig
from tokenizer.encoder import additive_bias
from voiceglm.errors import ConfigError
from voiceglm.ranks import mean_over_ranks

IGNORED = -100  # a label that is padding
AUTO_ALPHABET = "auto"  # a setting that training replaces by the letters of the texts
_IDS_PER_CODE = 2  # a text has no more ids: 25 a second


class Recognizer(Protocol):
    """Reads text off encoder states."""

    def targets(self, text: str) -> dict[str, list[int]]:
        """Return what is to be predicted of a text, under the names :meth:`losses` expects."""
        ...

    def losses(
        self, states: Tensor, mask: Tensor, targets: Mapping[str, Tensor], weights: Tensor | None
    ) -> dict[str, Tensor]:
        """Return ``text_loss``, the mean over labels, and what it is made of.

        Args:
            states: (B, C, D).
            mask: (B, C), True where a code is real.
            targets: Each (B, U), -100 where padding.
            weights: (B,), what each text counts; ``None``: 1.
        """
        ...

    def read(self, states: Tensor, mask: Tensor) -> list[str]:
        """Write the text down."""
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
        self._numbers = {letter: n for n, letter in enumerate(config.alphabet, start=1)}

    def labels(self, text: str) -> list[int]:
        """Spell text: characters outside the alphabet become one space. Blank is 0."""
        known = "".join(letter if letter in self._numbers else " " for letter in text.lower())
        spelled = " ".join(known.split())
        return [self._numbers[letter] for letter in spelled if letter in self._numbers]

    def targets(self, text: str) -> dict[str, list[int]]:
        """Return the text's ``labels``."""
        return {"labels": self.labels(text)}

    def log_probabilities(self, states: Tensor) -> Tensor:
        """Score characters: (B, C, D) -> (B, C * upsample, 1 + alphabet), log scale."""
        logits = self.project(states).float()
        return logits.unflatten(2, (self.upsample, -1)).flatten(1, 2).log_softmax(2)

    def loss(
        self, states: Tensor, mask: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> Tensor:
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
        return _per_label(losses, counts, weights)

    def losses(
        self, states: Tensor, mask: Tensor, targets: Mapping[str, Tensor], weights: Tensor | None
    ) -> dict[str, Tensor]:
        """Return ``text_loss``; see :class:`Recognizer`."""
        return {"text_loss": self.loss(states, mask, targets["labels"], weights)}

    def read(self, states: Tensor, mask: Tensor) -> list[str]:
        """Write the most probable characters down, repeats and blanks removed."""
        best = self.log_probabilities(states).argmax(2)  # (B, C * upsample)
        lengths = (mask.sum(1) * self.upsample).tolist()
        return [self._collapse(row[:n]) for row, n in zip(best, lengths, strict=True)]

    def _collapse(self, best: Tensor) -> str:
        ids = torch.unique_consecutive(best).tolist()
        return "".join(self.alphabet[i - 1] for i in ids if i > 0).strip()


class AttentionRecognizer(nn.Module):
    """Whisper's text decoder over the encoder states; output weights tied to its embedding.

    Args:
        config: Ids with a meaning of their own.
        layers: Sizes of the decoder.
    """

    def __init__(self, config: RecognizerConfig, layers: WhisperConfig):
        super().__init__()
        self.config = config
        self.layer_config = layers
        self.decoder = WhisperDecoder(layers)
        self.text_tokenizer: Tokenizer | None = None

    def labels(self, text: str) -> list[int]:
        """Return the ids of a text from behind the start to the end, cut to the positions."""
        ids = self._text_tokenizer().encode(text, add_special_tokens=False).ids
        whole = [*self.config.prefix_ids, *ids, self.config.end_id] if ids else []
        return whole[: self.config.max_text_ids]

    def targets(self, text: str) -> dict[str, list[int]]:
        """Return the text's ``labels``."""
        return {"labels": self.labels(text)}

    def logits(self, states: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Score each text id given those before it: -> (B, U, V)."""
        shifted = labels.roll(1, dims=1)
        shifted = shifted.masked_fill(shifted == IGNORED, self.config.pad_id)
        shifted[:, 0] = self.config.start_id
        return self._score(shifted, states, mask)

    def _score(
        self, ids: Tensor, states: Tensor, mask: Tensor, past: EncoderDecoderCache | None = None
    ) -> Tensor:
        """Score what follows each of some ids: (B, U) -> (B, U, V).

        Args:
            ids: Behind those the past has seen.
            states: (B, C, D).
            mask: (B, C).
            past: Keys and values of earlier ids and of the states; grows by these ids.
        """
        decoder = self.decoder
        first = past.get_seq_length() if past is not None else 0
        places = torch.arange(first + ids.shape[1], device=ids.device)
        earlier = places[None, :] <= places[first:, None]  # (U, all of them)
        before, heard = additive_bias(earlier[None, None]), additive_bias(mask[:, None, None, :])
        hidden = decoder.embed_tokens(ids) + decoder.embed_positions.weight[places[first:]]
        # transformers' own pass over these layers takes no mask of the encoder's padding.
        for layer in decoder.layers:
            hidden = layer(
                hidden,
                before,
                states,
                encoder_attention_mask=heard,
                past_key_values=past,
                use_cache=past is not None,
            )
        return F.linear(decoder.layer_norm(hidden), decoder.embed_tokens.weight)

    def loss(
        self, states: Tensor, mask: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return the mean cross-entropy over text ids, ()."""
        logits = self.logits(states, mask, labels)
        losses = F.cross_entropy(
            logits.transpose(1, 2).float(), labels, ignore_index=IGNORED, reduction="none"
        )
        counts = (labels != IGNORED).sum(1)
        return _per_label(losses.sum(1), counts, weights)

    def losses(
        self, states: Tensor, mask: Tensor, targets: Mapping[str, Tensor], weights: Tensor | None
    ) -> dict[str, Tensor]:
        """Return ``text_loss``; see :class:`Recognizer`."""
        return {"text_loss": self.loss(states, mask, targets["labels"], weights)}

    def read(self, states: Tensor, mask: Tensor) -> list[str]:
        """Write the most probable id down, one after the other."""
        text_tokenizer = self._text_tokenizer()
        return [
            text_tokenizer.decode([i for i in row if text_tokenizer.id_to_token(i)]).strip()
            for row in self.best_ids(states, mask)
        ]

    @torch.no_grad()
    def best_ids(self, states: Tensor, mask: Tensor) -> list[list[int]]:
        """Choose ids greedily until each text has ended: (B, C, D), (B, C) -> B lists."""
        config = self.config
        given = [config.start_id, *config.prefix_ids]
        most = min(config.max_text_ids - len(given), _IDS_PER_CODE * states.shape[1])
        past = EncoderDecoderCache(DynamicCache(), DynamicCache())
        ids = torch.tensor([given], device=states.device).repeat(len(states), 1)
        chosen: list[Tensor] = []
        ended = torch.zeros(len(states), dtype=torch.bool, device=states.device)
        while len(chosen) < most and not ended.all():
            best = self._score(ids, states, mask, past)[:, -1].argmax(1)  # (B,)
            ended = ended | (best == config.end_id)
            chosen.append(best.masked_fill(ended, config.end_id))
            ids = best[:, None]
        rows = torch.stack(chosen, dim=1).tolist() if chosen else [[] for _ in states]
        return [[i for i in row if i != config.end_id] for row in rows]

    def _text_tokenizer(self) -> Tokenizer:
        if self.text_tokenizer is None:
            raise ConfigError(
                "an attention recognizer needs a text tokenizer; set text_tokenizer to a "
                "tokenizer.json, or start_from to a Whisper model"
            )
        return self.text_tokenizer


class JointRecognizer(nn.Module):
    """CTC and attention on the same states (Watanabe et al. 2017).

    Args:
        ctc: One half.
        attention: The other.
        ctc_weight: Share of the first in the loss; the greater half reads.
    """

    def __init__(self, ctc: CtcRecognizer, attention: AttentionRecognizer, ctc_weight: float):
        super().__init__()
        self.ctc = ctc
        self.attention = attention
        self.ctc_weight = ctc_weight

    def targets(self, text: str) -> dict[str, list[int]]:
        """Return the text's characters as ``labels`` and its ``text_ids``."""
        return {"labels": self.ctc.labels(text), "text_ids": self.attention.labels(text)}

    def losses(
        self, states: Tensor, mask: Tensor, targets: Mapping[str, Tensor], weights: Tensor | None
    ) -> dict[str, Tensor]:
        """Return ``text_loss``, ``ctc_loss`` and ``attention_loss``; see :class:`Recognizer`."""
        ctc = self.ctc.loss(states, mask, targets["labels"], weights)
        attention = self.attention.loss(states, mask, targets["text_ids"], weights)
        both = self.ctc_weight * ctc + (1 - self.ctc_weight) * attention
        return {"text_loss": both, "ctc_loss": ctc, "attention_loss": attention}

    def read(self, states: Tensor, mask: Tensor) -> list[str]:
        """Write the text down with the half that counts more."""
        half = self.ctc if self.ctc_weight >= 0.5 else self.attention
        return half.read(states, mask)


AnyRecognizer = CtcRecognizer | AttentionRecognizer | JointRecognizer


def build_recognizer(
    config: RecognizerConfig, *, width: int, num_heads: int, feedforward_width: int
) -> AnyRecognizer:
    """Build the recognizer a configuration asks for.

    Raises:
        ConfigError: If a CTC alphabet names a character twice, or has yet to be found.
    """
    if config.kind == "ctc":
        return _build_ctc(config, width)
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
    attention = AttentionRecognizer(config, whisper)
    if config.kind == "attention":
        return attention
    return JointRecognizer(_build_ctc(config, width), attention, config.ctc_weight)


def attention_half(recognizer: AnyRecognizer | None) -> AttentionRecognizer | None:
    """Return the part of a recognizer that writes text ids, if it has one."""
    if isinstance(recognizer, JointRecognizer):
        return recognizer.attention
    return recognizer if isinstance(recognizer, AttentionRecognizer) else None


def _build_ctc(config: RecognizerConfig, width: int) -> CtcRecognizer:
    if config.alphabet == AUTO_ALPHABET:
        raise ConfigError("recognizer.alphabet auto is for training; name the letters themselves")
    if not config.alphabet:
        raise ConfigError("recognizer.alphabet is empty; name the letters, or train with auto")
    if len(set(config.alphabet)) != len(config.alphabet):
        raise ConfigError(f"recognizer.alphabet repeats a character: {config.alphabet!r}")
    return CtcRecognizer(config, width)


def _per_label(losses: Tensor, counts: Tensor, weights: Tensor | None) -> Tensor:
    """Divide the losses of texts by the number of all labels: (B,), (B,), (B,) -> ().

    Weights make a text count less, not the others more.
    """
    total = (losses if weights is None else losses * weights).sum()
    return mean_over_ranks(total, counts.sum())
