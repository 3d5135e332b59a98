"""Documents to rows of interleaved ids: what one shard takes.

Nothing here knows of processes. A shard depends on the plan and on its own number alone: on one
machine it is the same, bit for bit, whoever makes it and whatever was made before.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from data_synth.batch_lm import Engine
from data_synth.filters import fault
from data_synth.plan import Plan, SynthesisConfig
from data_synth.shards import CorpusRow, speech_spans, tally
from data_synth.sources import BadRow, Document, read_rows
from data_synth.spans import Segment, segments, units
from data_synth.speakable import speakable
from voiceglm.error_rate import ErrorRate
from voiceglm.prompt import PromptWriter
from voiceglm.scripts import nearest, script

ENDLESS = 3.0  # codes per letter, at which a span is given up
LEAST_ROOM = 25  # codes that every span may have
PER_CALL = 1_024  # spans that an engine is given at once


_CONTROL = {n: None for n in (*range(32), *range(127, 160)) if chr(n) not in "\n\t"}


class Judge(Protocol):
    """Reads speech back."""

    def errors(self, said: Sequence[str], codes: Sequence[Sequence[int]]) -> list[ErrorRate]:
        """Return the character errors of each span; of length 0 where it cannot read."""
        ...


@dataclass(frozen=True)
class Speaker:
    """What speaks.

    Attributes:
        writer: Of the text-to-token model.
        engine: That runs it.
        max_prompt: Ids of a prompt; a word of a megabyte would take all memory.
    """

    writer: PromptWriter
    engine: Engine
    max_prompt: int = 512


@dataclass
class Part:
    """A document, or a part of a long one.

    Attributes:
        document: The whole.
        number: Of the part, from 0.
        language: Two letters.
        segments: What is written and what is to be spoken.
        codes: Of those that have been spoken, by segment.
    """

    document: Document
    number: int
    language: str
    segments: list[Segment]
    codes: dict[int, list[int]] = field(default_factory=dict)


@dataclass
class _Span:
    """A stretch that is to be spoken."""

    part: Part
    segment: int
    said: str  # as words
    prompt: list[int]
    is_checked: bool

    @property
    def room(self) -> int:
        """The most ids it may get."""
        letters = sum(letter.isalnum() for letter in self.said)
        return max(LEAST_ROOM, round(ENDLESS * letters))


class Synthesis:
    """Makes the rows of shards.

    Args:
        plan: What to make.
        writer: Numbers the ids of the corpus.
        speaker: The text-to-token model.
        judge: Reads some of the speech back; None if nobody can.
    """

    def __init__(
        self, plan: Plan, writer: PromptWriter, speaker: Speaker, judge: Judge | None
    ) -> None:
        self._plan = plan
        self._writer = writer
        self._speaker = speaker
        self._judge = judge

    def shard(
        self, number: int, progress: Callable[[int], None] = lambda _: None
    ) -> tuple[list[CorpusRow], dict[str, Any]]:
        """Make one shard.

        Args:
            number: Which.
            progress: Told how many codes have been written since the last time.

        Returns:
            Its rows, and what was counted; the latter depends on the former's input alone.

        Raises:
            EngineError: If the engine is lost.
            SourceError: If a file is gone.
        """
        count: Counter[str] = Counter()
        left_out: Counter[str] = Counter()
        parts = list(read_parts(self._plan, number, count, left_out))
        self._speak(parts, number, count, progress)
        rows = [self._row(part) for part in parts]
        return rows, tally(rows, count, left_out)

    @property
    def engine(self) -> Engine:
        """What runs the text-to-token model."""
        return self._speaker.engine

    def prompts(self, number: int) -> tuple[list[list[int]], list[int]]:
        """Return what the engine is given of a shard at first: prompts, and the room of each."""
        count: Counter[str] = Counter()
        parts = list(read_parts(self._plan, number, count, count))
        spans = list(self._spans(parts, number, count))
        return [span.prompt for span in spans], [span.room for span in spans]

    def metadata(self) -> dict[str, str]:
        """Return where the rows come from."""
        config = self._plan.config
        return {"plan": self._plan.digest, "seed": str(config.seed), **self._plan.models}

    def _speak(
        self,
        parts: Sequence[Part],
        number: int,
        count: Counter[str],
        progress: Callable[[int], None],
    ) -> None:
        """Give every span its codes, or leave it text."""
        waiting = list(self._spans(parts, number, count))
        count["spans"] = len(waiting)
        for attempt in range(self._plan.config.filters.attempts):
            again: list[_Span] = []
            for start in range(0, len(waiting), PER_CALL):
                group = waiting[start : start + PER_CALL]
                seed = _seed(self._plan.config.seed, number, attempt, start)
                again += self._attempt(group, seed, count, progress)
            waiting = again
        count["spans_left_text"] = len(waiting)

    def _spans(self, parts: Sequence[Part], number: int, count: Counter[str]) -> Iterator[_Span]:
        config = self._plan.config
        chance = random.Random(f"{config.seed}/{number}/checked")
        for part in parts:
            for place, segment in enumerate(part.segments):
                if not segment.is_spoken:
                    continue
                said = words(segment.text, part.language)
                is_checked = chance.random() < config.filters.checked_share
                if not any(letter.isalnum() for letter in said):
                    count["spans_without_words"] += 1
                    continue
                prompt = self._speaker.writer.speaking_prompt(said)
                if len(prompt) > self._speaker.max_prompt:
                    count["spans_too_long"] += 1
                    continue
                yield _Span(part, place, said, prompt, is_checked)

    def _attempt(
        self,
        spans: Sequence[_Span],
        seed: int,
        count: Counter[str],
        progress: Callable[[int], None],
    ) -> list[_Span]:
        """Have spans spoken; return those that were not spoken well enough."""
        rooms = [span.room for span in spans]
        found = self._speaker.engine.generate([span.prompt for span in spans], rooms, seed)
        vocabulary, config = self._speaker.writer.vocabulary, self._plan.config.filters
        again, good = [], []
        for span, ids in zip(spans, found, strict=True):
            codes = [vocabulary.code(id_) for id_ in ids if vocabulary.is_speech(id_)]
            ended = bool(ids) and ids[-1] == vocabulary.end_of_audio
            reason = fault(span.said, codes, ended=ended, config=config)
            if reason:
                count[f"redone: {reason}"] += 1
                again.append(span)
            else:
                good.append((span, codes))
        again += self._misread(good, count)
        spoken = {id(span) for span in again}
        for span, codes in good:
            if id(span) not in spoken:
                span.part.codes[span.segment] = codes
        progress(sum(map(len, found)))
        return again

    def _misread(self, good: Sequence[tuple[_Span, list[int]]], count: Counter[str]) -> list[_Span]:
        """Return the spans of those to be checked that cannot be understood."""
        checked = [pair for pair in good if pair[0].is_checked]
        if not checked:
            return []
        if self._judge is None:
            count["unreadable_spans"] += len(checked)
            return []
        said, codes = [span.said for span, _ in checked], [codes for _, codes in checked]
        bad = []
        for (span, _), found in zip(checked, self._judge.errors(said, codes), strict=True):
            if not found.length:
                count["unreadable_spans"] += 1
                continue
            count["checked_spans"] += 1
            count["checked_characters"] += found.length
            count["wrong_characters"] += found.edits
            if found.percent > 100 * self._plan.config.filters.max_error:
                count["redone: misread"] += 1
                bad.append(span)
        return bad

    def _row(self, part: Part) -> CorpusRow:
        """Write one row as the language model will read it."""
        pieces: list[Mapping[str, Any]] = []
        written = ""
        for place, segment in enumerate(part.segments):
            codes = part.codes.get(place)
            if codes is None:
                written += segment.text
                continue
            if written:
                pieces.append({"text": written})
            pieces.append({"codes": codes})
            written = ""
        if written:
            pieces.append({"text": written})
        ids = self._writer.example({"kind": "interleaved", "segments": pieces}).ids
        spans = speech_spans(ids, self._writer.vocabulary)
        return CorpusRow(part.document.id, part.number, part.language, list(ids), spans)


def read_parts(
    plan: Plan, number: int, count: Counter[str], left_out: Counter[str]
) -> Iterator[Part]:
    """Read the documents of a shard, cut into what is written and what is to be spoken.

    Args:
        plan: Where they are.
        number: Of the shard.
        count: What is read is added to it.
        left_out: So are documents that are not taken, by reason.

    Raises:
        SourceError: If the file is gone.
    """
    config, shard = plan.config, plan.shards[number]
    path = Path(plan.sources[shard.source].path)
    for row in read_rows(path, shard.start, shard.stop, config.columns, shard.place):
        count["documents"] += 1
        if isinstance(row, BadRow):
            left_out[row.reason] += 1
            continue
        if row.row in shard.duplicates:
            left_out["duplicate"] += 1
            continue
        text = _clean(row.text)
        language = script(text)
        if reason := _unfit(text, language, row.language, config):
            left_out[reason] += 1
            continue
        for part, piece in enumerate(_cut(text, config.max_units)):
            count["units"] += len(units(piece))
            yield Part(row, part, language or "en", segments(piece, config.spans))


def words(text: str, language: str) -> str:
    """Return what is said where a text of a language is to be spoken."""
    return " ".join(speakable(text, nearest(language)).split())


def _clean(text: str) -> str:
    """Drop what no reader sees: control characters but for line ends and tabs."""
    return text.translate(_CONTROL)


def _unfit(
    text: str, language: str | None, stated: str | None, config: SynthesisConfig
) -> str | None:
    """Return why a document is left out; None if it is not."""
    if language is None:
        return "no words"
    if text.count("\ufffd") > 2:
        return "wrong encoding"
    if stated is not None and stated.split("-")[0].split("_")[0] not in config.languages:
        return "another language"
    if language not in config.languages:
        return "another language"
    if len(units(text)) < config.filters.min_units:
        return "too short"
    return None


def _cut(text: str, max_units: int) -> Iterator[str]:
    """Cut a long document into parts; together they are the document."""
    starts = [start for start, _ in units(text)[::max_units]]
    places = [0, *starts[1:], len(text)]
    for here, there in pairwise(places):
        yield text[here:there]


def _seed(*parts: int) -> int:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "little")
