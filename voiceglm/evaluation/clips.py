"""The sets of recordings that are transcribed: the nano world, people, public corpora, manifests.

Public corpora are looked for by the names they are published under. What is absent is named.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from data_synth.intake import Intake
from data_synth.layouts import convert
from data_synth.people import people
from voiceglm.audio import check_samples
from voiceglm.error_rate import ErrorRate, character_errors, word_errors
from voiceglm.errors import DependencyError
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Skipped
from voiceglm.manifest import Utterance, read_manifest, read_samples
from voiceglm.scripts import nearest

NORMALIZATION = (
    "English is counted in words: lower case without accents and punctuation, for public corpora "
    "after Whisper's English normalizer (without its table of British spellings); Chinese in "
    "characters, without blanks and punctuation."
)


PEOPLE = "people never trained on"


def described(clip: Utterance) -> dict[str, Any]:
    """Begin the row of a clip with what is known of it."""
    return {
        "recording": clip.recording.name,
        "start": clip.start,
        "speaker": clip.speaker,
        "said": clip.text,
    }


def sound_of(clip: Utterance, sample_rate: int) -> Tensor:
    """Read a clip: (num_samples,) at ``sample_rate`` hertz.

    Raises:
        AudioError: If it cannot be read, or there is nothing in it to hear.
    """
    samples = read_samples(clip, sample_rate)
    check_samples(samples, sample_rate, what=clip.recording.name)
    return samples


@dataclass(frozen=True)
class ClipSet:
    """Recordings with transcripts that are measured together."""

    name: str
    clips: Sequence[Utterance]
    column: str = ""  # of the published table
    by_people: bool = True  # written down by people: numbers may be digits on one side only

    @property
    def language(self) -> str:
        """The one language of the set."""
        return self.clips[0].language if self.clips else "en"

    def errors(self, said: str, heard: str) -> ErrorRate:
        """Compare two transcripts in the unit of the language: words, or Chinese characters."""
        if self.language == "zh":
            return self.letters(said, heard)
        if self.by_people:
            said, heard = spoken_words(said), spoken_words(heard)
        return word_errors([{"said": said, "heard": heard}])

    def letters(self, said: str, heard: str) -> ErrorRate:
        """Compare two transcripts character by character."""
        return character_errors([{"said": said, "heard": heard}], language=nearest(self.language))

    @property
    def unit(self) -> str:
        """What is counted."""
        return "characters" if self.language == "zh" else "words"


def spoken_words(text: str) -> str:
    """Return English as Whisper's normalizer writes it: numbers as digits, contractions whole."""
    return EnglishTextNormalizer({})(text)


@dataclass(frozen=True)
class _Corpus:
    """A public test set and where it may lie under the data folder."""

    name: str
    folders: tuple[str, ...]
    layout: str
    keep: Callable[[Utterance], bool] = field(default=lambda clip: True)


CORPORA = (
    _Corpus("LibriSpeech test-clean", ("LibriSpeech/test-clean", "test-clean"), "librispeech"),
    _Corpus("LibriSpeech test-other", ("LibriSpeech/test-other", "test-other"), "librispeech"),
    _Corpus(
        "AISHELL-1 test",
        ("data_aishell", "aishell", "AISHELL-1"),
        "aishell",
        lambda clip: clip.extra.get("part") == "test",
    ),
)


def clip_sets(subject: Subject) -> tuple[list[ClipSet], list[Skipped]]:
    """Return every set that is there, a draw of each, and what is not.

    Raises:
        ConfigError: If a manifest cannot be read.
    """
    sets, skipped = [], []
    for language, name in nano_world.READINGS.items():
        try:
            clips = nano_world.readings(subject, language)
            sets.append(ClipSet(name, clips, by_people=False))
        except DependencyError as error:
            skipped.append(Skipped(name, str(error)))
    for corpus in CORPORA:
        found = find_folder(subject.settings.data, corpus.folders)
        if found is None:
            skipped.append(Skipped(corpus.name, absent(subject.settings.data, corpus.folders)))
            continue
        intake = Intake(found)
        usable = filter(corpus.keep, convert(found, intake, layout=corpus.layout))
        clips = subject.chosen(usable, subject.settings.num_readings)
        if clips:
            sets.append(ClipSet(corpus.name, clips, corpus.name))
        if not clips or intake.rejected:
            skipped.append(Skipped(corpus.name, _what_was_left(found, intake)))
    sets += _of_people(subject)
    if not subject.settings.recordings:
        skipped.append(Skipped(PEOPLE, "no --recordings were given"))
    for manifest in subject.settings.manifests:
        read = _by_language(subject, read_manifest(manifest), manifest.parent.name or manifest.stem)
        sets += read
        if not read:
            skipped.append(Skipped(str(manifest.name), "no recording in it has a transcript"))
    return sets, skipped


def find_folder(data: Path | None, names: Iterable[str]) -> Path | None:
    """Return the first of several folders that is there."""
    if data is None:
        return None
    return next((data / name for name in names if (data / name).is_dir()), None)


def absent(data: Path | None, names: Sequence[str]) -> str:
    """Say why a public set is not measured."""
    if data is None:
        return "no --data folder was given"
    return f"none of {', '.join(names)} under {data}"


def _of_people(subject: Subject) -> list[ClipSet]:
    return _by_language(subject, people(subject.settings.recordings, held_out=True), PEOPLE)


def _by_language(subject: Subject, clips: Iterable[Utterance], name: str) -> list[ClipSet]:
    """Return recordings that have a transcript as sets, one a language."""
    by_language: dict[str, list[Utterance]] = {}
    for clip in clips:
        if clip.path is not None and clip.text:
            by_language.setdefault(clip.language, []).append(clip)
    return [
        ClipSet(f"{name}, {language}", subject.chosen(found, subject.settings.num_readings))
        for language, found in sorted(by_language.items())
    ]


def _what_was_left(folder: Path, intake: Intake) -> str:
    reasons = ", ".join(f"{reason}: {count}" for reason, count in intake.rejected.items())
    return f"left out of {folder.name}: {reasons or 'it holds no recordings'}"
