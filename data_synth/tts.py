"""Speech from text with espeak-ng, in process.

The library comes as a wheel (``espeakng-loader``, GPL-3) and is imported nowhere else: chatting,
serving and training on recordings never need it.

espeak-ng keeps one voice per process, so every sentence sets all of its voice again and sounds
the same whatever was spoken before (to the ear: its noise source is not reset). Where every bit has
to be the same, :func:`speak_alone` loads a copy of the library anew for each sentence.
"""

import atexit
import ctypes
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from voiceglm.errors import DependencyError, SynthesisError

SAMPLE_RATE = 22_050  # hertz, fixed by espeak-ng
_SYNCHRONOUS = 2
_UTF8 = 1
_CHARACTER_POSITIONS = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER numbers
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True)
class Voice:
    """Who speaks, and how."""

    name: str  # espeak language and variant, such as "en-us+f2"
    rate: int = 165  # words per minute
    pitch: int = 50  # 0 to 99
    pitch_range: int = 50  # 0 (monotone) to 99
    volume: int = 100  # 0 to 200, in proportion to the samples


class Espeak:
    """One espeak-ng engine.

    Args:
        apart: Whether it shares nothing with other engines; the library remembers what was said.

    Raises:
        DependencyError: If the wheel is not installed.
    """

    def __init__(self, *, apart: bool = False) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise DependencyError(
                "speech synthesis needs espeak-ng; install it with: pip install voiceglm[synth]"
            ) from None
        path = Path(espeakng_loader.get_library_path())
        self._library = ctypes.CDLL(str(_copy_of(path) if apart else path))
        self._data = Path(espeakng_loader.get_data_path())
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(self._data).encode(), 0)
        if rate != SAMPLE_RATE:
            raise SynthesisError(f"espeak-ng reports a sample rate of {rate}, not {SAMPLE_RATE}")
        self._pieces: list[np.ndarray] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library holds a bare pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: Voice) -> Tensor:
        """Say ``text``: (num_samples,) float32 in [-1, 1] at 22,050 Hz, silence at the ends cut.

        Raises:
            SynthesisError: If the voice is unknown or nothing was said.
        """
        if self._library.espeak_SetVoiceByName(voice.name.encode()):
            raise SynthesisError(f"espeak-ng has no voice {voice.name!r}")
        settings = ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range))
        for parameter, value in (*settings, (_VOLUME, voice.volume)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._pieces = []
        data = text.encode()
        self._library.espeak_Synth(
            data, len(data) + 1, 0, _CHARACTER_POSITIONS, 0, _UTF8, None, None
        )
        samples = np.concatenate([*self._pieces, np.zeros(0, np.int16)]).astype(np.float32)
        if not samples.any():
            raise SynthesisError(f"espeak-ng said nothing for {text[:60]!r}")
        return trim(torch.from_numpy(samples / 32_768.0))

    def has_voice(self, name: str) -> bool:
        """Say whether there are a language and a variant of that name.

        espeak-ng itself takes any variant and speaks without it.
        """
        variant = name.partition("+")[2]
        known = not variant or (self._data / "voices" / "!v" / variant).is_file()
        return known and bool(name) and self._library.espeak_SetVoiceByName(name.encode()) == 0

    def seed_noise(self) -> None:
        """Begin the noise of voices anew; espeak-ng draws it in part from the C library."""
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        ctypes.CDLL(None).srand(1)

    def close(self) -> None:
        """Unload the library and with it all it remembers, unless another engine uses it, too."""
        self._library.espeak_Terminate()
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(self._library._handle))

    def _receive(self, wave: ctypes.Array, count: int, events: int) -> int:
        del events
        if wave and count > 0:
            self._pieces.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        return 0


@cache
def _copy_of(library: Path) -> Path:
    """Copy a library to a name of its own, under which it is loaded with memory of its own."""
    folder = TemporaryDirectory(prefix="voiceglm-")
    atexit.register(folder.cleanup)
    return Path(shutil.copy(library, folder.name))


def speak_alone(text: str, voice: Voice) -> Tensor:
    """Say ``text`` as :meth:`Espeak.speak` does, the same to the bit whatever was said before.

    Raises:
        SynthesisError: If the voice is unknown or nothing was said.
    """
    engine = Espeak(apart=True)
    try:
        if not engine.has_voice(voice.name):
            raise SynthesisError(f"espeak-ng has no voice {voice.name!r}")
        engine.seed_noise()
        return engine.speak(text, voice)
    finally:
        engine.close()


