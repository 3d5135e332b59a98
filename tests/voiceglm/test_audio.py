"""Any rate, depth and number of channels come in; whole 16-bit files go out, or none."""

import math
import os
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from voiceglm.audio import (
    AudioInfo,
    check_samples,
    load_audio,
    load_speech,
    probe_audio,
    read_stretch,
    resample,
    save_audio,
)
from voiceglm.errors import AudioError, OutputError


def tone(seconds: float, sample_rate: int) -> np.ndarray:
    """Return 220 Hz at half the full scale: (num_samples,)."""
    return 0.5 * np.sin(2 * math.pi * 220 * np.arange(round(seconds * sample_rate)) / sample_rate)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 44_101, 47_999, 192_000])
def test_any_rate_is_the_same_tone(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.5, rate), rate)
    samples = load_audio(path, 16_000)
    assert samples.dtype == torch.float32
    assert abs(len(samples) - 8_000) <= 8
    middle, expected = samples[1000:7000], torch.from_numpy(tone(0.5, 16_000)).float()[1000:7000]
    torch.testing.assert_close(middle, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("subtype", "error"),
    [
        ("PCM_U8", 1e-2),
        ("PCM_16", 1e-4),
        ("PCM_24", 1e-6),
        ("PCM_32", 1e-6),
        ("FLOAT", 1e-6),
        ("DOUBLE", 1e-6),
        ("ULAW", 3e-2),
    ],
)
def test_any_depth_is_the_same_tone(tmp_path: Path, subtype: str, error: float) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.5, 16_000), 16_000, subtype=subtype)
    expected = torch.from_numpy(tone(0.5, 16_000)).float()
    torch.testing.assert_close(load_audio(path), expected, rtol=0, atol=error)


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3", "aiff"])
def test_other_formats_are_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, tone(0.5, 16_000), 16_000)
    assert load_audio(path).abs().max() == pytest.approx(0.5, abs=0.05)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    left, right = tone(0.5, 16_000), np.full(8_000, 0.25)
    soundfile.write(path, np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    expected = torch.from_numpy((left + right) / 2).float()
    torch.testing.assert_close(load_audio(path), expected)


def test_a_length_that_a_recorder_did_not_know_is_no_truncation(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.5, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFF_FFFF)
    path.write_bytes(data)
    assert len(load_audio(path)) == 8_000


def test_chunks_before_the_samples_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.5, 16_000), 16_000)
    data = path.read_bytes()
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"  # an odd chunk is padded to an even length
    path.write_bytes(data[:36] + odd + data[36:])
    assert len(load_audio(path)) == 8_000


@pytest.mark.parametrize("keep", [4, 30, 44, 45, 10_000])
def test_a_truncated_wav_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.5, 16_000), 16_000)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        AudioError, match=r"truncated: its header promises 16000|not audio"
    ) as caught:
        load_audio(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_flac_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 80_000)
    soundfile.write(path, noise, 16_000)
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(AudioError, match=r"not audio that can be read|truncated"):
        load_audio(path)


def test_a_truncated_mp3_gives_no_uninitialised_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(10.0, 16_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    samples = load_audio(path)
    assert len(samples) < 100_000
    assert samples.abs().max() < 0.6


def test_a_header_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros((4_000, 2)), 8_000)
    info = probe_audio(tmp_path / "a.flac")
    assert info == AudioInfo(8_000, 4_000, 2, is_exact=True)
    assert info.seconds == 0.5
    soundfile.write(tmp_path / "a.mp3", np.zeros(8_000), 16_000)
    assert not probe_audio(tmp_path / "a.mp3").is_exact


def test_a_header_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "cut.wav", np.zeros(4_000), 8_000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:900])
    (tmp_path / "text.wav").write_text("no sound")
    for name, message in (
        ("missing.wav", "no such file"),
        ("cut.wav", "is truncated"),
        ("text.wav", "is not audio that can be read"),
        ("x" * 300, "File name too long"),
    ):
        with pytest.raises(AudioError, match=message):
            probe_audio(tmp_path / name)


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(0), 16_000)
    with pytest.raises(AudioError, match="holds no samples"):
        load_audio(path)


