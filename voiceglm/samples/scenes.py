"""What is asked in the samples: drawn by a seed from what training never had, picked by nobody.

Questions, orders and conversations come from the test sets of a recipe's run; wishes for a style
are spoken anew, in held-out voices and wordings.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from data_synth import corpus
from data_synth.people import people
from data_synth.tts import SAMPLE_RATE, Voice, speak_alone
from data_synth.world import (
    LANGUAGES,
    Language,
    of_side,
    sample_exchange,
    wishes,
    world,
)
from decoder.voice import DEFAULT
from voiceglm.audio import resample
from voiceglm.error_rate import plain
from voiceglm.errors import ConfigError
from voiceglm.evaluate import RATE
from voiceglm.manifest import Utterance, read_manifest, read_samples
from voiceglm.scripts import nearest
from voiceglm.style import Style

CREDITS = {
    "common_voice_excerpt": "Mozilla Common Voice, CC0",
    "ljspeech_excerpt": "LJ Speech, public domain",
    "pocketsphinx_librivox": "LibriVox, public domain",
    "librispeech_misc": "LibriSpeech, CC BY 4.0",
    "librispeech_test_other_excerpt": "LibriSpeech, CC BY 4.0",
    "vctk_excerpt": "CSTR VCTK, CC BY 4.0",
}
"""Sets of people's recordings that may be published again, and whom they are owed to."""

_SKILLS = 5  # questions of as many skills, in each language
_PEOPLE = 2
_PERSON_SECONDS = (2.0, 6.0)
_NAMES = {"en": "English", "zh": "Chinese"}
_WISHES: dict[Language, dict[str, str]] = {
    "en": {
        "fast_2": "faster",
        "whisper": "a whisper",
        "high": "a higher voice",
        "british": "British English",
    },
    "zh": {"slow_2": "slower", "cheerful": "cheerfully", "cantonese": "Cantonese"},
}


@dataclass(frozen=True)
class Said:
    """What a user says, and the one right reply."""

    text: str
    samples: Tensor  # (num_samples,) at RATE
    answer: str
    language: str = "en"
    skill: str = ""
    speaker: str = ""  # the voice of espeak-ng, or a person
    style: tuple[str, ...] = ()  # of the reply


@dataclass(frozen=True)
class Scene:
    """One conversation.

    Attributes:
        name: Of its files.
        title: What it is an example of.
        turns: What the user says, in order.
        voice: Who answers.
        is_reading: Nothing is asked: what is read aloud is written down and said again.
        credit: Whom the recording is owed to, where it is a person's.
    """

    name: str
    title: str
    turns: Sequence[Said]
    voice: str = DEFAULT
    is_reading: bool = False
    credit: str = ""


def draw_scenes(
    run: Path, *, seed: int, voices: Sequence[str] = (), recordings: Sequence[Path] = ()
) -> list[Scene]:
    """Draw every scene, the same for the same seed.

    Args:
        run: Folder of a recipe's run, whose test sets are read.
        seed: Of every draw.
        voices: Assistants to be heard beside the one that speaks by itself.
        recordings: Manifests of people; those that may be published again are used.

    Raises:
        ConfigError: If a manifest is missing or damaged, or holds no conversation to show.
        DependencyError: If the synthesizer is not installed.
    """
    scenes: list[Scene] = []
    for language in LANGUAGES:
        scenes += _questions(run, seed, language, voices)
        scenes.append(_conversation(run, seed, language))
        scenes += [_wish(seed, language, name) for name in _WISHES[language]]
    scenes.append(_order(run, seed))
    return [*scenes, *_readings(recordings, seed)]


def test_set(run: Path, name: str) -> list[Utterance]:
    """Return a test set of a run.

    Raises:
        ConfigError: If it is missing or damaged.
    """
    manifest = run / "speech" / f"test_{name}" / "manifest.jsonl"
    if not manifest.is_file():
        raise ConfigError(
            f"{run} has no test set {name}: expected {manifest}; see voiceglm recipe nano --only"
            " speech"
        )
    return read_manifest(manifest)


def _questions(run: Path, seed: int, language: Language, voices: Sequence[str]) -> list[Scene]:
    """Draw a question of each of some skills; the last are answered in other voices."""
    clips = test_set(run, f"questions_{language}")
    random.Random(f"{seed}/questions/{language}").shuffle(clips)
    by_skill = {clip.extra["skill"]: clip for clip in reversed(clips)}
    skills = list(dict.fromkeys(clip.extra["skill"] for clip in clips))
    speakers = [*[DEFAULT] * _SKILLS, *voices]
    scenes = []
    for number, (skill, voice) in enumerate(zip(skills, speakers, strict=False), start=1):
        title = f"{_NAMES[language]}: {skill.replace('_', ' ')}"
        if voice != DEFAULT:
            title += f", answered by {voice}"
        scenes.append(Scene(f"{language}_{number}", title, [_said(by_skill[skill])], voice))
    return scenes


