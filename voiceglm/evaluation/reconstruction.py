"""Table ``reconstruction``: recordings turned into codes and spoken again, beside the originals."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from data_synth.speak import Line
from data_synth.tts import ASSISTANT
from voiceglm.audio import check_samples, resample
from voiceglm.error_rate import character_errors
from voiceglm.errors import AudioError, DependencyError
from voiceglm.evaluate import RATE, heard_by
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.clips import NORMALIZATION, ClipSet, clip_sets
from voiceglm.evaluation.sound import MEASURES, align, speaker_similarity
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import (
    Figure,
    Row,
    Skipped,
    Table,
    error_figure,
    ratio,
    without_errors,
)
from voiceglm.manifest import Utterance, read_samples

NAME = "reconstruction"
OWN_VOICE = "nano world, held-out sentences in the decoder's own voice"
_SIMILARITY = "speaker similarity"


def measure(subject: Subject) -> Table:
    """Speak the codes of every set again and compare.

    Raises:
        ConfigError: If a manifest cannot be read.
        OutputError: If rows cannot be written.
    """
    sets, skipped = clip_sets(subject)
    try:
        sets.insert(1, _own_voice(subject))
    except DependencyError as error:
        skipped.append(Skipped(OWN_VOICE, str(error)))
    figures: list[Figure] = []
    for clips in sets:
        rows = [_row(subject, clip) for clip in tqdm(clips.clips, desc=clips.name)]
        subject.keep(NAME, clips.name, rows)
        good = without_errors(rows, clips.name, skipped)
        figures += _figures(subject, clips, good)
    return Table(
        name=NAME,
        title="Reconstruction: codes spoken again",
        protocol=[
            NORMALIZATION,
            "Original and resynthesis are heard by the same recognizer and compared over their"
            " common length; a decoder with one voice changes the voice of every other speaker,"
            " which STOI, PESQ and the distances see.",
        ],
        figures=figures,
        skipped=[*skipped, *_unmeasured(subject)],
    )


def _own_voice(subject: Subject) -> ClipSet:
    """Return the held-out sentences spoken by the voice that the nano decoder learned."""
    texts = [clip.text or "" for clip in nano_world.readings(subject)]
    lines = [Line(text, ASSISTANT) for text in texts]
    return ClipSet(OWN_VOICE, nano_world.spoken(subject, "own_voice", lines), by_people=False)


def _unmeasured(subject: Subject) -> Iterable[Skipped]:
    for measure_ in MEASURES:
        if not measure_.is_available:
            yield Skipped(measure_.name, f"the package {measure_.package} is not installed")
    if subject.speakers is None:
        yield Skipped(_SIMILARITY, "the model has no speaker encoder")
    if subject.recognizer is None:
        yield Skipped("error of the recognizer", "no recognizer: give --recognizer or --run")
    yield Skipped("VisQOL, MOSNet, UTMOS", "they need weights that no package brings")


def _row(subject: Subject, clip: Utterance) -> Row:
    about = {"recording": clip.recording.name, "start": clip.start, "said": clip.text}
    decoder = subject.chat.decoder
    try:
        samples = read_samples(clip, decoder.sample_rate)
        check_samples(samples, decoder.sample_rate, what=clip.recording.name)
        codes = subject.tokenizer.encode(samples, decoder.sample_rate)
    except AudioError as error:
        return {**about, "error": str(error)}
    generator = torch.Generator().manual_seed(subject.settings.seed)
    made = decoder.decode(codes, generator=generator).cpu()
    heard: dict[str, Any] = {}
    if subject.recognizer is not None:
        original = resample(samples, decoder.sample_rate, RATE)
        heard["heard_original"] = heard_by(subject.recognizer, original, RATE)
        heard["heard_again"] = heard_by(subject.recognizer, made, decoder.sample_rate)
    return {**about, **heard, **_compared(subject, samples, made)}


def _compared(subject: Subject, samples: Tensor, made: Tensor) -> dict[str, float | None]:
    """Return every measure that can be taken of (num_samples,) and its resynthesis."""
    rate = subject.chat.decoder.sample_rate
    one, other = align(samples, made)
    taken = {each.name: each.compare(one, other, rate) for each in MEASURES if each.is_available}
    if subject.speakers is not None:
        taken[_SIMILARITY] = speaker_similarity(subject.speakers, one, other, rate)
    return {name: None if value is None else round(value, 4) for name, value in taken.items()}


def _figures(subject: Subject, clips: ClipSet, rows: Sequence[Row]) -> Iterable[Figure]:
    name = clips.name
    if subject.recognizer is not None:
        for heard, what in (("heard_original", "original"), ("heard_again", "resynthesis")):
            column = f"{clips.column} word error" if clips.column and what != "original" else ""
            errors = [clips.errors(row["said"], row[heard]) for row in rows]
            yield error_figure(name, f"wrong {clips.unit}, {what}", errors, column=column)
            if clips.language != "zh":
                letters = [character_errors([row], heard=heard) for row in rows]
                yield error_figure(name, f"wrong characters, {what}", letters)
    units = {each.name: each.unit for each in MEASURES}
    for what in (*units, _SIMILARITY):
        values = [row[what] for row in rows if row.get(what) is not None]
        if values:
            yield ratio(name, what, values, scale=1.0, unit=units.get(what, ""))
    if clips.column:
        tokenizer, about = subject.tokenizer, {"set": name, "count": len(rows)}
        bits = tokenizer.frame_rate * math.log2(tokenizer.num_codes)
        rate = tokenizer.frame_rate
        yield Figure(what="codes", value=rate, unit="/s", column="codes/s", **about)
        yield Figure(what="bit rate", value=bits, unit="bit/s", column="bit/s", **about)
