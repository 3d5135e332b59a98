"""Table ``codes``: what is understood through the tokenizer's codes, and how they are used."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from tokenizer.asr import CtcRecognizer
from voiceglm.error_rate import ErrorRate
from voiceglm.errors import AudioError, ConfigError, DependencyError, SynthesisError
from voiceglm.evaluate import RATE, CodeReader
from voiceglm.evaluation import flite, nano_world
from voiceglm.evaluation.babble import RATIO_DB, Babble
from voiceglm.evaluation.clips import NORMALIZATION, ClipSet, clip_sets, described, sound_of
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import (
    Figure,
    Row,
    Skipped,
    Table,
    error_figure,
    ratio,
    slug,
    without_errors,
)
from voiceglm.language_model import VoiceLM
from voiceglm.manifest import Utterance, read_samples

NAME = "codes"
OWN = "own recognizer, through the codes"
READ = "language model, through the codes"
REFERENCE = "independent recognizer, without codes"
TO_REFERENCE = f"wrong characters, as a multiple of those of the {REFERENCE}"
TO_CLEAN = "wrong characters, as a multiple of those without babble"
EVERYTHING = "nano world, readings and questions, en and zh"
Read = Callable[[Any], str]  # (num_samples,) at RATE -> words


def measure(subject: Subject) -> Table:
    """Transcribe every set through the codes and without, the nano world's in babble, too.

    Raises:
        AudioError: If a recording of the nano world cannot be read.
        ConfigError: If a manifest cannot be read.
        OutputError: If rows cannot be written.
    """
    sets, skipped = clip_sets(subject)
    sets += _other_synthesizer(subject, skipped)
    readers, unreadable = readers_of(subject)
    figures: list[Figure] = []
    world: dict[str, tuple[ClipSet, Sequence[Row]]] = {}
    for clips in sets:
        rows = _rows(subject, readers, clips)
        good = without_errors(rows, clips.name, skipped)
        figures += _figures(subject, clips, good, list(readers))
        if clips.name in nano_world.READINGS.values():
            world[clips.name] = clips, rows
    figures += _in_babble(subject, readers, list(world.values()))
    figures += _use_of_all(subject, [row for _, rows in world.values() for row in rows])
    return Table(
        name=NAME,
        title="Speech through the codes",
        protocol=[
            NORMALIZATION,
            "The language model reads greedily; the independent recognizer hears the recording."
            " In a recipe's run it is the tokenizer's network without a quantizer, trained apart.",
            f"Babble: four to eight held-out voices at once, {RATIO_DB:g} dB below the recording in"
            " mean power. Multiples are ratios of all wrong characters.",
        ],
        figures=figures,
        skipped=[*skipped, *unreadable],
    )


def in_babble(name: str) -> str:
    """Return what a set is called with babble behind it."""
    return f"{name}, babble at {RATIO_DB:g} dB"


def _other_synthesizer(subject: Subject, skipped: list[Skipped]) -> list[ClipSet]:
    try:
        return [ClipSet(flite.NAME, flite.flite_readings(subject), by_people=False)]
    except (DependencyError, SynthesisError) as error:
        skipped.append(Skipped(flite.NAME, str(error)))
        return []


def _rows(
    subject: Subject,
    readers: Mapping[str, Read],
    clips: ClipSet,
    babble: Babble | None = None,
) -> list[Row]:
    """Have a set read and keep its rows."""
    name = clips.name if babble is None else in_babble(clips.name)
    rows = [
        _row(subject, readers, clip, place, babble)
        for place, clip in enumerate(tqdm(clips.clips, desc=name))
    ]
    subject.keep(NAME, name, rows)
    return rows


def _in_babble(
    subject: Subject,
    readers: Mapping[str, Read],
    world: Sequence[tuple[ClipSet, Sequence[Row]]],
) -> Iterable[Figure]:
    """Have the nano world's sets read in babble of their own voices."""
    talkers = [clip for clips, _ in world for clip in clips.clips]
    babble = Babble(talkers, subject.settings.seed) if talkers else None
    for clips, clean in world:
        name, rows = in_babble(clips.name), _rows(subject, readers, clips, babble)
        both = zip(rows, clean, strict=True)
        pairs = [pair for pair in both if not any("error" in row for row in pair)]
        for reader in readers if pairs else ():
            noisy, quiet = (
                [clips.letters(row["said"], row[slug(reader)]) for row in side]
                for side in zip(*pairs, strict=True)
            )
            yield error_figure(name, "wrong characters", noisy, system=reader)
            yield from _multiple(name, TO_CLEAN, noisy, quiet, reader)


