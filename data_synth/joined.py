"""Recordings made of other recordings: digits said in a row, babble, the noises of a recipe."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from data_synth.speak import Line, write_packs
from data_synth.tts import Voice
from voiceglm.augmentation import find_sounds
from voiceglm.errors import AudioError
from voiceglm.manifest import Utterance, read_samples, write_manifest

RATE = 16_000  # hertz
LONGEST = 5  # digits in a row
BABBLE_CLIPS, BABBLE_SECONDS = 60, 10

_SILENCE = (0.05, 0.5)  # seconds, shortest and longest between two digits
_TALKERS = (4, 8)  # fewest and most at once
_QUIETER_DB = 6.0  # a talker than the loudest, at the most


def digit_sequences(
    folder: Path, clips: Sequence[Utterance], *, num_lines: int, seed: str, length: int = 0
) -> list[Utterance]:
    """Write sequences of digits, each of one speaker, into ``folder`` and return its manifest.

    Args:
        folder: Packs and ``manifest.jsonl`` are kept here; finished packs are not made again.
        clips: Single digits with text and speaker.
        num_lines: How many sequences.
        seed: Decides which they are.
        length: Digits of each; by default 1 to 5, each as often.

    Returns:
        Recordings at 16 kHz; the text is ``"four, seven, two"``, and ``answer`` says it as a
        sentence.

    Raises:
        AudioError: If a recording cannot be read.
        OutputError: If the folder cannot be written.
    """
    by_speaker: dict[str, list[Utterance]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.speaker, []).append(clip)
    speakers = sorted(by_speaker)

    def record(number: int, rng: random.Random) -> tuple[Line, Tensor]:
        del number
        who = rng.choice(speakers)
        count = length or rng.randint(1, LONGEST)
        said = [rng.choice(by_speaker[who]) for _ in range(count)]
        pieces = [read_samples(said[0], RATE)]
        for clip in said[1:]:
            silence = torch.zeros(int(rng.uniform(*_SILENCE) * RATE))
            pieces += [silence, read_samples(clip, RATE)]
        text = ", ".join(clip.text or "" for clip in said)
        extra = {"answer": f"{text.capitalize()}.", "skill": "digits"}
        return Line(text, Voice(who), extra), torch.cat(pieces)

    return write_packs(folder, record, num_lines=num_lines, sample_rate=RATE, seed=seed)


def babble(
    folder: Path, voices: Sequence[Utterance], *, num_clips: int = BABBLE_CLIPS, seed: str
) -> list[Utterance]:
    """Write recordings in which four to eight people talk at once, and return their manifest.

    Args:
        folder: Packs and ``manifest.jsonl`` are kept here; finished packs are not made again.
        voices: Whom to take; each talker says any of these, one after the other.
        num_clips: How many, of ten seconds each.
        seed: Decides who says what.

    Returns:
        Recordings at 16 kHz, without a text; the largest amplitude is one half.

    Raises:
        AudioError: If a recording cannot be read.
        OutputError: If the folder cannot be written.
    """

    def record(number: int, rng: random.Random) -> tuple[Line, Tensor]:
        del number
        return Line("", Voice("babble")), at_once(voices, rng)

    return write_packs(folder, record, num_lines=num_clips, sample_rate=RATE, seed=seed)


def at_once(voices: Sequence[Utterance], rng: random.Random) -> Tensor:
    """Let four to eight people talk at once for ten seconds: (num_samples,) at 16 kHz, peak 0.5.

    Args:
        voices: Whom to take; each talker says any of these, one after the other.
        rng: Of every draw.

    Raises:
        AudioError: If a recording cannot be read.
    """
    talkers = [_talk(voices, rng) for _ in range(rng.randint(*_TALKERS))]
    together = torch.stack(talkers).sum(0)
    return together / (2 * together.abs().max().clamp_min(1e-8))


def write_noises(folder: Path, voices: Sequence[Utterance], given: Path | None) -> Path:
    """Write babble and a manifest of it, half of it given recordings if there are any.

    Long recordings are listed as stretches of ten seconds, so that an hour of one sound and a
    second of another are not drawn equally often.

    Args:
        folder: Gets the babble, and ``noises.jsonl``.
        voices: Who babbles.
        given: A manifest or a folder of recorded noise.

    Returns:
        Where the manifest is.

    Raises:
        AudioError: If a recording cannot be read.
        ConfigError: If ``given`` holds none.
        OutputError: If the folder cannot be written.
    """
    noises = babble(folder / "babble", voices, seed="babble")
    stretches = [stretch for sound in find_sounds(given) for stretch in _stretches(sound)]
    if stretches:
        noises += stretches * max(1, round(len(noises) / len(stretches)))
    manifest = folder / "noises.jsonl"
    write_manifest(manifest, noises)
    return manifest


def _stretches(sound: Utterance) -> list[Utterance]:
    """Cut a recording into stretches of ten seconds; the last may be up to twice as long."""
    try:
        info = soundfile.info(sound.recording)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"cannot read {sound.path}: {error}") from None
    total = info.frames - sound.start if sound.num_samples is None else sound.num_samples
    length = BABBLE_SECONDS * info.samplerate
    starts = range(0, max(1, total - length + 1), length)
    ends = [*starts[1:], total]
    return [
        replace(sound, start=sound.start + start, num_samples=end - start)
        for start, end in zip(starts, ends, strict=True)
    ]


def _talk(voices: Sequence[Utterance], rng: random.Random) -> Tensor:
    """Fill the time with recordings of any of these voices, at one loudness: (num_samples,)."""
    length, pieces, filled = BABBLE_SECONDS * RATE, list[Tensor](), 0
    while filled < length:
        pieces.append(read_samples(rng.choice(voices), RATE))
        filled += len(pieces[-1])
    talk = torch.cat(pieces)[:length]
    loudness = 10 ** (-rng.uniform(0.0, _QUIETER_DB) / 20)
    return talk * (loudness / talk.square().mean().sqrt().clamp_min(1e-8))
