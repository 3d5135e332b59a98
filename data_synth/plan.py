"""The plan of a synthesis: which rows of which files become which shard, frozen in a file.

A plan is made once. Whoever works on it later compares: settings, models or sources that are not
what they were are refused by name, because half of a corpus would be another corpus.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from data_synth.batch_lm import Choice
from data_synth.claims import differences
from data_synth.filters import FilterConfig
from data_synth.recorded import companions, count_recorded, find_recorded
from data_synth.sources import (
    BadRow,
    Columns,
    check_columns,
    count_rows,
    find_files,
    read_rows,
)
from data_synth.spans import SpanConfig
from voiceglm.config import build
from voiceglm.errors import ConfigError, OutputError, SourceError
from voiceglm.files import checksums, write_file

PLAN = "plan.json"
VOCABULARY = "vocabulary"  # beside the models, in what a plan says of them
_PIECE, _PIECES = 1 << 20, 256  # bytes of a source that are compared, and how many such pieces


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """What a corpus is made of.

    Attributes:
        kind: ``interleaved`` from documents; from manifests of recordings ``speech`` alone, ``asr``
            (hear, then write) or ``tts`` (read, then say). Text alone is ``interleaved`` with
            ``spans.share`` 0.
        model: Name or folder of a whole model: its text tokenizer and vocabulary number the ids,
            its ``text_to_token`` speaks.
        text_to_token: Folder of another model that speaks; None for the model's own.
        engine: ``local`` or ``vllm``.
        columns: What the fields of a row are called.
        languages: Documents of other languages are left out.
        spans: What of a text is spoken.
        choice: How speech is drawn.
        filters: What is not good enough.
        documents_per_shard: Rows of one shard; it is done in one go, and again after a kill.
        max_units: Words, or Chinese characters, of one row of the corpus; longer documents are cut.
        max_seconds: Of a recording: ``speech`` is cut into such pieces, longer pairs are left out.
        deduplicate: Leave out documents whose text came before. All texts are read for that.
        training_view: Also write datatrove's ``.ds`` beside each shard.
        seed: Of every draw but the spans', which have their own.
    """

    kind: Literal["interleaved", "speech", "asr", "tts"] = "interleaved"
    model: str = "nano"
    text_to_token: str | None = None
    engine: str = "local"
    columns: Columns = field(default_factory=Columns)
    languages: tuple[str, ...] = ("en", "zh")
    spans: SpanConfig = field(default_factory=SpanConfig)
    choice: Choice = field(default_factory=Choice)
    filters: FilterConfig = field(default_factory=FilterConfig)
    documents_per_shard: int = 500
    max_units: int = 2_000
    max_seconds: float = 60.0
    deduplicate: bool = True
    training_view: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.documents_per_shard < 1 or self.max_units < 1 or self.max_seconds < 1:
            raise ConfigError("documents_per_shard, max_units, max_seconds must be at least 1")
        if self.engine not in ("local", "vllm"):
            raise ConfigError(f"engine must be local or vllm, got {self.engine!r}")


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when the plan was made."""

    path: str
    size: int  # bytes
    digest: str  # of its content; of pieces of a large file
    num_rows: int


