"""Recordings to rows of ids: unsupervised speech, pairs to transcribe and pairs to speak.

The rows are those of ``voiceglm.prompt``: ``asr`` (hear, then write), ``tts`` (read, then say), and
speech alone. What a shard holds depends on the plan and on its number alone.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from data_synth.plan import Plan
from data_synth.recorded import Recorded, read_recorded
from data_synth.shards import CorpusRow, speech_spans, tally
from data_synth.sources import BadRow
from tokenizer.model import SpeechTokenizer
from voiceglm.errors import AudioError
from voiceglm.prompt import PromptWriter

BATCH = 16  # recordings that are encoded together


class Encoding:
    """Makes the rows of shards of recordings.

    Args:
        plan: What to make, of kind ``speech``, ``asr`` or ``tts``.
        writer: Numbers the ids of the corpus.
        tokenizer: Hears.
    """

    def __init__(self, plan: Plan, writer: PromptWriter, tokenizer: SpeechTokenizer) -> None:
        self._plan = plan
        self._writer = writer
        self._tokenizer = tokenizer
        self._rate = tokenizer.config.features.sample_rate

    def shard(
        self, number: int, progress: Callable[[int], None] = lambda _: None
    ) -> tuple[list[CorpusRow], dict[str, Any]]:
        """Make one shard; see :meth:`data_synth.synthesis.Synthesis.shard`.

        Raises:
            SourceError: If the source is gone.
        """
        count: Counter[str] = Counter()
        left_out: Counter[str] = Counter()
        rows: list[CorpusRow] = []
        pieces = self._pieces(number, count, left_out)
        while batch := list(islice(pieces, BATCH)):
            codes = self._tokenizer.encode_batch([samples for *_, samples in batch], self._rate)
            for (part, found, _), each in zip(batch, codes, strict=True):
                rows.append(self._row(part, found, each))
            progress(sum(map(len, codes)))
        return rows, tally(rows, count, left_out)

    def metadata(self) -> dict[str, str]:
        """Return where the rows come from."""
        config = self._plan.config
        return {"plan": self._plan.digest, "kind": config.kind, **self._plan.models}

    def _pieces(
        self, number: int, count: Counter[str], left_out: Counter[str]
    ) -> Iterator[tuple[int, Recorded, Tensor]]:
        """Yield what is to be encoded: of speech alone, long recordings in pieces."""
        config, shard = self._plan.config, self._plan.shards[number]
        path = Path(self._plan.sources[shard.source].path)
        most = round(config.max_seconds * self._rate)
        for found in read_recorded(path, shard.start, shard.stop, shard.place):
            count["documents"] += 1
            if isinstance(found, BadRow):
                left_out[found.reason] += 1
                continue
            reason, samples = self._heard(found)
            if samples is None:
                left_out[reason] += 1
                continue
            if len(samples) > most and config.kind != "speech":
                left_out["too long"] += 1
                continue
            for part, piece in enumerate(samples.split(most)):
                if part and not piece.any():
                    continue
                count["seconds"] += round(len(piece) / self._rate)
                yield part, found, piece

    def _heard(self, found: Recorded) -> tuple[str, Tensor | None]:
        """Return the samples of a recording, or why there are none."""
        if self._plan.config.kind != "speech" and not (found.text or "").strip():
            return "no text", None
        try:
            samples = found.load(self._rate)
        except (AudioError, OSError):
            return "unreadable recording", None
        if not len(samples) or not samples.isfinite().all() or not samples.any():
            return "silent or damaged recording", None
        return "", samples

    def _row(self, part: int, found: Recorded, codes: Sequence[int]) -> CorpusRow:
        rows: dict[str, Mapping[str, Any]] = {
            "speech": {"kind": "interleaved", "segments": [{"codes": codes}]},
            "asr": {"kind": "asr", "codes": codes, "text": found.text},
            "tts": {"kind": "tts", "codes": codes, "text": found.text},
        }
        ids = list(self._writer.example(rows[self._plan.config.kind]).ids)
        spans = speech_spans(ids, self._writer.vocabulary)
        return CorpusRow(found.id, part, found.language, ids, spans)
