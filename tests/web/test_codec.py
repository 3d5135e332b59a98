"""Audio on the wire: bytes and waveforms, the same however they are cut."""

import io
import random

import numpy as np
import pytest
import soundfile
import torch

from web.codec import FORMATS, PCM, Inbound, Outbound, pack, unpack
from web.errors import ClientError


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> torch.Tensor:
    times = torch.arange(int(seconds * rate)) / rate
    return 0.5 * torch.sin(2 * torch.pi * hertz * times)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("seed", range(5))
def test_cut_anywhere_the_samples_are_the_same(name: str, seed: int) -> None:
    form, rng = FORMATS[name], random.Random(seed)
    data = form.write(tone(form.rate).numpy())
    whole = Inbound(form).push(data)
    inbound, parts, start = Inbound(form), [], 0
    while start < len(data):
        size = form.width * rng.randrange(2_000)
        parts.append(inbound.push(data[start : start + size]))
        start += size
    cut = torch.cat(parts)
    # What the resampler holds back depends on the last cut alone.
    assert abs(len(cut) - len(whole)) < 400
    shared = min(len(cut), len(whole))
    torch.testing.assert_close(cut[:shared], whole[:shared])


@pytest.mark.parametrize("name", FORMATS)
def test_a_tone_keeps_its_pitch_and_level(name: str) -> None:
    form = FORMATS[name]
    outbound = Outbound(22_050, form)
    parts = [outbound.push(part) for part in tone(22_050).split(1_000)]
    data = b"".join([*parts, outbound.push(torch.zeros(0), last=True)])
    assert abs(form.milliseconds(len(data)) - 1_000) < 1
    heard = Inbound(form).push(data)[2_000:-2_000]
    spectrum = torch.fft.rfft(heard * torch.hann_window(len(heard))).abs()
    assert abs(float(spectrum.argmax()) * 16_000 / len(heard) - 440) < 2
    assert abs(float(heard.abs().max()) - 0.5) < 0.03


@pytest.mark.parametrize(("name", "subtype"), [("audio/pcmu", "ULAW"), ("audio/pcma", "ALAW")])
def test_all_bytes_of_the_telephone(name: str, subtype: str) -> None:
    every = bytes(range(256))
    samples = FORMATS[name].read(every)
    again = FORMATS[name].read(FORMATS[name].write(samples))
    np.testing.assert_array_equal(samples, again)
    wav = io.BytesIO()
    soundfile.write(wav, samples, 8_000, format="WAV", subtype=subtype)
    assert wav.getvalue().endswith(FORMATS[name].write(samples))
    largest = {"ULAW": 32_124, "ALAW": 32_256}[subtype]  # ITU-T G.711, tables 2 and 1
    assert round(float(np.abs(samples).max()) * 32_768) == largest


def test_what_is_too_loud_is_clipped() -> None:
    data = PCM.write(np.array([2.0, -2.0, 0.0], dtype=np.float32))
    assert np.frombuffer(data, "<i2").tolist() == [32_767, -32_768, 0]


@pytest.mark.parametrize("text", [None, 5, "A", "AAA", "%%%%", "AA==", "AA\nAA"])
def test_what_is_no_base64_of_samples_is_refused(text: object) -> None:
    with pytest.raises(ClientError, match="audio"):
        unpack(text, PCM, param="audio")


def test_base64_round_trips() -> None:
    assert unpack(pack(b"\x01\x02\x03\x04"), PCM, param="audio") == b"\x01\x02\x03\x04"
