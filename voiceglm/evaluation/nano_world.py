"""The nano world's test sets: held-out voices and wordings, of a recipe's run or spoken anew.

Every set is one of a language. A run keeps it in ``speech/test_NAME_LANGUAGE``; of what stands
alone, the sentences that occur anywhere in the run's training are left out.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from data_synth import corpus
from data_synth.speak import Line, write_pack
from data_synth.tts import SAMPLE_RATE, speak_alone
from data_synth.world import LANGUAGES, Language
from voiceglm.audio import resample
from voiceglm.evaluate import RATE
from voiceglm.evaluation.subject import Subject
from voiceglm.manifest import Utterance, read_manifest

READINGS: Mapping[Language, str] = {each: f"nano world, readings, {each}" for each in LANGUAGES}
QUESTIONS: Mapping[Language, str] = {each: f"nano world, questions, {each}" for each in LANGUAGES}
CONVERSATIONS: Mapping[Language, str] = {
    each: f"nano world, conversations, {each}" for each in LANGUAGES
}
TURNS = 4
"""Of each conversation."""


def readings(subject: Subject, language: Language = "en") -> list[Utterance]:
    """Return what users read aloud.

    Raises:
        ConfigError: If a manifest of the run is damaged.
        DependencyError: If nothing was spoken before and the synthesizer is not installed.
        OutputError: If recordings cannot be written.
    """
    count = subject.settings.num_readings
    return _set(subject, f"readings_{language}", count, corpus.reading, language)


def questions(subject: Subject, language: Language = "en") -> list[Utterance]:
    """Return what users ask, with ``answer``, ``skill`` and ``wording``.

    Raises:
        ConfigError: If a manifest of the run is damaged.
        DependencyError: If nothing was spoken before and the synthesizer is not installed.
        OutputError: If recordings cannot be written.
    """
    count = subject.settings.num_questions
    return _set(subject, f"questions_{language}", count, corpus.question, language)


def conversations(subject: Subject, language: Language) -> list[list[Utterance]]:
    """Return conversations, each the user's turns in order, about as many turns as questions.

    Raises:
        ConfigError: If a manifest of the run is damaged.
        DependencyError: If nothing was spoken before and the synthesizer is not installed.
        OutputError: If recordings cannot be written.
    """
    name, settings = f"conversations_{language}", subject.settings
    count = max(1, settings.num_questions // TURNS)
    manifest = _manifest(settings.run, name)
    if manifest.is_file():
        turns = read_manifest(manifest)
    else:
        rng = random.Random(f"{name}/{settings.seed}")
        talks = corpus.conversations(rng, "test", language, count, TURNS)
        turns = spoken(subject, name, [line for talk in talks for line in talk])
    found = [list(talk) for _, talk in groupby(turns, key=lambda turn: turn.dialogue)]
    return subject.chosen(found, count)


def held_out(run: Path, name: str) -> list[Utterance] | None:
    """Return the test recordings of a run whose sentence occurs nowhere in its training.

    Args:
        run: Folder of a recipe's run.
        name: Of the set, such as ``readings_en``.

    Returns:
        ``None`` if the run, or this set of it, is not there.

    Raises:
        ConfigError: If a manifest is damaged.
    """
    manifest = _manifest(run, name)
    if not manifest.is_file():
        return None
    trained = {
        utterance.text
        for part in sorted((run / "speech").glob("*/manifest.jsonl"))
        if not part.parent.name.startswith("test_")
        for utterance in read_manifest(part)
    }
    return [clip for clip in read_manifest(manifest) if clip.text not in trained]


def spoken(
    subject: Subject, name: str, lines: Sequence[Line], sample_rate: int = RATE
) -> list[Utterance]:
    """Have lines spoken by espeak-ng into the output folder, the same to the bit every time.

    Args:
        subject: Whose output folder it is.
        name: Of the recordings' file.
        lines: What is said.
        sample_rate: Of the recordings, in hertz.

    Raises:
        DependencyError: If the synthesizer is not installed.
        SynthesisError: If a line cannot be spoken.
        OutputError: If the recordings cannot be written.
    """
    folder = subject.settings.output / "speech"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / f"{name}.jsonl"
    said = [
        (line, resample(speak_alone(line.text, line.voice), SAMPLE_RATE, sample_rate))
        for line in lines
    ]
    write_pack(manifest, said, sample_rate)
    return read_manifest(manifest)


def voiced(subject: Subject, text: str, name: str, language: Language = "en") -> Line:
    """Return a line in a held-out voice that the seed and the line's name decide."""
    rng = random.Random(f"{subject.settings.seed}/{name}")
    return Line(text, corpus.user_voice(rng, "test", language), language=language)


Draw = Callable[[random.Random, corpus.Split, Language], Line]


def _set(
    subject: Subject, name: str, count: int, draw: Draw, language: Language
) -> list[Utterance]:
    """Return a set of the run, or one spoken anew of lines that are drawn."""
    found = held_out(subject.settings.run, name)
    if found is not None:
        return subject.chosen(found, count)
    rng = random.Random(f"{name}/{subject.settings.seed}")
    return spoken(subject, name, [draw(rng, "test", language) for _ in range(count)])


def _manifest(run: Path, name: str) -> Path:
    return run / "speech" / f"test_{name}" / "manifest.jsonl"
