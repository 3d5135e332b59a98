"""The log-mel is the one that HiFi-GAN defined."""

import math

import librosa
import numpy as np
import pytest
import torch

from decoder.features import QUIET, LogMel, MelConfig, log_mel
from voiceglm.errors import ConfigError


def by_hand(samples: np.ndarray) -> np.ndarray:
    """The definition, frame by frame in double precision."""
    padded = np.pad(samples.astype(np.float64), 384, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    filters = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
    frames = [np.fft.rfft(window * padded[i : i + 1024]) for i in range(0, len(padded) - 1023, 256)]
    magnitude = np.sqrt(np.abs(np.array(frames)) ** 2 + 1e-9)
    return np.log(np.maximum(filters @ magnitude.T, 1e-5))


def test_the_definition() -> None:
    samples = torch.randn(7 * 256, generator=torch.Generator().manual_seed(0)) * 0.1
    mel = log_mel(samples)
    assert mel.shape == (80, 7)
    torch.testing.assert_close(
        mel, torch.from_numpy(by_hand(samples.numpy())).float(), atol=1e-4, rtol=0
    )


def test_silence_is_quiet() -> None:
    mel = log_mel(torch.zeros(2560))
    torch.testing.assert_close(mel, torch.full((80, 10), QUIET))
    assert math.isclose(QUIET, math.log(1e-5), rel_tol=1e-6)


@pytest.mark.parametrize("num_samples", [0, 1, 255, 256, 400, 1000, 2559])
def test_one_frame_for_every_whole_hop(num_samples: int) -> None:
    mel = log_mel(torch.ones(num_samples) * 0.1)
    assert mel.shape == (80, num_samples // 256)
    assert mel.isfinite().all()


def test_a_batch_is_its_items() -> None:
    samples = torch.randn(2, 3, 1000, generator=torch.Generator().manual_seed(0))
    mels = LogMel()(samples)
    assert mels.shape == (2, 3, 80, 3)
    torch.testing.assert_close(mels[1, 2], log_mel(samples[1, 2]))


def test_a_tone_lies_in_its_band() -> None:
    time = torch.arange(22_050) / 22_050
    centres = librosa.mel_frequencies(82, fmin=0, fmax=8000)[1:-1]
    mel = log_mel(0.5 * torch.sin(2 * math.pi * float(centres[30]) * time))
    assert int(mel[:, 40].argmax()) == 30


@pytest.mark.parametrize("values", [{"hop": 0}, {"hop": 2048}, {"high_hz": 12_000.0}])
def test_a_config_that_describes_nothing_is_refused(values: dict) -> None:
    with pytest.raises(ConfigError):
        MelConfig(**values)
