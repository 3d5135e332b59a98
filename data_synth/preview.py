"""Rows of a corpus drawn at random, with the text of what is spoken in them.

A row holds ids only: its written text is read off them, that of its spoken spans is not in it. That
is found in the source, by the code that cut it in the first place, and believed only if everything
written around it is what the row says.
"""

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from tokenizers import Tokenizer

from data_synth.plan import Plan
from data_synth.shards import CorpusRow, finished, read_mark, read_shard, shard_name
from data_synth.spans import Segment
from data_synth.synthesis import Part, read_parts, words
from voiceglm.errors import CheckpointError, SourceError
from voiceglm.language_model import read_language_model
from voiceglm.text_tokenizer import TextStream
from voiceglm.vocabulary import Vocabulary

GONE = "source not at hand"
CHANGED = "source has changed"


@dataclass(frozen=True)
class Span:
    """A spoken stretch of a row.

    Attributes:
        number: Among all that were drawn, from 0.
        codes: Its speech.
        text: As the document has it; None if it could not be found.
        said: The same as words; None if it could not be found.
        missing: Why it could not be found.
    """

    number: int
    codes: list[int]
    text: str | None = None
    said: str | None = None
    missing: str | None = None


@dataclass(frozen=True)
class Sample:
    """A row of the corpus.

    Attributes:
        id: Of the document.
        part: Number of the part, from 0.
        language: Two letters.
        speech_share: Of its ids, 0 to 1.
        pieces: Written texts and spoken spans in turn; a text may be empty.
    """

    id: str
    part: int
    language: str
    speech_share: float
    pieces: list[str | Span]

    @property
    def spans(self) -> list[Span]:
        """What is spoken."""
        return [piece for piece in self.pieces if isinstance(piece, Span)]


class Previewer:
    """Reads rows of a corpus as a person would.

    Args:
        vocabulary: Of the model the corpus was made for.
        text_tokenizer: That model's.
    """

    def __init__(self, vocabulary: Vocabulary, text_tokenizer: Tokenizer):
        self._vocabulary = vocabulary
        self._text_tokenizer = text_tokenizer

    @classmethod
    def from_plan(cls, plan: Plan) -> "Previewer":
        """Load what a plan's model needs for it; no weights.

        Raises:
            CheckpointError: If the model is missing.
        """
        _, text_tokenizer, vocabulary, _ = read_language_model(plan.config.model)
        return cls(vocabulary, text_tokenizer)

    def samples(self, folder: Path, plan: Plan, count: int, seed: int) -> list[Sample]:
        """Draw rows from what is finished; shards of which none is drawn are not opened.

        Args:
            folder: Of the synthesis.
            plan: Its plan.
            count: The most rows.
            seed: Another seed, other rows.

        Raises:
            SourceError: If nothing is finished, or a shard is damaged.
            CheckpointError: If the model is not the one the corpus was made for.
        """
        found: list[Sample] = []
        num_spans = 0
        for number, places in draw(folder, plan, count, seed).items():
            rows = _rows(folder, number, places)
            sources = _Sources.read(plan, number, rows)
            for row in rows:
                found.append(self._sample(row, sources, num_spans))
                num_spans += len(row.spans)
        return found

    def _sample(self, row: CorpusRow, sources: "_Sources", first: int) -> Sample:
        written = self._written(row)
        told = sources.find(row, written)
        pieces: list[str | Span] = [written[0]]
        for place, (start, end) in enumerate(row.spans):
            codes = [self._vocabulary.code(id_) for id_ in row.ids[start:end]]
            span = Span(first + place, codes, missing=sources.why_not)
            if told:
                span = Span(first + place, codes, told[place], words(told[place], row.language))
            pieces += [span, written[place + 1]]
        share = row.num_speech / len(row.ids)
        return Sample(row.id, row.part, row.language, share, pieces)

    def _written(self, row: CorpusRow) -> list[str]:
        """Return the texts around the spans, one more than there are spans; any may be empty."""
        vocabulary = self._vocabulary
        if not 0 <= min(row.ids) <= max(row.ids) < vocabulary.size or not all(
            vocabulary.is_speech(id_) for start, end in row.spans for id_ in row.ids[start:end]
        ):
            raise CheckpointError(
                f"the ids of {row.id!r} are not of this model's vocabulary; the corpus was made "
                "for another"
            )
        borders = [0, *(place for span in row.spans for place in span), len(row.ids)]
        stretches = zip(borders[::2], borders[1::2], strict=True)
        return [self._text(row.ids[start:end]) for start, end in stretches]

    def _text(self, ids: Sequence[int]) -> str:
        stream = TextStream(self._text_tokenizer)
        texts = [id_ for id_ in ids if id_ < self._vocabulary.text_size]
        return stream.push(texts) + stream.finish()


