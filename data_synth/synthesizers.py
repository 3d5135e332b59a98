"""Who speaks a line: what is asked of any synthesizer, and espeak-ng in several processes."""

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data_synth.processes import new_pool
from data_synth.speak import Line
from data_synth.tts import SAMPLE_RATE, Espeak, speak_alone
from voiceglm.audio import resample
from voiceglm.errors import ConfigError, SynthesisError


@dataclass(frozen=True)
class Refusal:
    """Why a synthesizer does not speak a line; others it may."""

    reason: str


Said = np.ndarray | Refusal
"""(num_samples,) float32 in [-1, 1], or why there are none."""


class Synthesizer(Protocol):
    """Speaks many lines at once; what it says of one depends on no other."""

    def submit(self, line: Line) -> Future[Said]:
        """Begin to speak a line; the future raises a SynthesisError if nothing can be spoken."""
        ...

    def close(self) -> None:
        """Give up what is not spoken yet."""
        ...


class EspeakProcesses:
    """espeak-ng in processes of its own, which end with this one.

    Args:
        num_processes: How many.
        sample_rate: Of what is said, in hertz.
    """

    def __init__(self, num_processes: int, sample_rate: int):
        self._sample_rate = sample_rate
        self._pool = new_pool(num_processes)

    def submit(self, line: Line) -> Future[Said]:
        """Begin to speak a line."""
        return self._pool.submit(_say, line, self._sample_rate)

    def close(self) -> None:
        """Give up what is not spoken yet."""
        self._pool.shutdown(cancel_futures=True)


def check_voices(voices: Iterable[str]) -> None:
    """Refuse voices that espeak-ng has not, before anything is spoken.

    Raises:
        DependencyError: If espeak-ng is not installed.
        ConfigError: If it has no voice of a name.
    """
    engine = Espeak()
    try:
        for name in voices:
            if not engine.has_voice(name):
                raise ConfigError(f"espeak-ng has no voice {name!r}; en-us+f2, de or cmn are some")
    finally:
        engine.close()


def _say(line: Line, sample_rate: int) -> Said:
    try:
        samples = speak_alone(line.text, line.voice)
    except SynthesisError as error:
        return Refusal(str(error))
    return resample(samples, SAMPLE_RATE, sample_rate).numpy()
