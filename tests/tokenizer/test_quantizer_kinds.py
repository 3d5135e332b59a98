"""Every kind of quantizer: the same interface, the same care for padding and precision."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tokenizer.config import QuantizerConfig
from tokenizer.quantizer import FsqQuantizer, Quantizer, build_quantizer, perplexity, pick
from voiceglm.errors import ConfigError

WIDTH = 6
KINDS = {
    "ema": QuantizerConfig(codebook_size=32, ema_decay=0.9, revive_below=0.1),
    "ema by k-means": QuantizerConfig(codebook_size=32, revive_below=0.1, kmeans_init=True),
    "fsq": QuantizerConfig(kind="fsq", codebook_size=36, levels=(3, 4, 3)),
    "fsq without maps": QuantizerConfig(kind="fsq", codebook_size=3**6, levels=(3,) * 6),
    "simvq": QuantizerConfig(kind="simvq", codebook_size=32, commitment_weight=1.0),
}
EVERY = torch.ones(2, 50).bool()
SOME = torch.arange(50) < torch.tensor([[50], [21]])
each_kind = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS.keys())


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed))


def new(config: QuantizerConfig) -> Quantizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = build_quantizer(config, WIDTH).train()
        with torch.no_grad():
            quantizer(draw(2, 50, seed=9), EVERY)  # k-means happens here
    return quantizer


@torch.no_grad()
@each_kind
def test_codes_and_frames_go_together(config: QuantizerConfig) -> None:
    quantizer = new(config).eval()
    frames = 3 * draw(2, 50)
    out = quantizer(frames, SOME)
    assert out.codes.dtype == torch.int64
    assert out.codes.shape == (2, 50)
    assert 0 <= int(out.codes.min()) <= int(out.codes.max()) < config.codebook_size
    assert int(out.codes.unique().numel()) > 8
    assert torch.equal(quantizer.encode(frames), out.codes)
    assert torch.equal(quantizer.lookup(out.codes), out.frames)
    assert quantizer.codebook.shape == (config.codebook_size, WIDTH)
    torch.testing.assert_close(quantizer.codebook[out.codes], out.frames)
    trained = quantizer.train()(frames, SOME)
    assert torch.equal(trained.codes[SOME], out.codes[SOME]), "training chooses the same"
    assert not trained.frames[~SOME].any()


@torch.no_grad()
@pytest.mark.parametrize("name", ["fsq", "fsq without maps", "simvq"])
def test_codes_are_those_the_library_would_choose(name: str) -> None:
    quantizer = new(KINDS[name])
    frames = 2 * draw(2, 50)
    out = quantizer(frames, EVERY)
    library = quantizer.library
    assert isinstance(library, nn.Module)
    looked_up, codes, *_ = library(frames)
    assert torch.equal(codes.long(), out.codes)
    torch.testing.assert_close(looked_up, out.frames)


@torch.no_grad()
def test_finite_scalars_are_written_as_mixed_radix_numbers() -> None:
    """The code of a frame is its levels, the first of which counts one (appendix A of FSQ)."""
    quantizer = new(KINDS["fsq without maps"])
    assert isinstance(quantizer, FsqQuantizer)
    frames = torch.tensor([[-9.0, 0, 9, 0, 0, 0], [0, 0, 0, 0, 0, 9]])[None]
    middle = sum(3**n for n in range(6))
    assert quantizer.encode(frames).tolist() == [[middle - 1 + 9, middle + 3**5]]
    expected = torch.tensor([[-1.0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]])[None]
    torch.testing.assert_close(quantizer.lookup(quantizer.encode(frames)), expected)


@each_kind
def test_padding_counts_for_nothing(config: QuantizerConfig) -> None:
    """Whatever stands in it: counts, entries, loss and gradients are those of real frames."""
    seen = []
    for padding in (0.0, 50.0, -3.0):
        quantizer = new(config)
        frames = draw(2, 50)
        frames[~SOME] = padding
        frames.requires_grad_()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            out = quantizer(frames, SOME)
        (out.frames.square().sum() + out.commitment).backward()
        assert frames.grad is not None
        assert not frames.grad[~SOME].any()
        weights = [weight.grad for weight in quantizer.parameters()]
        seen.append([out.commitment.detach(), frames.grad[SOME], quantizer.counts, *weights])
        seen[-1] += [quantizer.codebook.detach(), quantizer.dead]
    for other in seen[1:]:
        for one, same in zip(seen[0], other, strict=True):
            assert one is not None
            assert same is not None
            torch.testing.assert_close(one, same)


@torch.no_grad()
@each_kind
def test_a_batch_of_padding_changes_nothing(config: QuantizerConfig) -> None:
    quantizer = new(config)
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    for frames in (draw(2, 50), draw(0, 50)):
        out = quantizer(frames, torch.zeros(frames.shape[:2]).bool())
        assert float(out.commitment) == 0
        assert not out.frames.any()
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name]), name


@torch.no_grad()
def test_k_means_waits_for_a_real_frame() -> None:
    quantizer = build_quantizer(KINDS["ema by k-means"], WIDTH).train()
    quantizer(draw(2, 50), ~EVERY)
    assert not quantizer.codebook.any()
    quantizer(draw(2, 50), SOME)
    assert quantizer.codebook.any(1).all()
    assert quantizer.codebook.isfinite().all()


@torch.no_grad()
@each_kind
def test_everything_is_in_float32_within_autocast(config: QuantizerConfig) -> None:
    frames = 2 * draw(2, 50)
    exact = new(config)(frames, SOME)
    with torch.autocast("cpu", torch.bfloat16):
        inside, evaluated = new(config), new(config).eval()
        out = inside(frames, SOME)
        assert torch.equal(evaluated(frames, SOME).codes[SOME], exact.codes[SOME])
    assert torch.equal(out.codes, exact.codes)
    torch.testing.assert_close(out.commitment, exact.commitment, rtol=0, atol=0)
    torch.testing.assert_close(out.frames, exact.frames, rtol=0, atol=0)
    assert all(value.dtype == torch.float32 for value in inside.parameters())
    half = inside(frames.bfloat16(), SOME)
    assert half.frames.dtype == torch.bfloat16


@torch.no_grad()
@each_kind
def test_large_frames_do_not_overflow(config: QuantizerConfig) -> None:
    """Squares of these are infinite in half precision."""
    quantizer = new(config)
    with torch.autocast("cpu", torch.float16):
        out = quantizer(3e3 * draw(2, 50), EVERY)
    assert out.commitment.isfinite()
    assert quantizer.codebook.isfinite().all()
    assert quantizer.counts.isfinite().all()


@torch.no_grad()
@each_kind
def test_dead_codes_are_those_hardly_ever_used(config: QuantizerConfig) -> None:
    quantizer = new(replace(config, ema_decay=0.0, revive_below=0.5))
    codes = quantizer(draw(2, 50), SOME).codes[SOME]
    used = int(codes.unique().numel())
    assert int(quantizer.dead) == config.codebook_size - used > 0
    assert 1 < float(quantizer.perplexity) <= config.codebook_size


@torch.no_grad()
def test_finite_scalars_begin_where_frames_differ() -> None:
    """Frames that differ a little, around a point far away, mostly along three directions."""
    generator = torch.Generator().manual_seed(3)
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator))[0]
    spread = torch.tensor([0.3, 0.2, 0.1, 1e-4, 1e-4, 1e-4])
    frames = 5.0 + (torch.randn(2, 400, WIDTH, generator=generator) * spread) @ turn
    mask = torch.arange(400) < torch.tensor([[400], [250]])
    config = QuantizerConfig(kind="fsq", codebook_size=64, levels=(4, 4, 4))
    quantizer = build_quantizer(config, WIDTH).train()
    garbage = torch.where(mask[..., None], frames, 1e3)
    out = quantizer(garbage, mask)
    assert int(out.codes[mask].unique().numel()) > 48
    error = (out.frames - frames)[mask].square().mean()
    assert error < 0.4 * frames[mask].var(0).mean(), "and what comes out is like what went in"
    before = quantizer.state_dict()["library.project_in.weight"].clone()
    quantizer(2 * frames, mask)
    assert torch.equal(quantizer.state_dict()["library.project_in.weight"], before), "once only"


@torch.no_grad()
def test_mapped_entries_begin_where_frames_are() -> None:
    """The same mean and covariance, but for the chance of a codebook of 2,000 entries."""
    generator = torch.Generator().manual_seed(3)
    frames = 5.0 + torch.randn(1, 4_000, WIDTH, generator=generator) @ torch.randn(
        WIDTH, WIDTH, generator=generator
    )
    config = QuantizerConfig(kind="simvq", codebook_size=2_000)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = build_quantizer(config, WIDTH).train()
    mask = torch.ones(1, 4_000).bool()
    quantizer(frames, mask)
    entries = quantizer.codebook
    torch.testing.assert_close(entries.mean(0), frames[0].mean(0), rtol=0, atol=0.3)
    torch.testing.assert_close(entries.T.cov(), frames[0].T.cov(), rtol=0.2, atol=0.5)
    quantizer(9 * frames, mask)
    assert torch.equal(quantizer.codebook, entries), "once only"


def test_learned_maps_are_reached_by_gradients() -> None:
    for name in ("fsq", "simvq"):
        quantizer = new(KINDS[name])
        out = quantizer(draw(2, 50), SOME)
        (out.frames.sum() + out.commitment).backward()
        for weight in quantizer.parameters():
            assert weight.grad is not None
            assert weight.grad.any(), name


def test_perplexity_of_counts() -> None:
    assert float(perplexity(torch.tensor([3, 3, 0, 3, 3]))) == pytest.approx(4)
    assert float(perplexity(torch.tensor([7, 0]))) == pytest.approx(1)


def test_nothing_is_picked_twice_while_there_is_enough() -> None:
    frames = torch.arange(20.0)[:, None]
    for seed in range(5):
        picked = pick(frames, 15, torch.Generator().manual_seed(seed))[:, 0].tolist()
        assert len(set(picked)) == 15
    assert len(pick(frames[:3], 8, torch.Generator())) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "fsq"}, r"levels must hold numbers .* as in \[8, 8, 8, 8, 4\] for 16,384"),
        ({"kind": "fsq", "levels": (2, 8)}, "at least 3"),
        ({"kind": "fsq", "levels": (8, 5)}, "make 40 codes, but .*codebook_size is 16,384"),
        ({"levels": (8, 8)}, "levels is for kind fsq, not for ema"),
        ({"kind": "simvq", "kmeans_init": True}, "kmeans_init is for kind ema, not for simvq"),
        ({"codebook_size": 1}, "codebook_size must be at least 2, got 1"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\), got 1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QuantizerConfig(**settings)
