"""Codes on the way in: cut anywhere, they are those of the whole recording."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tokenizer.config import TokenizerConfig
from tokenizer.model import SpeechTokenizer
from voiceglm.errors import AudioError, ConfigError

Build = Callable[[TokenizerConfig], SpeechTokenizer]
Melody = Callable[..., Tensor]
RATE = 16_000


def streamed(tokenizer: SpeechTokenizer, chunks: list[Tensor]) -> list[int]:
    state = tokenizer.start()
    codes = [code for chunk in chunks for code in tokenizer.step(chunk, state)]
    return codes + tokenizer.finish(state)


def cut(samples: Tensor, rng: random.Random, longest: int) -> list[Tensor]:
    """Cut anywhere, empty chunks among them."""
    chunks: list[Tensor] = []
    while len(samples):
        size = rng.choice((0, 1, rng.randint(1, longest), rng.randint(1, longest)))
        chunks.append(samples[:size])
        samples = samples[size:]
    return chunks


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("longest", [700, 20_000])
def test_cut_anywhere_the_codes_are_those_of_the_whole(
    tokenizer: SpeechTokenizer, melody: Melody, seed: int, longest: int
) -> None:
    rng = random.Random(seed)
    samples = melody(rng.choice((0.13, 0.8, 1.6, rng.uniform(0.2, 6.0))), seed)
    assert streamed(tokenizer, cut(samples, rng, longest)) == tokenizer.encode(samples, RATE)


@pytest.mark.parametrize("extra", [-1, 0, 1, 1_279, 1_280, 1_281])
def test_ends_about_a_block(tokenizer: SpeechTokenizer, melody: Melody, extra: int) -> None:
    samples = melody(2.0)[: 2 * 12_800 + extra]
    assert streamed(tokenizer, [samples]) == tokenizer.encode(samples, RATE)


def test_codes_come_with_the_last_sample_of_their_block(
    tokenizer: SpeechTokenizer, melody: Melody
) -> None:
    samples, state = melody(2.5), tokenizer.start()
    assert tokenizer.step(samples[:12_799], state) == []
    assert tokenizer.step(samples[12_799:12_800], state) == tokenizer.encode(samples, RATE)[:10]
    assert tokenizer.step(samples[12_800:25_599], state) == []


def test_a_stream_keeps_little_however_long_it_is(build: Build, tiny: TokenizerConfig) -> None:
    tokenizer = build(tiny)
    state, sizes = tokenizer.start(), []
    noise = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    for _ in range(15):
        tokenizer.step(noise, state)
        cache = state.piece.past.cache
        frames = max((cache.get_seq_length(n) for n in range(len(cache))), default=0)
        sizes.append((len(state.piece.samples), frames))
    assert max(samples for samples, _ in sizes) < 12_800 + 1_000
    assert max(frames for _, frames in sizes) < tiny.encoder.max_frames


def test_a_block_may_be_cut_by_the_end_of_the_positions(
    build: Build, tiny: TokenizerConfig, melody: Melody
) -> None:
    """As released: 30 s of positions are seven and a half blocks of 4 s."""
    sizes = replace(tiny.encoder, max_frames=100, block_frames=40)
    tokenizer = build(replace(tiny, encoder=sizes))
    samples = melody(5.3)
    assert streamed(tokenizer, list(samples.split(3_000))) == tokenizer.encode(samples, RATE)


def test_a_moving_floor_is_exact_once_the_loudest_has_been(
    build: Build, tiny: TokenizerConfig, melody: Melody
) -> None:
    tokenizer = build(replace(tiny, features=replace(tiny.features, fixed_floor=None)))
    samples = melody(4.0)
    samples[100:400] = torch.linspace(-1, 1, 300)
    assert streamed(tokenizer, list(samples.split(999))) == tokenizer.encode(samples, RATE)


def test_two_streams_share_nothing(tokenizer: SpeechTokenizer, melody: Melody) -> None:
    sounds = [melody(3.1, seed) for seed in (1, 2)]
    states = [tokenizer.start() for _ in sounds]
    found: list[list[int]] = [[], []]
    for start in range(0, len(sounds[0]), 5_000):
        for n, sound in enumerate(sounds):
            found[n] += tokenizer.step(sound[start : start + 5_000], states[n])
    for n, sound in enumerate(sounds):
        assert found[n] + tokenizer.finish(states[n]) == tokenizer.encode(sound, RATE)


def test_an_empty_stream_says_nothing(tokenizer: SpeechTokenizer) -> None:
    assert streamed(tokenizer, []) == []
    assert streamed(tokenizer, [torch.zeros(0), torch.zeros(0)]) == []


@pytest.mark.parametrize(
    ("chunk", "complaint"),
    [
        (torch.tensor([0.1, float("nan")]), "values that are not finite"),
        (torch.zeros(2, 100), r"\(2, 100\), expected \(num_samples,\)"),
        (torch.zeros(100, dtype=torch.int16), "torch.int16"),
    ],
)
def test_a_bad_chunk_is_refused_and_the_stream_goes_on(
    tokenizer: SpeechTokenizer, melody: Melody, chunk: Tensor, complaint: str
) -> None:
    samples, state = melody(1.5), tokenizer.start()
    codes = tokenizer.step(samples[:9_000], state)
    with pytest.raises(AudioError, match=complaint):
        tokenizer.step(chunk, state)
    codes += tokenizer.step(samples[9_000:], state)
    assert codes + tokenizer.finish(state) == tokenizer.encode(samples, RATE)


def test_a_finished_stream_hears_no_more(tokenizer: SpeechTokenizer) -> None:
    state = tokenizer.start()
    tokenizer.finish(state)
    with pytest.raises(AudioError, match="finished; start another"):
        tokenizer.step(torch.zeros(10), state)
    with pytest.raises(AudioError, match="finished; start another"):
        tokenizer.finish(state)


@pytest.mark.parametrize("changed", [{"block_frames": None}, {"causal_convolution": False}])
def test_what_looks_ahead_cannot_stream(
    build: Build, tiny: TokenizerConfig, changed: dict[str, bool | None]
) -> None:
    tokenizer = build(replace(tiny, encoder=replace(tiny.encoder, **changed)))
    with pytest.raises(ConfigError, match="cannot stream"):
        tokenizer.step(torch.zeros(10), tokenizer.start())
