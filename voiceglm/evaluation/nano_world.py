"""The nano world's test sets: held-out voices and wordings, of a recipe's run or spoken anew."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from data_synth import corpus
from data_synth.speak import Line, write_pack
from data_synth.tts import SAMPLE_RATE, speak_alone
from voiceglm.audio import resample
from voiceglm.evaluate import RATE
from voiceglm.evaluation.subject import Subject
from voiceglm.manifest import Utterance, read_manifest

READINGS = "nano world, held-out voices"
QUESTIONS = "nano world's questions, held-out wordings and voices"
_TRAINED = ("questions", "readings", "replies", "answers")


def readings(subject: Subject) -> list[Utterance]:
    """Return what users read aloud.

    Raises:
        ConfigError: If a manifest of the run is damaged.
        DependencyError: If nothing was spoken before and the synthesizer is not installed.
        OutputError: If recordings cannot be written.
    """
    return _set(subject, "readings", subject.settings.num_readings, corpus.reading)


def questions(subject: Subject) -> list[Utterance]:
    """Return what users ask, with ``answer``, ``skill`` and ``wording``.

    Raises:
        ConfigError: If a manifest of the run is damaged.
        DependencyError: If nothing was spoken before and the synthesizer is not installed.
        OutputError: If recordings cannot be written.
    """
    return _set(subject, "questions", subject.settings.num_questions, corpus.question)


def held_out(run: Path, name: str) -> list[Utterance] | None:
    """Return the test recordings of a run whose sentence occurs nowhere in its training.

    Returns:
        ``None`` if the run, or this set of it, is not there.

    Raises:
        ConfigError: If a manifest is damaged.
    """
    speech = run / "speech"
    manifest = speech / f"test_{name}" / "manifest.jsonl"
    if not manifest.is_file():
        return None
    trained = {
        utterance.text
        for part in _TRAINED
        if (speech / part / "manifest.jsonl").is_file()
        for utterance in read_manifest(speech / part / "manifest.jsonl")
    }
    return [clip for clip in read_manifest(manifest) if clip.text not in trained]


def spoken(subject: Subject, name: str, lines: Sequence[Line]) -> list[Utterance]:
    """Have lines spoken by espeak-ng into the output folder, the same to the bit every time.

    Raises:
        DependencyError: If the synthesizer is not installed.
        SynthesisError: If a line cannot be spoken.
        OutputError: If the recordings cannot be written.
    """
    folder = subject.settings.output / "speech"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / f"{name}.jsonl"
    said = [
        (line, resample(speak_alone(line.text, line.voice), SAMPLE_RATE, RATE)) for line in lines
    ]
    write_pack(manifest, said, RATE)
    return read_manifest(manifest)


def voiced(subject: Subject, text: str, name: str) -> Line:
    """Return a line in a held-out voice that the seed and the line's name decide."""
    rng = random.Random(f"{subject.settings.seed}/{name}")
    return Line(text, corpus.user_voice(rng, "test"))


def _set(
    subject: Subject, name: str, count: int, draw: Callable[[random.Random, corpus.Split], Line]
) -> list[Utterance]:
    """Return a set of the run, or one spoken anew of lines that are drawn."""
    found = held_out(subject.settings.run, name)
    if found is not None:
        return subject.chosen(found, count)
    rng = random.Random(f"{name}/{subject.settings.seed}")
    return spoken(subject, name, [draw(rng, "test") for _ in range(count)])
