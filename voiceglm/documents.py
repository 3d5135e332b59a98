"""Documents of ids to train on, each read when its turn comes: from a list, or from mapped files.

Token files hold any number of documents end to end, in the layout of datatrove's ``.ds``:

    documents.ds           uint32, the ids
    documents.ds.index     uint64, where each document ends
    documents.ds.learned   uint8, 1 for each id that is learned; may be missing

Where the last is missing a rule tells from the ids what is learned. Nothing is read ahead: of a
corpus of billions only the index is looked at when it is opened.
"""

import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voiceglm.errors import ConfigError, SourceError
from voiceglm.files import new_folder
from voiceglm.prompt import IGNORED, Example

NAME = "documents.ds"
INDEX, LEARNED = ".index", ".learned"
Lengths = NDArray[np.int32]


class Documents(Protocol):
    """A numbered set of documents."""

    @property
    def name(self) -> str:
        """What to call it in a message."""
        ...

    @property
    def lengths(self) -> Lengths:
        """Ids of each document."""
        ...

    def __getitem__(self, number: int) -> Example:
        """Return one document."""
        ...


class ListedDocuments:
    """Documents in memory.

    Args:
        name: What to call them.
        examples: The documents.
    """

    def __init__(self, name: str, examples: Iterable[Example]):
        self.name = name
        self._examples = list(examples)
        self.lengths = np.array([len(example) for example in self._examples], np.int32)

    def __getitem__(self, number: int) -> Example:
        """Return one document."""
        return self._examples[number]


class SelectedDocuments:
    """Some of a set of documents.

    Args:
        documents: The set.
        numbers: Which of them.
    """

    def __init__(self, documents: Documents, numbers: NDArray[np.int64]):
        self.name = documents.name
        self.lengths = documents.lengths[numbers]
        self._documents = documents
        self._numbers = numbers

    def __getitem__(self, number: int) -> Example:
        """Return one document."""
        return self._documents[int(self._numbers[number])]


class TokenFiles:
    """Documents in memory-mapped token files.

    Args:
        name: What to call them.
        files: Their ``.ds`` files, in order.
        vocabulary_size: Ids must be below.
        num_given: How many ids at the beginning of a document are not learned; used where a file
            does not say for each.

    Raises:
        SourceError: If a file is missing, or its index is that of another.
    """

    def __init__(
        self,
        name: str,
        files: Sequence[Path],
        vocabulary_size: int,
        num_given: Callable[[Sequence[int]], int],
    ):
        self.name = name
        self._files = [_TokenFile(path) for path in files]
        self._size = vocabulary_size
        self._num_given = num_given
        counts = [len(file.ends) for file in self._files]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).tolist()
        self.lengths = np.concatenate(
            [np.diff(file.ends, prepend=np.uint64(0)).astype(np.int32) for file in self._files]
            or [np.zeros(0, np.int32)]
        )

    def __getitem__(self, number: int) -> Example:
        """Return one document.

        Raises:
            SourceError: If an id is outside of the vocabulary.
        """
        place = bisect_right(self._starts, number) - 1
        ids, learned = self._files[place].read(number - self._starts[place])
        if len(ids) and not 0 <= ids.min() <= ids.max() < self._size:
            raise SourceError(
                f"{self._files[place].path}: document {number - self._starts[place]} has id "
                f"{ids.max()}, outside of the model's vocabulary of {self._size}"
            )
        if learned is None:
            learned = np.arange(len(ids)) >= self._num_given(ids.tolist())
        return Example(_compact(ids), _compact(np.where(learned, ids, IGNORED)))


class _TokenFile:
    """One ``.ds`` with what lies beside it."""

    def __init__(self, path: Path):
        self.path = path
        self._ids = _mapped(path, np.dtype("<u4"))
        self.ends = _mapped(_beside(path, INDEX), np.dtype("<u8"))
        learned = _beside(path, LEARNED)
        self._learned = _mapped(learned, np.dtype("u1")) if learned.is_file() else None
        held = int(self.ends[-1]) if len(self.ends) else 0
        if held != len(self._ids) or (self._learned is not None and held != len(self._learned)):
            raise SourceError(
                f"{path} holds {len(self._ids)} ids, its index is of {held}: one of them is "
                "damaged; make the corpus again"
            )

    def read(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
        """Return the ids of a document, and which of them are learned."""
        start = int(self.ends[number - 1]) if number else 0
        where = slice(start, int(self.ends[number]))
        learned = None if self._learned is None else self._learned[where].astype(np.bool_)
        return self._ids[where].astype(np.int64), learned


def write_token_files(folder: Path, examples: Iterable[Example]) -> int:
    """Write documents to a new folder of token files; return how many.

    Raises:
        ConfigError: If there is none.
        OutputError: If the folder is taken or cannot be written.
    """
    count, end = 0, 0
    with new_folder(folder) as draft:
        path = draft / NAME
        parts = (path, _beside(path, INDEX), _beside(path, LEARNED))
        with parts[0].open("wb") as ids, parts[1].open("wb") as ends, parts[2].open("wb") as marks:
            for example in examples:
                count, end = count + 1, end + len(example)
                ids.write(np.asarray(example.ids, "<u4").tobytes())
                ends.write(np.array(end, "<u8").tobytes())
                marks.write((np.asarray(example.labels) != IGNORED).tobytes())
        if not count:
            raise ConfigError(f"{folder.name} would hold nothing: there are no documents")
    return count


def fitting(documents: Documents, longest: int, *, leave_out: bool, remedy: str) -> Documents:
    """Return the documents of at most ``longest`` ids.

    Args:
        documents: Of any length.
        longest: Ids.
        leave_out: Whether longer ones are left out, and counted on stderr, or refused.
        remedy: What to do about those that are refused.

    Raises:
        ConfigError: If there are none, or none fits, or a longer one is refused.
    """
    lengths = documents.lengths
    if not len(lengths):
        raise ConfigError(f"{documents.name}: no documents, there is nothing to train on")
    most = int(lengths.max())
    if most <= longest and int(lengths.min()) > 0:
        return documents
    if most > longest and not leave_out:
        raise ConfigError(
            f"{documents.name}: document {int(lengths.argmax())} has {most} ids, more than "
            f"{longest}; {remedy}"
        )
    fits = np.flatnonzero((lengths <= longest) & (lengths > 0))
    if not len(fits):
        raise ConfigError(f"{documents.name}: none of {len(lengths)} documents fits in {longest}")
    sys.stderr.write(
        f"{documents.name}: {len(lengths) - len(fits):,} of {len(lengths):,} documents are empty "
        f"or longer than {longest} ids and left out\n"
    )
    return SelectedDocuments(documents, fits)


def _compact(values: NDArray[np.int64]) -> array:
    return array("i", values.astype("i").tobytes())


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _mapped(path: Path, kind: np.dtype) -> NDArray:
    """Map a file into memory."""
    try:
        if path.stat().st_size == 0:  # nothing can be mapped
            return np.zeros(0, kind)
        return np.memmap(path, kind, mode="r")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"cannot read {path}: {reason}") from None
