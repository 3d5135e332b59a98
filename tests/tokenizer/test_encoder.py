"""The encoder: who sees whom, padding that does not matter, a past that never changes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tokenizer.config import TokenizerConfig
from tokenizer.encoder import attention_bias
from tokenizer.model import SpeechTokenizer

Build = Callable[[TokenizerConfig], SpeechTokenizer]
Melody = Callable[..., Tensor]


@torch.no_grad()
def pooled(tokenizer: SpeechTokenizer, samples: Tensor) -> Tensor:
    """What is quantized, (C, D)."""
    features = tokenizer.features([samples])
    return tokenizer.encoder(features.values, features.mask).pooled[0]


@pytest.mark.parametrize("block", [None, 1, 3, 5, 20])
def test_who_sees_whom(block: int | None) -> None:
    mask = torch.arange(13) < torch.tensor([[13], [7]])
    bias = attention_bias(mask, block=block, causal=False)
    assert bias.shape == (2, 1, 13, 13)
    for item, query, key in torch.cartesian_prod(*map(torch.arange, (2, 13, 13))).tolist():
        near = block is None or key <= query or key // block == query // block
        allowed = near and bool(mask[item, key])
        assert (float(bias[item, 0, query, key]) == 0) == allowed


def test_strictly_causal_ignores_padding() -> None:
    bias = attention_bias(torch.zeros(2, 6).bool(), block=3, causal=True)
    assert torch.equal(bias[0, 0] == 0, torch.ones(6, 6).tril().bool())


@torch.no_grad()
def test_a_padded_batch_is_its_items(tokenizer: SpeechTokenizer, melody: Melody) -> None:
    pieces = [melody(seconds, seed) for seed, seconds in enumerate((2.4, 0.35, 1.61, 0.09, 4.8))]
    features = tokenizer.features(pieces)
    together = tokenizer.encoder(features.values, features.mask)
    seen = set()
    for number, piece in enumerate(pieces):
        features = tokenizer.features([piece])
        alone = tokenizer.encoder(features.values, features.mask)
        real = together.mask[number]
        assert int(real.sum()) == alone.codes.shape[1] == -(-len(piece) // 1_280)
        codes = together.codes[number][real]
        assert torch.equal(codes, alone.codes[0])
        torch.testing.assert_close(together.states[number][real], alone.states[0])
        seen |= set(codes.tolist())
    assert len(seen) > 20, "these codes say something"


@pytest.mark.parametrize("num_blocks", [1, 2, 5])
def test_the_future_never_changes_the_past(
    tokenizer: SpeechTokenizer, melody: Melody, num_blocks: int
) -> None:
    """A fixed floor and whole blocks of 0.8 s: the codes of a prefix are those of the whole."""
    whole = melody(4.8)
    block = 40 * 2 * 160  # samples
    codes = tokenizer.encode(whole, 16_000)
    prefix = tokenizer.encode(whole[: num_blocks * block], 16_000)
    assert prefix == codes[: 10 * num_blocks]
    states = [pooled(tokenizer, piece) for piece in (whole[: num_blocks * block], whole)]
    torch.testing.assert_close(states[0], states[1][: 10 * num_blocks], rtol=0, atol=1e-5)

    changed = whole.clone()
    changed[num_blocks * block :] = melody(4.8, seed=9)[num_blocks * block :]
    other = tokenizer.encode(changed, 16_000)
    assert other[: 10 * num_blocks] == prefix
    assert other != codes


@pytest.mark.parametrize(
    "changed", [{"block_frames": None}, {"causal_convolution": False}], ids=["attention", "conv"]
)
def test_without_blocks_the_future_changes_the_past(
    tiny: TokenizerConfig, build: Build, melody: Melody, changed: dict[str, bool | None]
) -> None:
    """The property is one of blocks and causal convolutions: it is not there without them."""
    encoder = replace(tiny.encoder, **changed)  # type: ignore[arg-type]
    tokenizer = build(replace(tiny, encoder=encoder))
    prefix, whole = (pooled(tokenizer, melody(1.6)[:length]) for length in (12_800, 25_600))
    assert not torch.allclose(prefix, whole[:10], rtol=0, atol=1e-4)


@torch.no_grad()
def test_codes_alone_give_the_states(tokenizer: SpeechTokenizer, melody: Melody) -> None:
    features = tokenizer.features([melody(1.0), melody(0.4, seed=1)])
    out = tokenizer.encoder(features.values, features.mask)
    states = tokenizer.encoder.recognise(out.codes, out.mask)
    torch.testing.assert_close(states[out.mask], out.states[out.mask])


@torch.no_grad()
def test_the_layers_above_are_optional(tokenizer: SpeechTokenizer, melody: Melody) -> None:
    features = tokenizer.features([melody(0.5)])
    lower = tokenizer.encoder(features.values, features.mask, upper=False)
    whole = tokenizer.encoder(features.values, features.mask)
    assert torch.equal(lower.codes, whole.codes)
    assert not torch.equal(lower.states, whole.states)


@torch.no_grad()
def test_without_a_quantizer(tiny: TokenizerConfig, build: Build, melody: Melody) -> None:
    tokenizer = build(replace(tiny, quantizer=None))
    assert tokenizer.num_codes == 0
    features = tokenizer.features([melody(0.5)])
    out = tokenizer.encoder(features.values, features.mask)
    assert out.codes is None
    assert float(out.commitment) == 0


def test_positions_above_are_drawn_and_below_are_fixed(tokenizer: SpeechTokenizer) -> None:
    assert not tokenizer.encoder.embed_positions.weight.requires_grad
    assert tokenizer.encoder.embed_positions2.weight.requires_grad
    assert tokenizer.encoder.embed_positions2.weight.shape == (60, 16)
