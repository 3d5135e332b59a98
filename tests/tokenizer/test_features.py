"""Features are Whisper's, and those of an item alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import WhisperFeatureExtractor

from tokenizer.config import FeatureConfig
from tokenizer.features import LogMel

FIXED = FeatureConfig(fixed_floor=-5.0)


@pytest.mark.parametrize("num_samples", [1_280, 16_000, 12_345, 401])
def test_they_are_whispers(melody: Callable[..., Tensor], num_samples: int) -> None:
    samples = melody(1.5)[:num_samples]
    features = LogMel(FeatureConfig())([samples])
    published = WhisperFeatureExtractor(feature_size=128)(
        samples.numpy(),
        sampling_rate=16_000,
        padding="longest",
        pad_to_multiple_of=1_280,
        return_attention_mask=True,
        return_tensors="pt",
    )
    torch.testing.assert_close(features.values, published["input_features"], rtol=0, atol=1e-4)
    assert torch.equal(features.mask, published["attention_mask"].bool())


@pytest.mark.parametrize("config", [FeatureConfig(), FIXED], ids=["moving floor", "fixed floor"])
def test_a_batch_is_its_items(melody: Callable[..., Tensor], config: FeatureConfig) -> None:
    transform = LogMel(config)
    pieces = [melody(seconds, seed) for seed, seconds in enumerate((0.5, 1.3, 0.11, 0.9))]
    batch = transform(pieces)
    for piece, values, mask in zip(pieces, batch.values, batch.mask, strict=True):
        alone = transform([piece])
        length = alone.values.shape[2]
        assert torch.equal(values[:, :length], alone.values[0])
        assert not values[:, length:].any()
        assert torch.equal(mask[:length], alone.mask[0])
        assert not mask[length:].any()
        assert length == 8 * -(-len(piece) // transform.samples_per_code)


def test_a_fixed_floor_keeps_the_features_of_a_prefix(melody: Callable[..., Tensor]) -> None:
    """All but the last frame, whose window reaches past the prefix."""
    whole = melody(1.6)
    whole[12_800:] *= 3  # what comes later is louder
    kept = 80 - 1
    for config, equal in ((FIXED, True), (FeatureConfig(), False)):
        transform = LogMel(config)
        prefix = transform([whole[:12_800]]).values[..., :kept]
        same = torch.allclose(prefix, transform([whole]).values[..., :kept], rtol=0, atol=1e-6)
        assert same == equal


def test_silence_and_one_sample() -> None:
    for config in (FeatureConfig(), FIXED):
        values, mask = (
            LogMel(config)([torch.zeros(1)]).values,
            LogMel(config)([torch.zeros(1)]).mask,
        )
        assert values.isfinite().all()
        assert values.shape == (1, 128, 8)
        assert mask.tolist() == [[True] + [False] * 7]
