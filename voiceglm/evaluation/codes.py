"""Table ``codes``: what is understood through the tokenizer's codes, and how they are used."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tqdm import tqdm

from tokenizer.asr import CtcRecognizer
from voiceglm.audio import check_samples
from voiceglm.error_rate import character_errors
from voiceglm.errors import AudioError, ConfigError
from voiceglm.evaluate import RATE, CodeReader
from voiceglm.evaluation.clips import NORMALIZATION, ClipSet, clip_sets
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import (
    Figure,
    Row,
    Skipped,
    Table,
    error_figure,
    slug,
    without_errors,
)
from voiceglm.language_model import VoiceLM
from voiceglm.manifest import Utterance, read_samples

NAME = "codes"
OWN = "own recognizer, through the codes"
READ = "language model, through the codes"
REFERENCE = "independent recognizer, without codes"


def measure(subject: Subject) -> Table:
    """Transcribe every set through the codes and without.

    Raises:
        ConfigError: If a manifest cannot be read.
        OutputError: If rows cannot be written.
    """
    sets, skipped = clip_sets(subject)
    readers, unreadable = readers_of(subject)
    figures: list[Figure] = []
    for clips in sets:
        rows = [_row(subject, readers, clip) for clip in tqdm(clips.clips, desc=clips.name)]
        subject.keep(NAME, clips.name, rows)
        good = without_errors(rows, clips.name, skipped)
        figures += _figures(subject, clips, good, list(readers))
    return Table(
        name=NAME,
        title="Speech through the codes",
        protocol=[
            NORMALIZATION,
            "The language model reads greedily; the independent recognizer hears the recording.",
        ],
        figures=figures,
        skipped=[*skipped, *unreadable],
    )


def codebook_use(codes: Iterable[Sequence[int]], num_codes: int) -> dict[str, float]:
    """Return how a codebook is used.

    Args:
        codes: Of each recording.
        num_codes: Entries of the codebook, K.

    Returns:
        ``used``, the share of entries that occur, in percent; ``perplexity``, to how many equally
        frequent codes it comes; ``entropy``, bits a code.
    """
    counts = Counter(code for row in codes for code in row)
    total = max(1, counts.total())
    entropy = -sum(n / total * math.log2(n / total) for n in counts.values())
    return {
        "used": 100.0 * len(counts) / num_codes,
        "perplexity": 2.0**entropy,
        "entropy": entropy,
    }


Read = Callable[[Any], str]  # (num_samples,) at RATE -> words


def readers_of(subject: Subject) -> tuple[dict[str, Read], list[Skipped]]:
    """Return who can read, and who cannot and why."""
    readers: dict[str, Read] = {}
    skipped = []
    if isinstance(subject.tokenizer.recognizer, CtcRecognizer):
        readers[OWN] = lambda samples: subject.tokenizer.transcribe(samples, RATE)
    else:
        skipped.append(Skipped(OWN, "the tokenizer was stored without a recognizer"))
    if isinstance(subject.chat.model, VoiceLM):
        reader = CodeReader(subject.chat)
        readers[READ] = lambda samples: reader.transcribe(samples, RATE)
    else:
        skipped.append(Skipped(READ, "the language model is on a server"))
    if (recognizer := subject.recognizer) is not None:
        readers[REFERENCE] = lambda samples: recognizer.transcribe(samples, RATE)
    else:
        skipped.append(Skipped(REFERENCE, "no recognizer: give --recognizer or --run"))
    return readers, skipped


def _row(subject: Subject, readers: dict[str, Read], clip: Utterance) -> Row:
    row: dict[str, Any] = {
        "recording": clip.recording.name,
        "start": clip.start,
        "speaker": clip.speaker,
        "said": clip.text,
    }
    try:
        samples = read_samples(clip, RATE)
        check_samples(samples, RATE, what=str(clip.recording.name))
        row["codes"] = subject.tokenizer.encode(samples, RATE)
        heard = {slug(name): read(samples) for name, read in readers.items()}
    except (AudioError, ConfigError) as error:  # ConfigError: longer than the model reads
        return {**row, "error": str(error)}
    return {**row, **heard}


def _figures(
    subject: Subject, clips: ClipSet, rows: Sequence[Row], readers: Sequence[str]
) -> Iterable[Figure]:
    name, language = clips.name, clips.language
    for reader in readers:
        heard = slug(reader)
        errors = [clips.errors(row["said"], row[heard]) for row in rows]
        column = "" if reader == REFERENCE else clips.column
        yield error_figure(name, f"wrong {clips.unit}", errors, system=reader, column=column)
        if language != "zh":
            letters = [character_errors([row], heard=heard) for row in rows]
            yield error_figure(name, "wrong characters", letters, system=reader)
    tokenizer, about = subject.tokenizer, {"set": name, "count": len(rows)}
    use = codebook_use((row["codes"] for row in rows), tokenizer.num_codes)
    bits = math.log2(tokenizer.num_codes)
    rate = tokenizer.frame_rate
    yield Figure(what="codebook in use", value=use["used"], **about)
    yield Figure(what="perplexity of the codes", value=use["perplexity"], unit="codes", **about)
    yield Figure(what="entropy of the codes", value=rate * use["entropy"], unit="bit/s", **about)
    yield Figure(what="codes", value=rate, unit="/s", column="codes/s", **about)
    yield Figure(what="bit rate", value=rate * bits, unit="bit/s", column="bit/s", **about)