def _multiple(
    name: str, what: str, errors: Sequence[ErrorRate], others: Sequence[ErrorRate], reader: str
) -> Iterable[Figure]:
    """Give the ratio of all errors to all of the others, item by item, if there are any."""
    parts, wholes = ([float(each.edits) for each in side] for side in (errors, others))
    if any(wholes):
        yield ratio(name, what, parts, wholes, scale=1.0, unit="times", system=reader)


def _use_of_all(subject: Subject, rows: Sequence[Row]) -> Iterable[Figure]:
    """Count the codes of everything that users say in the nano world."""
    codes = [row["codes"] for row in rows if "codes" in row]
    for language in nano_world.QUESTIONS if rows else ():
        asked = nano_world.questions(subject, language)
        codes += [subject.tokenizer.encode(read_samples(clip, RATE), RATE) for clip in asked]
    if codes:
        use = codebook_use(codes, subject.tokenizer.num_codes)
        yield Figure(set=EVERYTHING, what="codebook in use", value=use["used"], count=len(codes))


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


def _row(
    subject: Subject,
    readers: Mapping[str, Read],
    clip: Utterance,
    place: int,
    babble: Babble | None,
) -> Row:
    row = described(clip)
    try:
        samples = sound_of(clip, RATE)
        if babble is not None:
            samples = babble.behind(samples, place)
        row["codes"] = subject.tokenizer.encode(samples, RATE)
        heard = {slug(name): read(samples) for name, read in readers.items()}
    except (AudioError, ConfigError) as error:  # ConfigError: longer than the model reads
        return {**row, "error": str(error)}
    return {**row, **heard}


def _figures(
    subject: Subject, clips: ClipSet, rows: Sequence[Row], readers: Sequence[str]
) -> Iterable[Figure]:
    name, language = clips.name, clips.language
    letters: dict[str, list[ErrorRate]] = {}
    for reader in readers:
        heard = slug(reader)
        errors = [clips.errors(row["said"], row[heard]) for row in rows]
        letters[reader] = [clips.letters(row["said"], row[heard]) for row in rows]
        column = "" if reader == REFERENCE else clips.column
        yield error_figure(name, f"wrong {clips.unit}", errors, system=reader, column=column)
        if language != "zh":
            yield error_figure(name, "wrong characters", letters[reader], system=reader)
    if OWN in letters and REFERENCE in letters:
        yield from _multiple(name, TO_REFERENCE, letters[OWN], letters[REFERENCE], OWN)
    tokenizer, about = subject.tokenizer, {"set": name, "count": len(rows)}
    use = codebook_use((row["codes"] for row in rows), tokenizer.num_codes)
    bits = math.log2(tokenizer.num_codes)
    rate = tokenizer.frame_rate
    yield Figure(what="codebook in use", value=use["used"], **about)
    yield Figure(what="perplexity of the codes", value=use["perplexity"], unit="codes", **about)
    yield Figure(what="entropy of the codes", value=rate * use["entropy"], unit="bit/s", **about)
    yield Figure(what="codes", value=rate, unit="/s", column="codes/s", **about)
    yield Figure(what="bit rate", value=rate * bits, unit="bit/s", column="bit/s", **about)
