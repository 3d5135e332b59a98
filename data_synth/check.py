"""Checks every utterance of a manifest: how it sounds, what it says, whether its codes fit.

An *error* is something training would fail on or learn wrongly from, a *warning* something a person
should have listened to. A bad line or file is a finding; it stops nothing.
"""

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_synth.measure import FaultError, Sound, measure
from data_synth.processes import processes
from data_synth.transcripts import count_letters, has_control_characters, is_damaged, markup
from voiceglm.errors import AudioError, ConfigError
from voiceglm.manifest import BadLine, Utterance, scan_manifest

ERRORS = (
    "not an utterance",
    "missing file",
    "unreadable file",
    "truncated file",
    "outside of the file",
    "invalid samples",
    "silent",
    "too short",
    "empty transcript",
    "control characters",
    "damaged characters",
    "wrong number of codes",
    "codes out of range",
    "same recording twice",
    "same turn twice",
)
WARNINGS = (
    "low sample rate",
    "long",
    "clipped",
    "quiet",
    "mostly silence",
    "silence at the start",
    "silence at the end",
    "markup",
    "few letters a second",
    "many letters a second",
    "same text twice",
)

_CHUNK = 32  # utterances a worker is given at once


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is right; everything else is a finding."""

    min_sample_rate: int = 16_000
    """Hertz; the tokenizer hears up to half of it."""
    min_seconds: float = 0.3
    max_seconds: float = 30.0
    max_clipped: float = 0.001
    """Share of the samples at full scale."""
    min_level_dbfs: float = -45.0
    """Of what is not silence."""
    silence_db: float = 40.0
    """A frame of 20 ms so much quieter than the loudest is silence."""
    max_silence: float = 0.6
    """Share of the frames."""
    max_edge_seconds: float = 1.0
    """Silence before the first word, and after the last."""
    min_letters_per_second: float = 3.0
    """Of what is not silence. A Chinese character counts as three letters."""
    max_letters_per_second: float = 25.0
    codes_per_second: float = 12.5
    max_code_error: float = 1.0
    """How many codes more or fewer than the length asks for."""
    codebook_size: int = 1_024
    """Of nano; 16384 of GLM-4-Voice."""


@dataclass(frozen=True)
class Finding:
    """Something about one utterance that is not right."""

    kind: str  # one of ERRORS or WARNINGS
    detail: str


@dataclass(frozen=True)
class Checked:
    """One line of the manifest and what was found."""

    line: int
    path: str = ""  # as the manifest says, from its folder
    speaker: str = ""
    language: str = ""
    role: str = ""
    sound: Sound | None = None  # None: not measured
    letters: int | None = None  # None: no transcript
    num_codes: int | None = None  # None: no codes
    findings: tuple[Finding, ...] = ()


def check_manifest(path: Path, limits: Limits, *, workers: int = 1) -> list[Checked]:
    """Check every line; the result does not depend on the number of workers.

    Args:
        path: The manifest.
        limits: What is right.
        workers: Processes that measure; one works in this process.

    Raises:
        ConfigError: If the manifest cannot be read or is empty.
        AudioError: If a worker dies, for want of memory for example.
    """
    rows = list(scan_manifest(path))
    if not rows:
        raise ConfigError(f"{path} is empty, expected one JSON object per line")
    twice = _repetitions(rows)
    starts = range(0, len(rows), _CHUNK)
    chunks = [_Chunk(path.parent, limits, rows[n : n + _CHUNK]) for n in starts]
    checked: list[Checked] = []
    with tqdm(total=len(rows), desc="check", unit="line", disable=None) as bar:
        for part in _work(chunks, workers):
            checked += [replace(c, findings=(*c.findings, *twice.get(c.line, ()))) for c in part]
            bar.update(len(part))
    return checked


def count_kinds(checked: Iterable[Checked]) -> Counter[str]:
    """Return how many findings there are of each kind."""
    return Counter(finding.kind for one in checked for finding in one.findings)


@dataclass(frozen=True)
class _Chunk:
    """What a worker is given."""

    folder: Path  # of the manifest
    limits: Limits
    rows: Sequence[tuple[int, Utterance | BadLine]]


def _work(chunks: Sequence[_Chunk], workers: int) -> Iterator[list[Checked]]:
    """Give the results of the chunks in their order."""
    if workers == 1:
        yield from map(_check_chunk, chunks)
        return
    with processes(min(workers, len(chunks))) as pool:
        try:
            yield from pool.map(_check_chunk, chunks)
        except BrokenExecutor:
            raise AudioError(
                "a worker died, perhaps for want of memory; use fewer workers"
            ) from None


def _check_chunk(chunk: _Chunk) -> list[Checked]:
    return [_check(number, row, chunk) for number, row in chunk.rows]


def _check(number: int, row: Utterance | BadLine, chunk: _Chunk) -> Checked:
    if isinstance(row, BadLine):
        return Checked(number, findings=(Finding("not an utterance", row.reason),))
    found: list[Finding] = []
    name = os.path.relpath(row.path, chunk.folder) if row.path else ""
    sound = None
    if row.path is not None:
        try:
            sound = measure(row, chunk.limits.silence_db)
            found += _judge_sound(sound, chunk.limits)
        except FaultError as error:
            detail = str(error).replace(str(row.path), name)  # the folder is the same in all
            found.append(Finding(error.kind, detail))
    found += _judge_text(row.text, sound, chunk.limits)
    codes = row.extra.get("codes")
    found += _judge_codes(codes, sound, chunk.limits)
    return Checked(
        line=number,
        path=name,
        speaker=row.speaker,
        language=row.language,
        role=row.role,
        sound=sound,
        letters=None if row.text is None else count_letters(row.text),
        num_codes=len(codes) if isinstance(codes, list) else None,
        findings=tuple(found),
    )


def _judge_sound(sound: Sound, limits: Limits) -> Iterator[Finding]:
    seconds = f"{sound.seconds:.2f} s"
    if sound.num_invalid:
        yield Finding("invalid samples", f"{sound.num_invalid} are NaN or infinite")
    if sound.peak_dbfs < -80.0:  # what voiceglm.audio calls silent
        yield Finding("silent", f"peak of {sound.peak_dbfs:.0f} dBFS")
        return
    if sound.seconds < limits.min_seconds:
        yield Finding("too short", seconds)
    if sound.sample_rate < limits.min_sample_rate:
        yield Finding("low sample rate", f"{sound.sample_rate:,} Hz")
    if sound.seconds > limits.max_seconds:
        yield Finding("long", seconds)
    if sound.clipped > limits.max_clipped:
        yield Finding("clipped", f"{sound.clipped:.2%} of the samples")
    if sound.level_dbfs < limits.min_level_dbfs:
        yield Finding("quiet", f"{sound.level_dbfs:.0f} dBFS")
    if sound.silence > limits.max_silence:
        yield Finding("mostly silence", f"{sound.silence:.0%}")
    if sound.leading_silence > limits.max_edge_seconds:
        yield Finding("silence at the start", f"{sound.leading_silence:.1f} s")
    if sound.trailing_silence > limits.max_edge_seconds:
        yield Finding("silence at the end", f"{sound.trailing_silence:.1f} s")


def _judge_text(text: str | None, sound: Sound | None, limits: Limits) -> Iterator[Finding]:
    if text is None:
        return
    letters = count_letters(text)
    if not letters:
        yield Finding("empty transcript", repr(text[:40]))
        return
    if has_control_characters(text):
        yield Finding("control characters", ascii(text[:40]))
    if is_damaged(text):
        yield Finding("damaged characters", ascii(text[:40]))
    if found := markup(text):
        yield Finding("markup", found[:40])
    if sound is None or not sound.speech_seconds:
        return
    rate = letters / sound.speech_seconds
    if rate < limits.min_letters_per_second:
        yield Finding("few letters a second", f"{rate:.1f}")
    if rate > limits.max_letters_per_second:
        yield Finding("many letters a second", f"{rate:.1f}")


def _judge_codes(codes: Any, sound: Sound | None, limits: Limits) -> Iterator[Finding]:
    if codes is None:
        return
    if not isinstance(codes, list) or any(type(code) is not int for code in codes):
        yield Finding("codes out of range", "no list of whole numbers")
        return
    wrong = next((code for code in codes if not 0 <= code < limits.codebook_size), None)
    if wrong is not None:
        yield Finding("codes out of range", f"{wrong}, expected 0 to {limits.codebook_size - 1}")
    if sound is None:
        return
    expected = sound.seconds * limits.codes_per_second
    if abs(len(codes) - expected) > limits.max_code_error:
        yield Finding("wrong number of codes", f"{len(codes)} for {sound.seconds:.2f} s")


def _repetitions(rows: Iterable[tuple[int, Utterance | BadLine]]) -> dict[int, list[Finding]]:
    """Find lines that say again what an earlier one said; the first of them is no finding."""
    found: dict[int, list[Finding]] = {}
    first: dict[Hashable, int] = {}
    for number, row in rows:
        if isinstance(row, BadLine):
            continue
        for kind, key in _identities(row):
            if (earlier := first.setdefault((kind, key), number)) != number:
                found.setdefault(number, []).append(Finding(kind, f"as line {earlier}"))
    return found


def _identities(row: Utterance) -> Iterator[tuple[str, Hashable]]:
    if row.path is not None:
        name = os.path.normpath(row.path)
        yield "same recording twice", (name, row.start, row.num_samples, row.channel)
        if row.text:
            yield "same text twice", " ".join(row.text.casefold().split())
    if row.dialogue and row.turn is not None:
        yield "same turn twice", (row.dialogue, row.turn)