def trim(samples: Tensor, *, threshold: float = 0.005, margin: int = 1_100) -> Tensor:
    """Cut silence at both ends, keeping ``margin`` samples (50 ms at 22,050 Hz) of it.

    Args:
        samples: (num_samples,).
        threshold: Absolute value that counts as sound.
        margin: Samples kept before the first and after the last sound.
    """
    loud = (samples.abs() > threshold).nonzero()
    if len(loud) == 0:
        return samples
    first, last = int(loud[0]), int(loud[-1])
    return samples[max(0, first - margin) : last + 1 + margin]


# Languages and variants of espeak-ng that are plain speech (no whisper, croak or robot effects).
_ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-us-nyc")
_CALLED = {"zh": "cmn"}  # what espeak-ng calls a language that we call otherwise
_VARIANTS = (  # noqa: SIM905  a list of words reads better
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3 klatt4 Alex Alicia Andrea Andy"
    " Annie Denis Gene Hugo Jacky Lee Mario Michael Mike adam anika antonio aunty belinda benjamin"
    " boris caleb david ed edward grandma grandpa ian john linda max michel miguel norbert pablo"
    " paul quincy rob robert shelby steph travis victor zac"
).split()
HELD_OUT_VARIANTS = ("m4", "f3", "klatt4", "Annie", "Michael", "belinda", "edward", "ian", "quincy")
"""Variants never used in training; evaluation speaks with nothing else."""


def training_voices(language: str = "en") -> list[str]:
    """Names of the voices that training may use."""
    return _names(language, [v for v in _VARIANTS if v not in HELD_OUT_VARIANTS])


def held_out_voices(language: str = "en") -> list[str]:
    """Names of the voices kept for evaluation."""
    return _names(language, HELD_OUT_VARIANTS)


def random_voice(rng: random.Random, names: Sequence[str]) -> Voice:
    """Draw a voice: any of these names, any rate, pitch and liveliness of people."""
    name = rng.choice(names)
    rate = rng.randint(125, 205)
    return Voice(
        name,
        rate=round(rate * _PACES.get(name.partition("+")[0], 1.0)),
        pitch=rng.randint(25, 75),
        pitch_range=rng.randint(25, 75),
    )


def _names(language: str, variants: Sequence[str]) -> list[str]:
    accents = _ACCENTS if language == "en" else (_CALLED.get(language, language),)
    return [f"{accent}+{variant}" for accent in accents for variant in variants]


_PACES = {"cmn": 1.3, "yue": 1.1}
"""What a rate in words a minute is multiplied by: espeak-ng takes a syllable for a word."""

ASSISTANT = Voice("en-us+f2", rate=160, pitch=45, pitch_range=45)
"""The default voice of spoken replies."""

ASSISTANTS = {
    "alice": ASSISTANT,
    "bruno": Voice("en-us+m2", rate=160, pitch=60, pitch_range=45),
}
"""Voices that a decoder of several is bundled with, by the names they are asked for; they speak at
one pace, so that the codes of one fit the sound of the other."""

TONES: dict[str, dict[str, int]] = {
    "low": {"pitch": -22},
    "high": {"pitch": 25},
    "cheerful": {"pitch": 12, "pitch_range": 40},
    "sad": {"pitch": -12, "pitch_range": -35},
    "whisper": {},
}
"""What a tone of voice adds to an assistant's pitch and liveliness; none changes the pace."""

_DIALECTS = {"": "en-us", "british": "en-gb-x-rp", "scottish": "en-gb-scotland"}


def in_accent(voice: Voice, language: str, dialect: str = "") -> Voice:
    """Let a voice of American English speak another language or dialect.

    Args:
        voice: Its name is an accent and a variant.
        language: ``en`` or ``zh``.
        dialect: ``british``, ``scottish`` or ``cantonese``; empty: American, or Mandarin.
    """
    if language == "zh":
        accent = "yue" if dialect == "cantonese" else "cmn"
    else:
        accent = _DIALECTS[dialect]
    variant = voice.name.partition("+")[2]
    rate = round(voice.rate * _PACES.get(accent, 1.0))
    return replace(voice, name=f"{accent}+{variant}", rate=rate)


def in_tone(voice: Voice, tone: str) -> Voice:
    """Let a voice speak in one of the ``TONES``, at the same pace."""
    if tone == "whisper":
        accent, _, variant = voice.name.partition("+")
        return replace(voice, name=f"{accent}+{'whisperf' if variant[0] == 'f' else 'whisper'}")
    changes = TONES[tone]
    return replace(
        voice,
        pitch=min(max(voice.pitch + changes["pitch"], 0), 99),
        pitch_range=min(max(voice.pitch_range + changes.get("pitch_range", 0), 0), 99),
    )


def made_up_voices(count: int) -> list[Voice]:
    """Return voices that differ in all that makes one: variant, pitch, liveliness, pace.

    Args:
        count: How many; the first are the same whatever the count.
    """
    names = training_voices()
    return [random_voice(random.Random(f"voice/{number}"), names) for number in range(count)]
