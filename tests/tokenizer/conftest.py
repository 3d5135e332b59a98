"""Tokenizers small enough to run in milliseconds, and sounds for them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tokenizer.config import (
    EncoderConfig,
    FeatureConfig,
    QuantizerConfig,
    RecognizerConfig,
    TokenizerConfig,
)
from tokenizer.model import SpeechTokenizer
from voiceglm.audio import save_audio
from voiceglm.manifest import Utterance

RATE = 16_000
LETTERS = "abcde"


@pytest.fixture
def tiny() -> TokenizerConfig:
    """The shape of nano: a fixed floor, blocks of 0.8 s, layers above the codes, CTC."""
    return TokenizerConfig(
        features=FeatureConfig(num_mel_bins=20, fixed_floor=-5.0),
        encoder=EncoderConfig(
            width=16,
            num_heads=2,
            feedforward_width=32,
            num_layers=3,
            max_frames=240,
            pool_after=1,
            quantize_after=2,
            encoder_only=False,
            block_frames=40,
        ),
        quantizer=QuantizerConfig(codebook_size=64),
        recognizer=RecognizerConfig(alphabet=f"{LETTERS} "),
    )


@pytest.fixture
def melody() -> Callable[..., Tensor]:
    """Return ``melody(seconds, seed)``: tones that change every tenth of a second, and noise."""

    def make(seconds: float, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        notes = 150 + 3_000 * torch.rand(int(seconds * 10) + 1, generator=generator)
        hertz = notes.repeat_interleave(RATE // 10)[: round(seconds * RATE)]
        tone = torch.sin(2 * torch.pi * (hertz / RATE).cumsum(0))
        return 0.3 * tone + 0.02 * torch.randn(len(hertz), generator=generator)

    return make


@pytest.fixture
def build(melody: Callable[..., Tensor]) -> Callable[[TokenizerConfig], SpeechTokenizer]:
    """Return what builds an untrained tokenizer whose codes are nevertheless all in use."""

    def make(config: TokenizerConfig) -> SpeechTokenizer:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            tokenizer = SpeechTokenizer(config).eval()
        if tokenizer.encoder.quantizer is not None:
            features = tokenizer.features([melody(1.0, seed=100 + n) for n in range(12)])
            with torch.no_grad():
                pooled = tokenizer.encoder(features.values, features.mask).pooled
                frames = pooled.flatten(0, 1)[: tokenizer.num_codes]
                assert len(frames) == tokenizer.num_codes
                tokenizer.encoder.quantizer.codebook.copy_(frames)
        return tokenizer

    return make


@pytest.fixture
def tokenizer(
    tiny: TokenizerConfig, build: Callable[[TokenizerConfig], SpeechTokenizer]
) -> SpeechTokenizer:
    return build(tiny)


@pytest.fixture
def spelled(tmp_path: Path) -> list[Utterance]:
    """Twelve recordings in which every letter is a tone of its own, 160 ms long."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(int(0.16 * RATE)) / RATE
    utterances = []
    for number in range(12):
        word = torch.randint(len(LETTERS), (4 + number % 3,), generator=generator).tolist()
        tones = [0.3 * torch.sin(2 * torch.pi * 400 * (letter + 1) * time) for letter in word]
        pause = torch.zeros(len(time) // 4)
        path = tmp_path / f"{number}.wav"
        samples = torch.cat([piece for tone in tones for piece in (tone, pause)])
        save_audio(path, samples + 0.001 * torch.randn(len(samples), generator=generator), RATE)
        text = "".join(LETTERS[letter] for letter in word)
        utterances.append(Utterance(path=path, text=text, num_samples=len(samples)))
    return utterances


@pytest.fixture
def without_upper(tiny: TokenizerConfig) -> TokenizerConfig:
    """Encoder only, as released: nothing above the codes."""
    return replace(tiny, encoder=replace(tiny.encoder, encoder_only=True), recognizer=None)
