"""Spoken dialogues for fine-tuning from written ones: a run that can be killed and goes on.

    pack_0000.wav, .jsonl   recordings of some dialogues; their turns, with codes
    pack_0000.left_out      those of them that could not be spoken
    manifest.jsonl          the turns of every pack
    rows.jsonl              what voiceglm.train reads
    left_out.jsonl          every dialogue that is not in the rows, with the reason

The same dialogues and settings give the same files, whatever the number of processes and however
often the run was killed.
"""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_synth.claims import claimed
from data_synth.dialogue_packs import Pack, left_out_of, make_pack, unmet_of, write_left_out
from data_synth.dialogue_voices import EndpointConfig
from data_synth.plan import folder_digest
from data_synth.speak import join_packs, pack_manifest
from data_synth.speech_endpoint import address
from data_synth.spoken_rows import RowWriter, Views
from data_synth.tts import SAMPLE_RATE
from data_synth.written_dialogues import LeftOut, WrittenDialogue, read_dialogues
from voiceglm.checkpoint import resolve
from voiceglm.errors import ConfigError, DependencyError, SynthesisError

DIALOGUES_PER_PACK = 50
_AHEAD = 64  # packs that may wait for a process


@dataclass(frozen=True, kw_only=True)
class SpokenConfig:
    """What spoken dialogues are made of.

    Attributes:
        model: Name or folder of a whole model: its tokenizer gives the codes, its language model
            numbers the ids of the texts.
        views: Which training rows are made of a dialogue.
        seed: With a dialogue's id it decides the user's voice.
        dialogues_per_pack: Spoken in one go, and again after a kill.
        endpoint: A speech server that speaks; None for espeak-ng.
    """

    model: str = "nano"
    views: Views = "both"
    seed: int = 0
    dialogues_per_pack: int = DIALOGUES_PER_PACK
    endpoint: EndpointConfig | None = None


@dataclass
class Report:
    """What a run has made, of all its packs.

    Attributes:
        dialogues: That are in the rows.
        turns: That are spoken.
        seconds: Of speech.
        left_out: Dialogues that are not in the rows, by reason.
        unmet: Replies, by what was asked of them and could not be done.
    """

    dialogues: int = 0
    turns: int = 0
    seconds: float = 0.0
    left_out: Counter[str] = field(default_factory=Counter)
    unmet: Counter[str] = field(default_factory=Counter)


def speak_dialogues(
    written: Path, folder: Path, config: SpokenConfig, executor: Executor
) -> Report:
    """Speak written dialogues into ``folder``; what an earlier run has made is kept.

    Args:
        written: JSON lines, see :mod:`data_synth.written_dialogues`.
        folder: Of the results.
        config: How they are made.
        executor: Makes packs; :func:`data_synth.processes.processes` gives one.

    Raises:
        CheckpointError: If a part of the model is missing.
        ConfigError: If the file cannot be read or holds no dialogue, or the folder is in use.
        EngineError: If the speech server is dead; finished packs stay.
        SynthesisError: If a process dies, or no dialogue could be used.
        OutputError: If the folder is another run's or cannot be written.
    """
    settings = _settings(written, config)
    rows = RowWriter(resolve(config.model, "language_model"))
    with claimed(folder, settings):
        return _speak(written, folder, config, executor, rows)


def _speak(
    written: Path, folder: Path, config: SpokenConfig, executor: Executor, rows: RowWriter
) -> Report:
    reading = _Reading(written)
    packs = range(_make(reading, folder, config, executor))
    utterances = join_packs(folder, packs)
    unlearnable = rows.write(folder / "rows.jsonl", utterances, config.views)
    left_out = [
        *reading.left_out,
        *(one for number in packs for one in _read_left_out(folder, number)),
        *(LeftOut(reading.lines[name], why, name) for name, why in unlearnable.items()),
    ]
    left_out.sort(key=lambda one: one.line)
    write_left_out(folder / "left_out.jsonl", left_out)
    spoken = [one for one in utterances if one.path]
    report = Report(
        dialogues=len({one.dialogue for one in utterances}) - len(unlearnable),
        turns=len(spoken),
        seconds=sum(one.num_samples or 0 for one in spoken) / SAMPLE_RATE,
        left_out=Counter(one.reason for one in left_out),
        unmet=unmet_of(utterances),
    )
    if not report.dialogues:
        raise SynthesisError(
            f"none of {len(left_out)} dialogues can be used, the first because: "
            f"{left_out[0].reason}; see {folder / 'left_out.jsonl'}"
        )
    return report


class _Reading:
    """Reads written dialogues, and remembers where each was and what was left out."""

    def __init__(self, path: Path):
        self._path = path
        self.lines: dict[str, int] = {}
        self.left_out: list[LeftOut] = []

    def __iter__(self) -> Iterator[WrittenDialogue]:
        for found in read_dialogues(self._path):
            if isinstance(found, LeftOut):
                self.left_out.append(found)
            else:
                self.lines[found.id] = found.line
                yield found


def _make(reading: _Reading, folder: Path, config: SpokenConfig, executor: Executor) -> int:
    """Have every pack made; return how many there are."""
    count = 0
    waiting: deque[Future[int]] = deque()
    with tqdm(desc="speak", unit="dialogue", disable=None) as bar:
        for dialogues in _batched(reading, config.dialogues_per_pack):
            pack = Pack(folder, count, dialogues, config.model, config.seed, config.endpoint)
            waiting.append(_submit(executor, pack))
            count += 1
            if len(waiting) > _AHEAD:
                bar.update(_result(waiting.popleft()))
        while waiting:
            bar.update(_result(waiting.popleft()))
    if not reading.lines and not reading.left_out:
        raise ConfigError("the file holds no dialogue")
    return count


def _submit(executor: Executor, pack: Pack) -> Future[int]:
    try:
        return executor.submit(make_pack, pack)
    except BrokenExecutor:
        raise SynthesisError(_DIED) from None


def _result(future: Future[int]) -> int:
    try:
        return future.result()
    except BrokenExecutor:
        raise SynthesisError(_DIED) from None


_DIED = "a process that spoke was killed; what is finished stays: run again to go on"


def _batched(
    dialogues: Iterable[WrittenDialogue], size: int
) -> Iterator[tuple[WrittenDialogue, ...]]:
    waiting = iter(dialogues)
    while batch := tuple(islice(waiting, size)):
        yield batch


def _read_left_out(folder: Path, number: int) -> list[LeftOut]:
    lines = left_out_of(pack_manifest(folder, number)).read_bytes().split(b"\n")
    return [LeftOut(**json.loads(line)) for line in lines if line]


def _settings(written: Path, config: SpokenConfig) -> dict[str, Any]:
    """Return everything the results depend on.

    Raises:
        ConfigError: If the file cannot be read.
    """
    try:
        with written.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {written}: {error.strerror}") from None
    folders = {part: resolve(config.model, part) for part in ("tokenizer", "language_model")}
    models = {part: folder_digest(folder)[:16] for part, folder in folders.items()}
    return {
        "texts": digest,
        **models,
        "views": config.views,
        "seed": config.seed,
        "dialogues_per_pack": config.dialogues_per_pack,
        **_engine(config.endpoint),
    }


def _engine(endpoint: EndpointConfig | None) -> dict[str, Any]:
    if endpoint:
        return {"engine": address(endpoint.url), **endpoint.settings()}
    try:
        return {"engine": f"espeakng-loader {version('espeakng-loader')}"}
    except PackageNotFoundError:
        raise DependencyError(
            "speech synthesis needs espeak-ng; install it with: pip install voiceglm[synth]"
        ) from None
