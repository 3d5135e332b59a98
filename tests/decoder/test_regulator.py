"""Frames repeat the right code, and a padded batch equals its items."""

import pytest
import torch
from torch.nn import functional as F

from decoder.masking import MaskedGroupNorm, length_mask, padding_mask
from decoder.regulator import LengthRegulator, frame_lengths, nearest_codes


@pytest.mark.parametrize("first", [1, 200, 400, 600])
def test_nearest_is_that_of_torch(first: int) -> None:
    counts = torch.arange(first, first + 100)
    lengths = frame_lengths(counts, 6.890625)
    index = nearest_codes(counts, lengths, int(lengths.max()))
    for row, count, length in zip(index, counts.tolist(), lengths.tolist(), strict=True):
        codes = torch.arange(count, dtype=torch.float32)[None, None]
        expected = F.interpolate(codes, size=length, mode="nearest")[0, 0]
        assert torch.equal(row[:length].float(), expected)


@torch.no_grad()
def test_a_padded_batch_equals_its_items() -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        regulator = LengthRegulator(8).eval()
    x = torch.randn(3, 9, 8, generator=generator)
    code_lengths, lengths = torch.tensor([9, 4, 1]), torch.tensor([62, 27, 6])
    batch = regulator(x, code_lengths, lengths)
    assert batch.shape == (3, 8, 62)
    for i, (codes, frames) in enumerate(zip(code_lengths, lengths, strict=True)):
        one = slice(i, i + 1)
        alone = regulator(x[one, :codes], code_lengths[one], lengths[one])
        torch.testing.assert_close(batch[one, :, :frames], alone, rtol=0, atol=1e-5)
        assert bool((batch[i, :, frames:] == 0).all())


def test_masked_norm_is_group_norm_of_what_is_real() -> None:
    generator = torch.Generator().manual_seed(1)
    norm = MaskedGroupNorm(2, 6)
    torch.nn.init.normal_(norm.weight, generator=generator)
    torch.nn.init.normal_(norm.bias, generator=generator)
    x = 5 + 3 * torch.randn(2, 6, 11, generator=generator)
    mask = length_mask(torch.tensor([11, 5]), 11)[:, None].float()
    out = norm(x, mask)
    torch.testing.assert_close(out[0], norm(x)[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(out[1, :, :5], norm(x[1:, :, :5])[0], rtol=0, atol=1e-5)


def test_a_full_batch_has_no_mask() -> None:
    assert padding_mask(torch.tensor([3, 3]), 3, torch.float32) is None
    mask = padding_mask(torch.tensor([3, 1]), 3, torch.float32)
    assert mask is not None
    assert mask.tolist() == [[[1, 1, 1]], [[1, 0, 0]]]
