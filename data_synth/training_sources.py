"""What the language model trains on, opened: corpora of ids, rows to be written as ids, texts.

A path is recognized by what is there:

    a folder with plan.json            a corpus of ``voiceglm synth run``
    .parquet with a column ``ids``     the same rows, in single files
    .jsonl whose rows have a ``kind``  rows of ``voiceglm.train``
    .parquet, .jsonl[.gz, .zst]        documents with a column ``text``

or a folder of such files. Corpora are mapped into memory as they are. Everything else is written as
token files once, in a folder of the run, under a name that follows from its content and from what
the ids mean, so that a run that goes on does not read it again.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow
from pyarrow import parquet

from data_synth.plan import PLAN, VOCABULARY, Plan, fingerprint, folder_digest, read_plan
from data_synth.shards import CORPUS, TRAINING, finished, shard_name
from data_synth.sources import BATCH, BadRow, Columns, count_rows, find_files, read_rows
from voiceglm.checkpoint import resolve
from voiceglm.documents import NAME, Documents, TokenFiles, write_token_files
from voiceglm.errors import CheckpointError, SourceError
from voiceglm.language_model import VoiceLM, read_language_model
from voiceglm.prompt import IGNORED, Example
from voiceglm.ranks import is_first, wait
from voiceglm.train import read_examples

_IDS, _TEXT, _KIND = "ids", "text", "kind"


@dataclass(frozen=True)
class Opener:
    """Opens sources for one model.

    Attributes:
        model: That is to be trained.
        tokenizer: Folder of the speech tokenizer it goes with; ``None`` where that is not known.
        cache: Folder for what has to be written as ids.
        row_length: Ids of a row; longer texts are cut into several documents.
    """

    model: VoiceLM
    tokenizer: Path | None
    cache: Path
    row_length: int

    def open(self, path: Path) -> Documents:
        """Return the documents of a source.

        Raises:
            SourceError: If it is missing, damaged or empty, or its ids mean something else.
            ConfigError: If a row cannot be used, naming its line.
        """
        if (path / PLAN).is_file():
            return self._corpus(path)
        files = find_files([path])
        return self._converted(path.name, files)

    def _corpus(self, path: Path) -> Documents:
        plan = read_plan(path)
        self._check(path, self._meaning(plan), plan.models.get("tokenizer"))
        done = finished(path, len(plan.shards))
        if not done:
            raise SourceError(f"{path} has no finished shard; make it with: voiceglm synth run")
        if len(done) < len(plan.shards):
            sys.stderr.write(f"{path}: {len(done)} of {len(plan.shards)} shards are finished\n")
        views = [path / TRAINING / f"{shard_name(number)}.ds" for number in done]
        if all(view.is_file() for view in views):
            return self._mapped(path.name, views, plan.config.kind)
        files = [path / CORPUS / f"{shard_name(number)}.parquet" for number in done]
        return self._converted(path.name, files, plan.config.kind)

    def _mapped(self, name: str, files: list[Path], kind: str) -> Documents:
        writer = self.model.writer
        return TokenFiles(name, files, self.model.vocabulary.size, partial(writer.num_given, kind))

    def _meaning(self, plan: Plan) -> str | None:
        """Return the digest of what the ids of a corpus mean; older plans name the model only."""
        if VOCABULARY in plan.models:
            return plan.models[VOCABULARY]
        try:
            _, text_tokenizer, vocabulary, _ = read_language_model(plan.config.model)
        except CheckpointError:
            return None
        return vocabulary.digest(text_tokenizer)

    def _check(self, path: Path, meaning: str | None, tokenizer: str | None) -> None:
        """Refuse ids that mean something else."""
        model = self.model
        if meaning != model.vocabulary.digest(model.text_tokenizer):
            raise SourceError(
                f"{path} was made for another vocabulary than the model's of "
                f"{model.vocabulary.text_size} text ids and {model.vocabulary.num_codes} codes; "
                "make it with: voiceglm synth plan --set model=MODEL"
            )
        if self.tokenizer and tokenizer not in (None, folder_digest(self.tokenizer)):
            raise SourceError(
                f"{path} was made with another speech tokenizer than {self.tokenizer}: its codes "
                "mean something else"
            )

    def _converted(self, name: str, files: list[Path], kind: str | None = None) -> Documents:
        """Write the documents of some files as ids, unless they are there."""
        meaning = self.model.vocabulary.digest(self.model.text_tokenizer)
        prints = [fingerprint(file) for file in files]
        wire = [self.model.writer.opening("speech"), self.model.writer.opening("text")]
        key = json.dumps([meaning, prints, wire, self.row_length, kind]).encode()
        folder = self.cache / f"{name}-{hashlib.sha256(key).hexdigest()[:16]}"
        if is_first() and not folder.is_dir():
            sys.stderr.write(f"{name}: being written as ids\n")
            write_token_files(folder, chain.from_iterable(self._read(each, kind) for each in files))
        wait()  # the other processes of a training read what the first has written
        return self._mapped(name, [folder / NAME], "whole")

    def _read(self, path: Path, kind: str | None) -> Iterator[Example]:
        if path.suffix == ".parquet" and _IDS in _columns(path):
            metadata = parquet.read_schema(path).metadata or {}
            known = {name.decode(): value.decode() for name, value in metadata.items()}
            self._check(path, known.get(VOCABULARY), known.get("tokenizer"))
            return self._rows_of_ids(path, kind or known.get(_KIND, "interleaved"))
        if path.suffix == ".jsonl" and _has_kinds(path):
            return read_examples(path, self.model.writer)
        return self._texts(path)

    def _rows_of_ids(self, path: Path, kind: str) -> Iterator[Example]:
        for ids in _ids_of(path):
            given = self.model.writer.num_given(kind, ids)
            yield Example(ids, [*[IGNORED] * given, *ids[given:]])

    def _texts(self, path: Path) -> Iterator[Example]:
        """Write documents as ids; what cannot be used is counted on stderr."""
        left_out: Counter[str] = Counter()
        num_rows, _ = count_rows(path, 1 << 40)
        for row in read_rows(path, 0, num_rows, Columns()):
            if isinstance(row, BadRow) or not row.text.strip():
                left_out[row.reason if isinstance(row, BadRow) else "empty"] += 1
                continue
            yield from self._cut(self.model.writer.example({"kind": "text", "text": row.text}))
        for reason, count in sorted(left_out.items()):
            sys.stderr.write(f"{path}: {count:,} rows left out: {reason}\n")

    def _cut(self, example: Example) -> Iterator[Example]:
        """Cut a document into rows, each with the opening; only the last has the end."""
        given = self.model.writer.num_given("text", example.ids)
        opening, room = example.ids[:given], self.row_length - given
        for start in range(given, len(example), room):
            piece = example.ids[start : start + room]
            yield Example([*opening, *piece], [*[IGNORED] * given, *piece])


def tokenizer_of(name_or_folder: str) -> Path | None:
    """Return the folder of the speech tokenizer of a whole model; ``None`` if it has none."""
    folder = resolve(name_or_folder) / "tokenizer"
    return folder if folder.is_dir() else None


def _columns(path: Path) -> list[str]:
    try:
        return parquet.read_schema(path).names
    except (OSError, pyarrow.ArrowException) as error:
        raise SourceError(f"cannot read {path}: {error}") from None


def _ids_of(path: Path) -> Iterator[list[int]]:
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH, columns=[_IDS]):
                yield from batch.column(0).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise SourceError(f"cannot read {path}: {error}") from None


def _has_kinds(path: Path) -> bool:
    """Say whether the first row of a file says what kind it is."""
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    try:
        row = json.loads(first)
    except ValueError:
        return True  # the reader of rows names the line
    return isinstance(row, dict) and _KIND in row
