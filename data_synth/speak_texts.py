"""Any text to packs of recordings: a run that can be killed and goes on, with any synthesizer.

Beside the packs lie ``settings.json``, against which a later run is checked, and for each pack with
lines that were left out a list of them. The same lines and settings give the same files, whatever
was spoken in parallel and however often the run was killed.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Future
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from data_synth import speak
from data_synth.claims import claimed
from data_synth.speak import Line, join_packs, pack_manifest, write_pack
from data_synth.synthesizers import Refusal, Said, Synthesizer
from data_synth.texts import SHOWN, LeftOut, SpeechConfig, fingerprint, prepare, read_texts
from voiceglm.audio import check_samples
from voiceglm.errors import AudioError, SynthesisError
from voiceglm.files import write_json_lines
from voiceglm.manifest import Utterance

AHEAD = 256
"""Lines that may be spoken before an earlier one is."""


@dataclass(frozen=True)
class Spoken:
    """What a run has made."""

    utterances: list[Utterance]
    left_out: list[dict[str, Any]]  # line, reason and beginning of the text


def speak_texts(
    texts: Path,
    folder: Path,
    config: SpeechConfig,
    begin: Callable[[], Synthesizer],
    *,
    about: Mapping[str, Any],
) -> Spoken:
    """Speak every line of a file into ``folder``; what an earlier run has made is kept.

    Args:
        texts: The file; see :mod:`data_synth.texts`.
        folder: Packs, ``manifest.jsonl`` and ``left_out.jsonl`` are kept here.
        config: How lines are spoken.
        begin: Gives the synthesizer; called only if there is something to speak.
        about: What else the recordings depend on, such as the synthesizer's name.

    Raises:
        ConfigError: If the file cannot be read or holds no text, or the folder is in use.
        SynthesisError: If the synthesizer fails, or nothing could be spoken at all.
        OutputError: If the folder is another run's or cannot be written.
    """
    digest, num_lines = fingerprint(texts)
    settings = {
        "texts": digest,
        "voices": list(config.voices),
        "language": config.language,
        "sample_rate": config.sample_rate,
        "seed": config.seed,
        "normalize": config.normalize,
        "lines_per_pack": speak.LINES_PER_PACK,
        **about,
    }
    with claimed(folder, settings):
        size = speak.LINES_PER_PACK
        packs = range(-(-num_lines // size))
        missing = {number for number in packs if not pack_manifest(folder, number).exists()}
        if missing:
            count = sum(min(size, num_lines - number * size) for number in missing)
            with tqdm(desc=f"speak {folder.name}", unit="line", total=count) as progress:
                jobs = _jobs(texts, config, missing)
                _speak_packs(folder, jobs, config.sample_rate, begin, progress.update)
        spoken = Spoken(join_packs(folder, packs), _join_left_out(folder, packs))
    if not spoken.utterances:
        raise SynthesisError(
            f"nothing was spoken: all {num_lines} lines were left out, the first because of:"
            f" {spoken.left_out[0]['reason']}; see {folder / 'left_out.jsonl'}"
        )
    return spoken


@dataclass(frozen=True)
class _Job:
    """A line on its way."""

    pack: int
    number: int  # of the line in its file, from 1
    item: Line | LeftOut


def _jobs(texts: Path, config: SpeechConfig, packs: set[int]) -> Iterator[_Job]:
    for n, written in enumerate(read_texts(texts)):
        pack = n // speak.LINES_PER_PACK
        if pack in packs:
            yield _Job(pack, written.number, prepare(written, config))


def _speak_packs(
    folder: Path,
    jobs: Iterable[_Job],
    sample_rate: int,
    begin: Callable[[], Synthesizer],
    progress: Callable[[int], object],
) -> None:
    with closing(begin()) as synthesizer:
        for pack, found in groupby(_in_order(synthesizer, jobs), key=lambda each: each[0].pack):
            results = [_result(job, said, sample_rate) for job, said in found]
            left_out = [result.row() for result in results if isinstance(result, LeftOut)]
            spoken = [result for result in results if not isinstance(result, LeftOut)]
            manifest = pack_manifest(folder, pack)
            if left_out:
                write_json_lines(_left_out_path(manifest), left_out)
            write_pack(manifest, spoken, sample_rate)
            progress(len(results))


def _in_order(
    synthesizer: Synthesizer, jobs: Iterable[_Job]
) -> Iterator[tuple[_Job, Future[Said] | None]]:
    """Speak many lines at once and give them in the order they came."""
    waiting: deque[tuple[_Job, Future[Said] | None]] = deque()
    for job in jobs:
        waiting.append((job, synthesizer.submit(job.item) if isinstance(job.item, Line) else None))
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def _result(
    job: _Job, future: Future[Said] | None, sample_rate: int
) -> tuple[Line, Tensor] | LeftOut:
    """Wait for a line to be spoken."""
    if isinstance(job.item, LeftOut):
        return job.item
    assert future, "every line is submitted"
    try:
        said = future.result()
        if isinstance(said, Refusal):
            return LeftOut(job.number, said.reason, job.item.text[:SHOWN])
        samples = torch.from_numpy(said)
        check_samples(samples, sample_rate, what="what was spoken")
    except AudioError as error:
        return LeftOut(job.number, str(error), job.item.text[:SHOWN])
    except BrokenExecutor:
        raise SynthesisError(
            f"the synthesizer died at line {job.number} or one near it; finished packs are kept"
        ) from None
    return job.item, samples


def _left_out_path(manifest: Path) -> Path:
    return manifest.with_suffix(".left_out.jsonl")


def _join_left_out(folder: Path, packs: Iterable[int]) -> list[dict[str, Any]]:
    paths = (_left_out_path(pack_manifest(folder, number)) for number in packs)
    there = b"".join(path.read_bytes() for path in paths if path.exists())
    left_out = [json.loads(line) for line in there.split(b"\n") if line]
    write_json_lines(folder / "left_out.jsonl", left_out)
    return left_out
