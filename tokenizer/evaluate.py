"""What a tokenizer keeps of speech: text read back through its codes, and how many are in use."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from tokenizer.model import SpeechTokenizer
from tokenizer.quantizer import perplexity
from voiceglm.error_rate import ErrorRate, character_errors, word_errors
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, read_samples

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A tokenizer in numbers; ``None`` where it lacks the part that is measured."""

    recordings: int
    seconds: float
    frame_rate: float  # codes per second
    codebook_size: int | None
    bits_per_second: float | None  # frame rate x log2 of the codebook's size
    codes_used: int | None  # different ones that occur
    codes_used_percent: float | None
    perplexity: float | None  # of all codes that occur
    used_bits_per_second: float | None  # frame rate x log2 of the perplexity
    texts: int  # recordings whose text was read back
    character_error_percent: float | None
    word_error_percent: float | None  # without Chinese, which has no words between blanks


def read_recordings(tokenizer: SpeechTokenizer, utterances: Sequence[Utterance]) -> list[Row]:
    """Encode recordings and read them back.

    Returns:
        Rows of ``path``, ``speaker``, ``language``, ``seconds``, ``codes`` (None without a
        codebook), ``said`` (None where nobody wrote it down), ``heard`` (None if it cannot read).

    Raises:
        AudioError: If a recording cannot be read.
    """
    rate = tokenizer.config.features.sample_rate
    rows: list[Row] = []
    for utterance in tqdm(utterances, desc="read", unit="clip"):
        samples = read_samples(utterance, rate)
        heard = tokenizer.transcribe(samples, rate) if tokenizer.recognizer is not None else None
        rows.append(
            {
                "path": str(utterance.recording),
                "speaker": utterance.speaker,
                "language": utterance.language,
                "seconds": round(len(samples) / rate, 3),
                "codes": tokenizer.encode(samples, rate) if tokenizer.num_codes else None,
                "said": utterance.text,
                "heard": heard,
            }
        )
    return rows


def figures(tokenizer: SpeechTokenizer, rows: Sequence[Row]) -> Figures:
    """Sum up what :func:`read_recordings` returned.

    Raises:
        ConfigError: If there are no rows.
    """
    if not rows:
        raise ConfigError("no utterance has a recording; give a manifest that lists some")
    read = [row for row in rows if row["said"] and row["heard"] is not None]
    chinese = [row for row in read if row["language"] == "zh"]
    others = [row for row in read if row["language"] != "zh"]
    parts = [character_errors(chinese, language="zh"), character_errors(others, language=None)]
    characters = ErrorRate(sum(part.edits for part in parts), sum(part.length for part in parts))
    return Figures(
        recordings=len(rows),
        seconds=round(sum(row["seconds"] for row in rows), 3),
        frame_rate=tokenizer.frame_rate,
        **_codebook(tokenizer, (row["codes"] for row in rows)),
        texts=len(read),
        character_error_percent=characters.percent if read else None,
        word_error_percent=word_errors(others, language=None).percent if others else None,
    )


def _codebook(tokenizer: SpeechTokenizer, codes: Iterable[list[int] | None]) -> dict[str, Any]:
    size, rate = tokenizer.num_codes, tokenizer.frame_rate
    names = ("bits_per_second", "codes_used", "codes_used_percent", "perplexity")
    if not size:
        return dict.fromkeys(("codebook_size", *names, "used_bits_per_second"))
    every = torch.tensor([code for row in codes for code in row or ()], dtype=torch.long)
    counts = torch.bincount(every, minlength=size)
    used, equal_use = int((counts > 0).sum()), float(perplexity(counts))
    return {
        "codebook_size": size,
        "bits_per_second": rate * math.log2(size),
        "codes_used": used,
        "codes_used_percent": 100.0 * used / size,
        "perplexity": equal_use,
        "used_bits_per_second": rate * math.log2(equal_use),
    }


def table(found: Figures) -> str:
    """Return the figures as Markdown."""

    def shown(value: float | None, unit: str = "", digits: int = 2) -> str:
        return "-" if value is None else f"{value:,.{digits}f} {unit}".strip()

    rows = [
        ("wrong characters, read back through the codes", found.character_error_percent, "%", 2),
        ("wrong words, read back through the codes", found.word_error_percent, "%", 2),
        ("codes in the codebook", found.codebook_size, "", 0),
        ("codes that occur", found.codes_used, "", 0),
        ("share of the codebook in use", found.codes_used_percent, "%", 1),
        ("perplexity of the codes", found.perplexity, "", 1),
        ("codes per second", found.frame_rate, "", 2),
        ("bit rate", found.bits_per_second, "bit/s", 1),
        ("bit rate that is used", found.used_bits_per_second, "bit/s", 1),
        ("recordings", found.recordings, "", 0),
        ("of them read back", found.texts, "", 0),
        ("speech", found.seconds / 60, "min", 1),
    ]
    lines = [f"| {what} | {shown(value, unit, digits)} |" for what, value, unit, digits in rows]
    return "\n".join(["| what | measured |", "|---|---|", *lines]) + "\n"