def draw(folder: Path, plan: Plan, count: int, seed: int) -> dict[int, list[int]]:
    """Draw rows, any as likely as any other, by what the marks of finished shards say.

    Returns:
        Row numbers by shard, both in order.

    Raises:
        SourceError: If there is no row.
    """
    numbers = finished(folder, len(plan.shards))
    ends = list(accumulate(read_mark(folder, number)["counts"]["rows"] for number in numbers))
    total = ends[-1] if ends else 0
    if not total:
        raise SourceError(
            f"no finished shard of {folder} has a row; go on with: voiceglm synth run {folder}"
        )
    found: dict[int, list[int]] = {}
    for row in sorted(random.Random(seed).sample(range(total), min(count, total))):
        shard = bisect_right(ends, row)
        begins = ends[shard - 1] if shard else 0
        found.setdefault(numbers[shard], []).append(row - begins)
    return found


def spoken_texts(written: Sequence[str], segments: Sequence[Segment]) -> list[str] | None:
    """Find what is spoken between written texts, where some of the spans stayed text.

    Args:
        written: What stands around the spans that are spoken, one more than they are.
        segments: The document, every span that was to be spoken marked.

    Returns:
        The text of each; None if these are not the written texts of this document.
    """
    spoken: dict[int, str] = {}
    document = ""
    for segment in segments:
        if segment.is_spoken:
            spoken[len(document)] = segment.text
        document += segment.text
    place = 0
    found: list[str] = []
    for text in written[:-1]:
        behind = place + len(text)
        if not document.startswith(text, place) or behind not in spoken:
            return None
        found.append(spoken[behind])
        place = behind + len(found[-1])
    return found if document[place:] == written[-1] else None


@dataclass(frozen=True)
class _Sources:
    """The parts of documents that rows of one shard may have come from."""

    why_not: str
    parts: dict[tuple[str, int], list[Part]] = field(default_factory=dict)

    @classmethod
    def read(cls, plan: Plan, number: int, rows: Sequence[CorpusRow]) -> "_Sources":
        wanted = {(row.id, row.part) for row in rows}
        found: dict[tuple[str, int], list[Part]] = {}
        try:
            for key, part in _keyed(plan, number):
                if key in wanted:
                    found.setdefault(key, []).append(part)
        except SourceError:
            return cls(GONE)
        return cls(CHANGED, found)

    def find(self, row: CorpusRow, written: Sequence[str]) -> list[str] | None:
        """Return the texts of a row's spans; documents may share an id, so all are tried."""
        texts = (spoken_texts(written, part.segments) for part in self._of(row))
        return next((found for found in texts if found is not None), None)

    def _of(self, row: CorpusRow) -> list[Part]:
        return self.parts.get((row.id, row.part), [])


def _keyed(plan: Plan, number: int) -> Iterator[tuple[tuple[str, int], Part]]:
    for part in read_parts(plan, number, Counter(), Counter()):
        yield (part.document.id, part.number), part


def _rows(folder: Path, number: int, places: Sequence[int]) -> list[CorpusRow]:
    rows = read_shard(folder, number)
    if places[-1] >= len(rows):
        raise SourceError(
            f"shard {shard_name(number)} of {folder} has {len(rows)} rows, fewer than its mark "
            f"says; look with: voiceglm synth status {folder} --verify"
        )
    return [rows[place] for place in places]
