"""Disturbed speech: drawn from the generator alone, as loud and as noisy as asked."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import voiceglm.augmentation
from voiceglm.audio import save_audio
from voiceglm.augmentation import (
    AugmentationConfig,
    Sounds,
    add_recorded_room,
    add_room,
    augment,
    find_sounds,
    noise_like,
)
from voiceglm.errors import AudioError, ConfigError
from voiceglm.manifest import Utterance, write_manifest

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


def recorded(folder: Path, name: str, samples: Tensor) -> Utterance:
    save_audio(folder / name, samples, RATE)
    return Utterance(path=folder / name, text=None)


@pytest.mark.parametrize("seed", range(4))
def test_recorded_noise_is_mixed_in_at_its_ratio(tmp_path: Path, seed: int) -> None:
    """A pure tone as noise: what is added to the speech is that tone and nothing else."""
    tone = 0.3 * torch.sin(2 * torch.pi * 1_000 * torch.arange(4_000) / RATE)
    sounds = Sounds(noises=[recorded(tmp_path, "tone.wav", tone)])
    config = replace(NEVER, noise_probability=1.0, min_snr_db=6.0, max_snr_db=6.0, min_peak=1.0)
    speech = torch.randn(16_000, generator=seeded(9)) * 0.1
    tones = 0
    for number in range(8):
        out = augment(speech, RATE, config, seeded(100 * seed + number), sounds=sounds)
        scale = float((out @ speech) / (speech @ speech))
        added = out / scale - speech
        power = torch.fft.rfft(added).abs().square()
        share = float(power[990:1011].sum() / power.sum())
        if share > 0.8:
            tones += 1
            ratio = 10 * torch.log10(speech.square().mean() / added.square().mean())
            assert float(ratio) == pytest.approx(6.0, abs=0.5)
    assert 0 < tones < 8, "recorded noise takes turns with noise that is made up"


def test_a_recorded_room_is_its_impulse_response() -> None:
    speech = torch.randn(3_000, generator=seeded(1))
    response = torch.zeros(900)
    response[100], response[100 + 800 - 50] = 0.5, 0.25  # direct path, then one echo at half of it
    out = add_recorded_room(speech, response, RATE)
    expected = speech.clone()
    expected[750:] += 0.5 * speech[:-750]
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)
    assert torch.equal(add_recorded_room(speech, torch.zeros(10), RATE), speech)


def test_without_recordings_every_draw_is_what_it_was(speech: Tensor) -> None:
    config = AugmentationConfig(speed_probability=1.0, room_probability=1.0, noise_probability=1.0)
    bare, empty = (
        augment(speech, RATE, config, seeded(3), sounds=sounds) for sounds in (None, Sounds())
    )
    assert torch.equal(bare, empty)


def test_a_recording_of_noise_is_read_once(tmp_path: Path) -> None:
    noise = recorded(tmp_path, "noise.wav", torch.ones(100) * 0.1)
    sounds = Sounds(noises=[noise])
    first = sounds.samples(noise, RATE)
    noise.recording.unlink()
    assert torch.equal(sounds.samples(noise, RATE), first)
    assert len(sounds.samples(replace(noise, path=recorded(tmp_path, "b.wav", first).path), RATE))
    with pytest.raises(AudioError, match="cannot read"):
        sounds.samples(noise, RATE // 2)


def test_no_more_noise_is_kept_than_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voiceglm.augmentation, "_REMEMBERED", 150)
    one, other = (recorded(tmp_path, name, torch.ones(100) * 0.1) for name in ("a.wav", "b.wav"))
    sounds = Sounds(noises=[one, other])
    for noise in (one, other):
        sounds.samples(noise, RATE)
        noise.recording.unlink()
    assert len(sounds.samples(one, RATE)) == 100
    with pytest.raises(AudioError, match=r"cannot read .*b\.wav"):
        sounds.samples(other, RATE)


def test_sounds_are_found_in_folders_and_manifests(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    one = recorded(tmp_path / "deep", "b.wav", torch.ones(100) * 0.1)
    other = recorded(tmp_path, "a.flac", torch.ones(100) * 0.1)
    (tmp_path / "notes.txt").write_text("no sound")
    assert find_sounds(None) == []
    assert [sound.path for sound in find_sounds(tmp_path)] == [other.path, one.path]
    write_manifest(tmp_path / "list.jsonl", [one])
    assert [sound.recording.name for sound in find_sounds(tmp_path / "list.jsonl")] == ["b.wav"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty holds no recordings \(\.wav, "):
        find_sounds(tmp_path / "empty")
    with pytest.raises(ConfigError, match="cannot read the manifest"):
        find_sounds(tmp_path / "nowhere.jsonl")