def test_a_long_file_is_refused_unread_unless_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(4_000 * 601), 4_000, subtype="PCM_U8")
    with pytest.raises(AudioError, match="too long: 601 s, expected at most 600 s"):
        load_audio(path)
    assert len(load_audio(path, 4_000, max_seconds=None)) == 4_000 * 601


@pytest.mark.parametrize("rate", [1, 999, 2_000_000])
def test_an_absurd_rate_is_refused(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.5, 16_000), rate)
    with pytest.raises(AudioError, match="Hz, expected"):
        load_audio(path, max_seconds=None)
    with pytest.raises(AudioError, match="cannot resample"):
        resample(torch.zeros(100), rate, 16_000)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.full((1_599,), 0.5), "it is too short: 100 ms, expected at least 100 ms"),
        (torch.zeros(0), "it is too short: 0 ms"),
        (torch.full((16_000 * 601,), 0.5), "it is too long: 601 s"),
        (torch.zeros(16_000), "it is silent"),
        (torch.full((16_000,), 5e-5), "it is silent"),
        (torch.tensor([0.5, math.nan] * 8_000), "it holds samples that are not numbers"),
        (torch.tensor([0.5, math.inf] * 8_000), "it holds samples that are not numbers"),
        (torch.full((2, 16_000), 0.5), "it is float32 of shape (2, 16000)"),
        (torch.ones(16_000, dtype=torch.int16), "it is int16 of shape (16000,)"),
    ],
)
def test_what_cannot_hold_speech_is_refused(samples: torch.Tensor, message: str) -> None:
    with pytest.raises(AudioError) as caught:
        check_samples(samples, 16_000, what="it")
    assert str(caught.value).startswith(message)


def test_the_shortest_and_the_quietest_pass(speech: Path) -> None:
    check_samples(torch.full((1_600,), 2e-4), 16_000, what="it")
    assert len(load_speech(speech)) == 16_000


def test_saving_and_loading_is_exact_to_16_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = torch.rand(16_000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    save_audio(path, samples, 16_000)
    assert soundfile.info(path).subtype == "PCM_16"
    torch.testing.assert_close(load_audio(path), samples, rtol=0, atol=1e-4)
    save_audio(path, torch.tensor([2.0, -2.0]), 16_000)
    clipped = torch.tensor([1.0, -1.0])
    torch.testing.assert_close(load_audio(path), clipped, rtol=0, atol=1e-4)  # not wrapped around


def test_a_save_that_fails_leaves_what_was_there(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with full_disk(), pytest.raises(OutputError, match=r"cannot write .*a\.wav: "):
        save_audio(path, torch.zeros(16_000), 16_000)
    with pytest.raises(AudioError, match="not written"):
        save_audio(path, torch.full((10,), math.nan), 16_000)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_a_save_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        save_audio(tmp_path / "nope" / "a.wav", torch.zeros(10), 16_000)
    with pytest.raises(OutputError, match="it is a folder"):
        save_audio(tmp_path, torch.zeros(10), 16_000)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_stretch_of_a_wav_is_what_libsndfile_reads(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.wav"
    sound = np.random.default_rng(0).uniform(-1, 1, (1_000, channels))
    soundfile.write(path, sound, 16_000, subtype="PCM_16")
    for start, frames in ((0, -1), (10, 200), (900, 500), (999, 1)):
        found = read_stretch(path, start, frames)
        assert found is not None
        expected, rate = soundfile.read(path, frames, start, dtype="float32", always_2d=True)
        assert found[1] == rate
        assert np.array_equal(found[0], expected)


def test_only_what_is_there_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sound = np.zeros((100, 1))
    soundfile.write(path, sound, 16_000, subtype="FLOAT")
    assert read_stretch(path, 0, -1) is None, "not 16 bits"
    soundfile.write(path, sound, 16_000, subtype="PCM_16")
    os.utime(path, ns=(1, 1))
    assert read_stretch(path, 0, -1) is not None, "another version of the file"
    assert read_stretch(path, 100, 1) is None, "past its end"
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    assert read_stretch(path, 0, -1) is None, "cut short"
    with pytest.raises(FileNotFoundError):
        read_stretch(tmp_path / "missing.wav", 0, 1)