def _conversation(run: Path, seed: int, language: Language) -> Scene:
    """Draw a conversation in which what was told is asked for, and a question is followed up.

    Raises:
        ConfigError: If the run has no such conversation.
    """
    talks: dict[str, list[Utterance]] = {}
    for clip in test_set(run, f"conversations_{language}"):
        talks.setdefault(clip.dialogue, []).append(clip)
    drawn = list(talks.values())
    random.Random(f"{seed}/conversations/{language}").shuffle(drawn)
    found = next((talk for talk in drawn if _has_memory(talk) and _has_follow_up(talk)), None)
    if found is None:
        raise ConfigError(f"no test conversation of {run} has both memory and a follow-up")
    title = f"{_NAMES[language]}: a conversation with memory and a follow-up"
    return Scene(f"{language}_conversation", title, [_said(clip) for clip in found])


def _has_memory(talk: Sequence[Utterance]) -> bool:
    """Say whether something is asked for that was told before."""
    told: set[str] = set()
    for clip in talk:
        for known in world(nearest(clip.language)).memory.values():
            told |= {
                known["answer"].format(value=value)
                for value in known["values"]
                if known["told"].format(value=value) == clip.extra["answer"]
            }
        if clip.extra["skill"] == "memory" and clip.extra["answer"] in told:
            return True
    return False


def _has_follow_up(talk: Sequence[Utterance]) -> bool:
    for clip in talk:
        follow_ups = world(nearest(clip.language)).follow_ups
        skill = follow_ups.get(clip.extra["skill"])
        if skill is not None and clip.extra["wording"] in skill.wordings():
            return True
    return False


def _wish(seed: int, language: Language, name: str) -> Scene:
    """Draw a wish for a style, and a question whose answer is to be in it."""
    rng = random.Random(f"{seed}/wish/{language}/{name}")
    voice = corpus.user_voice(rng, "test", language)
    wish, names = wishes()[name][language], Style().changed(name).names()
    asked = sample_exchange(rng, "test", language=language)
    wording = rng.choice(of_side(wish["wordings"], "test"))
    turns = [
        _spoken(wording, wish["confirmation"], language, voice, "style", names),
        _spoken(asked.question, asked.answer, language, voice, asked.skill, names),
    ]
    title = f"{_NAMES[language]}: {_WISHES[language][name]}, on request"
    return Scene(f"{language}_{name}", title, turns)


def _order(run: Path, seed: int) -> Scene:
    clip = random.Random(f"{seed}/order").choice(test_set(run, "orders"))
    return Scene("en_order", "English: a coffee is ordered", [_said(clip)])


def _readings(recordings: Sequence[Path], seed: int) -> list[Scene]:
    """Draw held-out people whose recordings may be published again, each another person.

    Several people read the same sentences: those that were heard in training are left out.
    """
    low, high = _PERSON_SECONDS
    trained = {plain(clip.text or "") for clip in people(recordings, held_out=False)}
    clips = [
        clip
        for clip in people(recordings, held_out=True)
        if clip.extra.get("set") in CREDITS
        and low <= clip.extra.get("seconds", 0.0) <= high
        and plain(clip.text or "") not in trained
    ]
    random.Random(f"{seed}/people").shuffle(clips)
    by_speaker = {clip.speaker: clip for clip in reversed(clips)}
    drawn = [by_speaker[name] for name in dict.fromkeys(clip.speaker for clip in clips)]
    return [
        Scene(
            f"person_{number}",
            f"{_NAMES[nearest(clip.language)]}: a person reads, the assistant says it again",
            [_said(clip)],
            is_reading=True,
            credit=CREDITS[clip.extra["set"]],
        )
        for number, clip in enumerate(drawn[:_PEOPLE], start=1)
    ]


def _said(clip: Utterance) -> Said:
    text, extra = clip.text or "", clip.extra
    return Said(
        text,
        read_samples(clip, RATE),
        extra.get("answer", text),
        clip.language,
        extra.get("skill", ""),
        clip.speaker,
        tuple(extra.get("style", ())),
    )


def _spoken(
    text: str,
    answer: str,
    language: Language,
    voice: Voice,
    skill: str,
    style: tuple[str, ...] = (),
) -> Said:
    samples = resample(speak_alone(text, voice), SAMPLE_RATE, RATE)
    return Said(text, samples, answer, language, skill, voice.name, style)
