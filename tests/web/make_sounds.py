"""Makes the sounds beside it that a voice detector must not take for a turn."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
FOLDER = Path(__file__).parent / "sounds"
Waveform = NDArray[np.float64]


def at(times: list[float], sound: Waveform, seconds: float = 4.0) -> Waveform:
    """Put a sound at several times into silence."""
    out = np.zeros(int(seconds * RATE))
    for time in times:
        start = int(time * RATE)
        out[start : start + len(sound)] += sound[: len(out) - start]
    return out


def band(noise: Waveform, low: float, high: float) -> Waveform:
    """Keep a band of frequencies, in hertz."""
    spectrum, hertz = np.fft.rfft(noise), np.fft.rfftfreq(len(noise), 1 / RATE)
    spectrum[(hertz < low) | (hertz > high)] = 0
    return np.fft.irfft(spectrum, len(noise))


def seconds(length: float) -> Waveform:
    """Return the times of so many seconds of samples."""
    return np.arange(int(length * RATE)) / RATE


def sounds() -> dict[str, Waveform]:
    """Return every sound by its name."""
    rng = np.random.default_rng(0)

    def noise(length: float) -> Waveform:
        return rng.standard_normal(int(length * RATE))

    pink = np.fft.rfft(noise(4.0))
    pink /= np.sqrt(np.maximum(np.arange(len(pink)), 1))
    pink = np.fft.irfft(pink)
    cough = band(noise(0.25), 300, 4_000) * np.exp(-seconds(0.25) / 0.06)
    key = band(noise(0.025), 1_500, 7_000) * np.exp(-seconds(0.025) / 0.004)
    knock = np.sin(2 * np.pi * 180 * seconds(0.12)) * np.exp(-seconds(0.12) * 50)
    hum = sum(np.sin(2 * np.pi * 50 * k * seconds(4.0)) / k for k in range(1, 8))
    return {
        "silence": np.zeros(4 * RATE),
        "white_noise": 0.1 * noise(4.0),
        "pink_noise": 0.3 * pink / np.abs(pink).max(),
        "hum": 0.2 * np.asarray(hum),
        "clicks": at(list(rng.uniform(0, 3.9, 25)), 0.6 * noise(0.004)),
        "coughs": at([0.5, 1.0, 2.2, 2.6], 0.8 * cough / np.abs(cough).max()),
        "typing": at(list(np.cumsum(rng.uniform(0.05, 0.2, 25))), 0.5 * key),
        "knocking": at([0.5, 0.7, 0.9, 2.5, 2.7], 0.8 * knock),
        "music": music(),
        "mm_hmm": at([1.0], mm_hmm(), 2.2),
    }


def music() -> Waveform:
    """Return twelve chords."""
    times = seconds(0.5)
    chords = []
    for root in (220.0, 261.6, 329.6, 440.0, 392.0, 349.2) * 2:
        partials = [(root * ratio * k, k**-1.5) for ratio in (1, 1.25, 1.5) for k in range(1, 6)]
        chord = sum(level * np.sin(2 * np.pi * hertz * times) for hertz, level in partials)
        chords.append(0.12 * chord * np.exp(-3 * times))
    return np.concatenate(chords)


def mm_hmm() -> Waveform:
    """Return 200 ms of a rising voice through the nose."""
    times = seconds(0.2)
    phase = 2 * np.pi * np.cumsum(120 + 200 * times) / RATE

    def level(hertz: float) -> float:
        low, high = (hertz - 250) / 150, (hertz - 1_100) / 200
        return 1 / (1 + low**2) + 0.2 / (1 + high**2)

    voice = sum(level(130 * k) * np.sin(k * phase) for k in range(1, 25))
    voice = voice * np.hanning(len(times)) ** 0.3
    return 0.5 * voice / np.abs(voice).max()


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for name, samples in sounds().items():
        soundfile.write(FOLDER / f"{name}.flac", np.clip(samples, -1, 1), RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