@dataclass(frozen=True)
class Shard:
    """A range of rows, done in one go."""

    source: int  # number of the file
    start: int
    stop: int
    place: int | None = None  # byte at which it begins
    duplicates: tuple[int, ...] = ()  # rows whose text came before


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a corpus will be.

    Attributes:
        config: The settings.
        models: SHA-256 of the files of the models, and of the vocabulary.
        sources: The files.
        shards: What is to be done.
        unreadable: Files that could not be read, with the reason.
    """

    config: SynthesisConfig
    models: dict[str, str]
    sources: tuple[SourceFile, ...]
    shards: tuple[Shard, ...]
    unreadable: dict[str, str]

    @cached_property
    def digest(self) -> str:
        """The name of the plan: a hash of all of it but for the folders of its files."""
        values = asdict(self)
        for source in values["sources"]:
            source["path"] = Path(source["path"]).name
        values["config"]["model"] = values["config"]["text_to_token"] = None  # hashes name them
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> bytes:
        """Return the content of its file."""
        return f"{json.dumps(asdict(self), ensure_ascii=False, indent=1)}\n".encode()


def make_plan(paths: Sequence[Path], config: SynthesisConfig, models: Mapping[str, str]) -> Plan:
    """Look at every file and cut its rows into shards.

    Raises:
        SourceError: If no file can be read.
    """
    sources: list[SourceFile] = []
    shards: list[Shard] = []
    unreadable: dict[str, str] = {}
    seen: set[bytes] = set()
    size = config.documents_per_shard
    is_written = config.kind == "interleaved"
    find, count = (find_files, count_rows) if is_written else (find_recorded, count_recorded)
    for path in find(list(paths)):
        try:
            if is_written:
                check_columns(path, config.columns)
            num_rows, places = count(path, size)
            again = _duplicates(path, num_rows, config, seen)
        except SourceError as error:
            unreadable[str(path)] = str(error)
            continue
        for number, start in enumerate(range(0, num_rows, size)):
            stop = min(start + size, num_rows)
            place = places[number] if places else None
            shards.append(Shard(len(sources), start, stop, place, tuple(again[number])))
        sources.append(SourceFile(str(path.resolve()), *fingerprint(path), num_rows))
    if not shards:
        reasons = "; ".join(unreadable.values()) or "the files are empty"
        raise SourceError(f"there is nothing to do: {reasons}")
    return Plan(config, dict(models), tuple(sources), tuple(shards), unreadable)


def write_plan(plan: Plan, folder: Path) -> bool:
    """Freeze a plan; the same one may be there already.

    Returns:
        Whether it is new.

    Raises:
        ConfigError: If another plan is there; what differs is named.
        OutputError: If the folder holds something else or cannot be written.
    """
    if (folder / PLAN).exists():
        check_same(read_plan(folder), plan)
        return False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists already and holds no plan; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}") from None
    write_file(folder / PLAN, plan.to_json())
    return True


def read_plan(folder: Path) -> Plan:
    """Read a frozen plan.

    Raises:
        ConfigError: If there is none, or it is damaged.
    """
    path = folder / PLAN
    try:
        values = json.loads(path.read_bytes())
        return build(Plan, values, where="plan.")
    except FileNotFoundError:
        raise ConfigError(
            f"{folder} has no {PLAN}; make one with: voiceglm synth plan TEXTS -o {folder}"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no plan: {error}") from None


def check_same(old: Plan, new: Plan) -> None:
    """Refuse a plan that is not the frozen one.

    Raises:
        ConfigError: If anything differs; what does is named.
    """
    differences = [
        *_changes(asdict(old.config), asdict(new.config)),
        *_changes(old.models, new.models, "models."),
        *_source_differences(old.sources, new.sources),
    ]
    if not differences and old != new:
        differences = ["how rows are cut into shards"]
    if differences:
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise ConfigError(
            f"the folder holds another plan: {'; '.join(differences[:5])}{more}; "
            "name another folder, or go on with what was planned"
        )


def check_source(source: SourceFile) -> None:
    """Refuse to go on with a file that is not what it was.

    Raises:
        SourceError: If it is missing or has changed.
    """
    path = Path(source.path)
    if not path.is_file():
        raise SourceError(f"{path} is gone; the plan needs it")
    if fingerprint(path) != (source.size, source.digest):
        raise SourceError(
            f"{path} has changed since the plan was made ({source.size} bytes then, "
            f"{path.stat().st_size} now); bring it back or make a new plan"
        )


def folder_digest(folder: Path) -> str:
    """Return a SHA-256 of the files of a model."""
    return hashlib.sha256(json.dumps(checksums(folder), sort_keys=True).encode()).hexdigest()


def _duplicates(
    path: Path, num_rows: int, config: SynthesisConfig, seen: set[bytes]
) -> Mapping[int, list[int]]:
    """Return the rows whose text was seen before, here or in an earlier file, by shard of it."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    if not config.deduplicate or config.kind != "interleaved":
        return found
    for row in read_rows(path, 0, num_rows, config.columns):
        if isinstance(row, BadRow):
            continue
        digest = hashlib.blake2b(row.text.strip().encode(), digest_size=10).digest()
        if digest in seen:
            found[row.row // config.documents_per_shard].append(row.row)
        seen.add(digest)
    return found


def fingerprint(path: Path) -> tuple[int, str]:
    """Return the size of a source and a hash, of all of it or of pieces from end to end."""
    size, digest = 0, hashlib.sha256()
    for part in (path, *companions(path)):
        size += part.stat().st_size
        for piece in _pieces(part):
            digest.update(piece)
    return size, digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    step = max(_PIECE, size // _PIECES)
    with path.open("rb") as file:
        for place in (*range(0, size, step), max(0, size - _PIECE)):
            file.seek(place)
            yield file.read(_PIECE)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> Iterable[str]:
    for name, before, now in differences(old, new, where):
        yield f"{name} was {before}, is {now}"


def _source_differences(old: Sequence[SourceFile], new: Sequence[SourceFile]) -> Iterable[str]:
    before, now = ({one.path: one for one in sources} for sources in (old, new))
    for path in {**before, **now}:
        if path not in now:
            yield f"{path} is gone"
        elif path not in before:
            yield f"{path} is new"
        elif before[path] != now[path]:
            yield f"{path} has changed"
