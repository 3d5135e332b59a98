"""The vocoder equals the reference, and a padded batch equals its items."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from decoder.config import VocoderConfig
from decoder.vocoder import HiFTGenerator, folded, parametrized

TINY = VocoderConfig(base_channels=32, f0_channels=16)
SHORT_WINDOWS = VocoderConfig(
    base_channels=16,
    f0_channels=8,
    upsample_rates=(4, 4),
    upsample_kernel_sizes=(8, 8),
    istft_n_fft=64,
    istft_hop=16,
    resblock_kernel_sizes=(3,),
    phase_limit=3.14159265,
)
CASES = ("plain", "one_frame", "cached")


def close(actual: Tensor, expected: Tensor, within: float) -> None:
    torch.testing.assert_close(actual, expected, atol=within, rtol=0)


@pytest.fixture
def vocoder(golden_dir: Path) -> HiFTGenerator:
    vocoder = HiFTGenerator(TINY).eval().requires_grad_(False)
    vocoder.load_state_dict(parametrized(load_file(golden_dir / "hift" / "hift.safetensors")))
    return vocoder


@pytest.fixture
def recorded(golden_dir: Path) -> dict[str, Tensor]:
    """What is part of this repository: of the noise, only the first frames."""
    return load_file(golden_dir / "hift" / "cases.safetensors")


def check_case(vocoder: HiFTGenerator, recorded: dict[str, Tensor], case: str) -> None:
    case_of = {k.removeprefix(f"{case}."): v for k, v in recorded.items() if k.startswith(case)}
    phase = case_of["phase_uniform"].clone()
    phase[:, 0] = 0.0
    noise = case_of["sine_noise"]
    num_frames = noise.shape[-1] // 256

    close(vocoder.f0(case_of["mel"]), case_of["f0"], within=1e-3)
    source = vocoder.source(
        case_of["f0"][:, :num_frames],
        phase=phase,
        noise=noise,
        cached=case_of.get("cache_source"),
    )
    close(source, case_of["source"][..., : noise.shape[-1]], within=5e-3)
    close(vocoder.synthesize(case_of["mel"], case_of["source"]), case_of["wav"], within=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_parity(vocoder: HiFTGenerator, recorded: dict[str, Tensor], case: str) -> None:
    check_case(vocoder, recorded, case)


@pytest.mark.parametrize("case", CASES)
def test_parity_with_everything_recorded(
    vocoder: HiFTGenerator, shared_golden: Path, case: str
) -> None:
    recorded = load_file(shared_golden / "hift" / "cases.safetensors")
    check_case(vocoder, recorded, case)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("conv_pre", "conv_pre"),
        ("ups.0", "ups0"),
        ("source_downs.0", "source_down0"),
        ("source_resblocks.0", "source_res0"),
    ],
)
def test_parity_inside(
    vocoder: HiFTGenerator, recorded: dict[str, Tensor], module: str, name: str
) -> None:
    seen: list[Tensor] = []
    part = vocoder.get_submodule(module)
    part.register_forward_hook(lambda *args: seen.append(args[-1]))
    vocoder.synthesize(recorded["plain.mel"], recorded["plain.source"])
    close(seen[0], recorded[f"plain.{name}"], within=1e-4)


def test_parity_of_a_residual_block(vocoder: HiFTGenerator, recorded: dict[str, Tensor]) -> None:
    block = vocoder.resblocks[0](recorded["plain.ups0"], None)
    close(block, recorded["plain.resblock0_of_ups0"], within=1e-4)


def test_parity_of_the_analysis(vocoder: HiFTGenerator, shared_golden: Path) -> None:
    recorded = load_file(shared_golden / "hift" / "cases.safetensors")
    seen: list[Tensor] = []
    vocoder.source_downs[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    vocoder.synthesize(recorded["plain.mel"], recorded["plain.source"])
    close(seen[0], recorded["plain.source_stft"], within=1e-4)


@pytest.mark.parametrize("config", [TINY, SHORT_WINDOWS], ids=["released shape", "short"])
def test_a_padded_batch_is_its_items(config: VocoderConfig) -> None:
    torch.manual_seed(0)
    vocoder = HiFTGenerator(config).eval().requires_grad_(False)
    lengths = [9, 1, 14, 4]
    mel = torch.randn(4, 80, 14)  # what lies after an item's end must not matter
    f0 = vocoder.f0(mel, torch.tensor(lengths))
    phase, noise = vocoder.draw(4, 14, torch.Generator().manual_seed(1))
    source = vocoder.source(50 * f0, phase=phase, noise=noise)
    together = vocoder.synthesize(mel, source, torch.tensor(lengths))
    assert together.std() > 1e-3

    for i, length in enumerate(lengths):
        end = length * 256
        close(f0[i, :length], vocoder.f0(mel[i : i + 1, :, :length])[0], within=1e-4)
        alone = vocoder.synthesize(mel[i : i + 1, :, :length], source[i : i + 1, :, :end])
        close(together[i, :end], alone[0], within=1e-5)
        assert not together[i, end:].any()


def test_a_long_source_keeps_its_pitch() -> None:
    """A minute of 100 Hz: the phase at the end is the one that the definition gives."""
    vocoder = HiFTGenerator(TINY).requires_grad_(False)
    vocoder.m_source.l_linear.weight.fill_(0.0)[0, 8] = 1.0  # the ninth harmonic alone
    vocoder.m_source.l_linear.bias.fill_(0.0)
    num_frames = 5168
    n = torch.arange(1, num_frames * 256 + 1, dtype=torch.float64)
    hertz = float(torch.tensor(123.4))  # as rounded to single precision
    expected = torch.tanh(0.1 * torch.sin(2 * torch.pi * ((9 * hertz / 22_050 * n) % 1)))
    source = vocoder.source(
        torch.full((1, num_frames), hertz),
        phase=torch.zeros(1, 9, 1),
        noise=torch.zeros(1, 9, num_frames * 256),
    )
    close(source[0, 0].double(), expected, within=5e-6)


def test_the_same_generator_makes_the_same_speech() -> None:
    vocoder = HiFTGenerator(SHORT_WINDOWS).eval().requires_grad_(False)
    mel = torch.randn(1, 80, 6)
    before = torch.random.get_rng_state()
    once, again, other = (
        vocoder(mel, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator was used"
    assert once.shape == (1, 6 * 256)


def test_folded_weights_make_the_same_speech(
    vocoder: HiFTGenerator, recorded: dict[str, Tensor]
) -> None:
    copy = folded(vocoder)
    assert "conv_pre.weight" in copy.state_dict()
    assert "conv_pre.weight" not in vocoder.state_dict()
    vocoder.synthesize(recorded["plain.mel"], recorded["plain.source"])  # still whole
    samples = folded(copy).synthesize(recorded["plain.mel"], recorded["plain.source"])
    close(samples, recorded["plain.wav"], within=1e-3)


def test_a_loud_spectrum_has_a_gradient() -> None:
    """The magnitude is limited before the exponential: infinity times zero is not a number."""
    vocoder = HiFTGenerator(SHORT_WINDOWS)
    bias = vocoder.conv_post.bias
    assert isinstance(bias, torch.nn.Parameter)
    torch.nn.init.constant_(bias, 200.0)
    vocoder.synthesize(torch.randn(1, 80, 4), torch.zeros(1, 1, 1024)).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in vocoder.parameters())
