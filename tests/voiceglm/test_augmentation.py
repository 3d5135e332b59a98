"""Disturbed speech: drawn from the generator alone, as loud and as noisy as asked."""

import math

import pytest
import torch
from torch import Tensor

from voiceglm.augmentation import AugmentationConfig, add_room, augment, noise_like

RATE = 16_000
NEVER = AugmentationConfig(speed_probability=0.0, room_probability=0.0, noise_probability=0.0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def speech() -> Tensor:
    """Half a second that swells and fades."""
    time = torch.arange(8_000) / RATE
    return 0.2 * torch.sin(2 * torch.pi * 220 * time) * torch.sin(torch.pi * 2 * time)


def power(samples: Tensor) -> float:
    return float(samples.double().square().mean())


def test_the_same_seed_disturbs_the_same_way(speech: Tensor) -> None:
    before = torch.random.get_rng_state()
    config = AugmentationConfig(speed_probability=1.0, room_probability=1.0, noise_probability=1.0)
    once, again, other = (augment(speech, RATE, config, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not (once.shape == other.shape and torch.equal(once, other))
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator was used"


@pytest.mark.parametrize("seed", range(20))
def test_peak_and_length(speech: Tensor, seed: int) -> None:
    config = AugmentationConfig(speed_probability=0.0, room_probability=1.0, noise_probability=1.0)
    out = augment(speech, RATE, config, seeded(seed))
    assert out.shape == speech.shape
    assert out.isfinite().all()
    assert config.min_peak * 0.999 <= float(out.abs().max()) <= 1.0


def test_loudness_covers_the_range(speech: Tensor) -> None:
    peaks = [float(augment(speech, RATE, NEVER, seeded(n)).abs().max()) for n in range(60)]
    assert min(peaks) < 0.1
    assert max(peaks) > 0.6


def test_only_speed_changes_the_length(speech: Tensor) -> None:
    config = AugmentationConfig(
        speed_probability=1.0, speed_percent=12, room_probability=0.0, noise_probability=0.0
    )
    lengths = [len(augment(speech, RATE, config, seeded(seed))) for seed in range(60)]
    assert len(speech) * 0.88 - 1 <= min(lengths) < len(speech) * 0.92
    assert len(speech) * 1.08 < max(lengths) <= len(speech) * 1.12 + 1


def test_nothing_is_disturbed_but_the_loudness(speech: Tensor) -> None:
    out = augment(speech, RATE, NEVER, seeded(0))
    torch.testing.assert_close(out / out.abs().max(), speech / speech.abs().max())


@pytest.mark.parametrize("snr_db", [-5.0, 5.0, 20.0, 35.0])
@pytest.mark.parametrize("length", [777, 8_000])
def test_noise_is_as_loud_as_asked(speech: Tensor, snr_db: float, length: int) -> None:
    speech = speech[:length]
    for seed in range(10):
        noise = noise_like(speech, snr_db, seeded(seed))
        assert noise.shape == speech.shape
        assert 10 * math.log10(power(speech) / power(noise)) == pytest.approx(snr_db, abs=0.5)


def test_the_noise_of_a_recording_is_in_the_range_asked(speech: Tensor) -> None:
    """After ``augment``: what is left when the speech is taken out again."""
    config = AugmentationConfig(
        speed_probability=0.0,
        room_probability=0.0,
        noise_probability=1.0,
        min_snr_db=10.0,
        max_snr_db=15.0,
    )
    for seed in range(20):
        out = augment(speech, RATE, config, seeded(seed)).double()
        clean = speech.double()
        clean = clean * (out @ clean) / (clean @ clean)
        snr_db = 10 * math.log10(power(clean) / power(out - clean))
        assert 9.0 < snr_db < 16.0


def test_noise_has_many_colours(speech: Tensor) -> None:
    """The share of power above 4 kHz: a half for white noise, next to nothing for brown."""
    shares = []
    for seed in range(30):
        spectrum = torch.fft.rfft(noise_like(speech, 10.0, seeded(seed))).abs().square()
        shares.append(float(spectrum[len(spectrum) // 2 :].sum() / spectrum.sum()))
    assert min(shares) < 0.01
    assert max(shares) > 0.4


def test_a_room_adds_an_echo_that_dies_away() -> None:
    click = torch.zeros(8_000)
    click[1_000] = 1.0
    out = add_room(click, RATE, 0.3, seeded(0))
    assert out.shape == click.shape
    assert out[:1_000].abs().max() < 1e-5, "nothing is heard before it is said"
    assert float(out[1_000]) == pytest.approx(1.0, abs=1e-3)
    early, late = power(out[1_001:2_000]), power(out[5_000:5_799])
    assert early > 0
    assert 10 * math.log10(early / max(late, 1e-30)) > 40
    assert power(out[6_000:]) < 1e-9, "0.3 s are 4,800 samples"
