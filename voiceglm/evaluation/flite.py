"""Held-out sentences spoken by flite, a synthesizer of another kind than that of the training."""

import shutil
import subprocess

from voiceglm.errors import DependencyError, SynthesisError
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.subject import Subject
from voiceglm.manifest import Utterance

NAME = "readings by flite, en"
VOICES = ("slt", "awb", "rms", "kal")
"""Joined from or learned from recordings of people; they take the sentences by turns."""


def flite_readings(subject: Subject) -> list[Utterance]:
    """Have the nano world's English readings spoken by flite.

    Raises:
        DependencyError: If there is no program ``flite``, or the readings cannot be had.
        OutputError: If the readings cannot be written.
        SynthesisError: If flite fails.
    """
    program = shutil.which("flite")
    if program is None:
        raise DependencyError("the program flite is not installed (apt install flite)")
    folder = subject.settings.output / "speech" / "flite"
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for number, reading in enumerate(nano_world.readings(subject)):
        voice, path = VOICES[number % len(VOICES)], folder / f"{number:04d}.wav"
        words = [program, "-voice", voice, "-t", reading.text or "", "-o", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode or not path.is_file():
            raise SynthesisError(f"flite did not speak as {voice}: {done.stderr.strip()[:200]}")
        clips.append(Utterance(path, reading.text, speaker=f"flite/{voice}"))
    return clips
