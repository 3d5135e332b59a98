"""Text to recordings, in packs that a killed run resumes without losing or repeating a line.

A pack is one WAV file of many utterances and a manifest of them. The manifest is written last, so a
pack exists when it is complete. What a pack says depends only on the seed and its own number.
"""

import io
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor
from tqdm import tqdm

from data_synth.tts import SAMPLE_RATE, Espeak, Voice
from voiceglm.audio import resample
from voiceglm.files import write_file
from voiceglm.manifest import Utterance, read_manifest, write_manifest

LINES_PER_PACK = 500


@dataclass(frozen=True)
class Line:
    """Something to be said."""

    text: str
    voice: Voice
    extra: dict[str, Any] = field(default_factory=dict)  # kept in the manifest
    language: str = "en"
    speaker: str = ""  # what the manifest calls who speaks; by default the voice's name


Make = Callable[[int, random.Random], Line]
"""Gives line number n, drawn from a generator that is seeded for each pack."""

Record = Callable[[int, random.Random], tuple[Line, Tensor]]
"""The same with its samples, (num_samples,) in [-1, 1]."""


def speak(
    folder: Path,
    make: Make,
    *,
    num_lines: int,
    sample_rate: int,
    seed: str,
) -> list[Utterance]:
    """Speak ``num_lines`` lines into ``folder`` and return its manifest.

    Args:
        folder: Packs and ``manifest.jsonl`` are kept here; finished packs are not made again.
        make: Gives each line.
        num_lines: How many lines.
        sample_rate: Of the recordings, in hertz.
        seed: Names the run; with a pack's number it decides everything the pack says.

    Raises:
        SynthesisError: If the synthesizer fails.
        OutputError: If the folder cannot be written.
    """
    engine = cache(Espeak)  # none is started where every pack is there

    def say(number: int, rng: random.Random) -> tuple[Line, Tensor]:
        line = make(number, rng)
        samples = engine().speak(line.text, line.voice)
        return line, resample(samples, SAMPLE_RATE, sample_rate)

    return write_packs(folder, say, num_lines=num_lines, sample_rate=sample_rate, seed=seed)


def speak_lines(folder: Path, lines: Sequence[Line], sample_rate: int) -> list[Utterance]:
    """Speak given lines into ``folder`` and return its manifest.

    Args:
        folder: Packs and ``manifest.jsonl`` are kept here; finished packs are not made again.
        lines: What is said.
        sample_rate: Of the recordings, in hertz.

    Raises:
        SynthesisError: If the synthesizer fails.
        OutputError: If the folder cannot be written.
    """
    make: Make = lambda number, _: lines[number]  # noqa: E731  a name for its type
    return speak(folder, make, num_lines=len(lines), sample_rate=sample_rate, seed=folder.name)


def write_packs(
    folder: Path,
    record: Record,
    *,
    num_lines: int,
    sample_rate: int,
    seed: str,
) -> list[Utterance]:
    """Write ``num_lines`` recordings into ``folder`` and return its manifest.

    Args:
        folder: Packs and ``manifest.jsonl`` are kept here; finished packs are not made again.
        record: Gives each line as it sounds.
        num_lines: How many lines.
        sample_rate: Of the recordings, in hertz.
        seed: Names the run; with a pack's number it decides everything the pack says.

    Raises:
        OutputError: If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packs = range(-(-num_lines // LINES_PER_PACK))
    for number in tqdm(packs, desc=f"speak {folder.name}", unit="pack"):
        manifest = pack_manifest(folder, number)
        if manifest.exists():
            continue
        rng = random.Random(f"{seed}/{number}")
        first = number * LINES_PER_PACK
        count = min(LINES_PER_PACK, num_lines - first)
        write_pack(manifest, [record(first + n, rng) for n in range(count)], sample_rate)
    return join_packs(folder, packs)


def pack_manifest(folder: Path, number: int) -> Path:
    """Return where the manifest of a pack is kept; the pack is complete once it is there."""
    return folder / f"pack_{number:04d}.jsonl"


def write_pack(manifest: Path, spoken: Sequence[tuple[Line, Tensor]], sample_rate: int) -> None:
    """Write recordings as one WAV file, then its manifest.

    Args:
        manifest: The pack's; the WAV file lies beside it. There is none if nothing was spoken.
        spoken: Each line with its samples, (num_samples,) in [-1, 1].
        sample_rate: In hertz.

    Raises:
        OutputError: If a file cannot be written.
    """
    wav = manifest.with_suffix(".wav")
    utterances, start = [], 0
    for line, samples in spoken:
        utterances.append(
            Utterance(
                path=wav,
                text=line.text,
                start=start,
                num_samples=len(samples),
                speaker=line.speaker or line.voice.name,
                language=line.language,
                extra=line.extra,
            )
        )
        start += len(samples)
    if spoken:
        data = io.BytesIO()
        samples = torch.cat([samples for _, samples in spoken]).numpy()
        soundfile.write(data, samples, sample_rate, format="WAV", subtype="PCM_16")
        write_file(wav, data.getvalue())
    write_manifest(manifest, utterances)


def join_packs(folder: Path, packs: Iterable[int]) -> list[Utterance]:
    """Write ``manifest.jsonl`` of all packs, in order, and return it.

    Raises:
        OutputError: If it cannot be written.
    """
    parts = (read_manifest(pack_manifest(folder, number)) for number in packs)
    utterances = [utterance for part in parts for utterance in part]
    write_manifest(folder / "manifest.jsonl", utterances)
    return utterances
