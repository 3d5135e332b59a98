"""Table ``reconstruction``: recordings turned into codes and spoken again, beside the originals.

Every recording goes two ways: through its codes, and through its own log-mel past the flow
(*vocoded*), which shows what of the loss is the vocoder's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from data_synth.speak import Line
from data_synth.tts import ASSISTANTS, SAMPLE_RATE, in_accent
from data_synth.world import LANGUAGES, Language
from decoder.features import LogMel, mel_config
from decoder.model import SpeechDecoder, VoicedDecoder, shared_decoder
from decoder.voice import read_voice
from decoder.voices import known_voices
from voiceglm.audio import resample
from voiceglm.chat import Speaker
from voiceglm.error_rate import ErrorRate
from voiceglm.errors import AudioError, DependencyError
from voiceglm.evaluate import RATE, heard_by
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.clips import NORMALIZATION, ClipSet, clip_sets, described, sound_of
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
from voiceglm.manifest import Utterance

NAME = "reconstruction"
OWN_SENTENCES = 100
"""Of each assistant in each language, at the most."""
WORSE = "resynthesis less original"
"""What the error rate of a resynthesis is more than that of its original, in points."""

BESIDE_VOCODED = ("log-spectral distance", "median pitch error")
"""Measures of a resynthesis beside the vocoded original."""

_HEARD = {"original": "original", "vocoded": "vocoded", "again": "resynthesis"}
_SIMILARITY = "speaker similarity"


@dataclass(frozen=True)
class _Set:
    """Recordings, and who speaks their codes."""

    clips: ClipSet
    decoder: Speaker


def own_voice(assistant: str, language: Language) -> str:
    """Return what the set of one of the assistants' own recordings is called."""
    return f"nano world, held-out sentences of {assistant}, {language}"


def measure(subject: Subject) -> Table:
    """Speak the codes of every set again and compare.

    Raises:
        CheckpointError: If a voice of the model is damaged.
        ConfigError: If a manifest cannot be read.
        OutputError: If rows cannot be written.
    """
    found, skipped = clip_sets(subject)
    sets = [_Set(clips, subject.chat.decoder) for clips in found]
    sets += _own_voices(subject, skipped)
    figures: list[Figure] = []
    for one in sets:
        name = one.clips.name
        rows = [_row(subject, one.decoder, clip) for clip in tqdm(one.clips.clips, desc=name)]
        subject.keep(NAME, name, rows)
        good = without_errors(rows, name, skipped)
        figures += _figures(subject, one.clips, good)
    return Table(
        name=NAME,
        title="Reconstruction: codes spoken again",
        protocol=[
            NORMALIZATION,
            "Original and resynthesis are heard by the same recognizer and compared over their"
            " common length; a decoder with one voice changes the voice of every other speaker,"
            " which STOI, PESQ and the distances see.",
            "Vocoded: the vocoder fed with the mel of the original. What a resynthesis is from it"
            " is the flow's share; of the assistants' own sentences, each in its voice.",
        ],
        figures=figures,
        skipped=[*skipped, *_unmeasured(subject)],
    )


def _own_voices(subject: Subject, skipped: list[Skipped]) -> Iterable[_Set]:
    """Return held-out sentences as each assistant says them, with the decoder in that voice."""
    decoders = _assistants(subject)
    for name, language in product(ASSISTANTS, LANGUAGES):
        title = own_voice(name, language)
        if name not in decoders:
            skipped.append(Skipped(title, f"the model has no voice {name}"))
            continue
        try:
            read = nano_world.readings(subject, language)[:OWN_SENTENCES]
            voice = in_accent(ASSISTANTS[name], language)
            lines = [Line(clip.text or "", voice, language=language) for clip in read]
            said = nano_world.spoken(subject, f"{name}_{language}", lines, SAMPLE_RATE)
        except DependencyError as error:
            skipped.append(Skipped(title, str(error)))
            continue
        yield _Set(ClipSet(title, said, by_people=False), decoders[name])


def _assistants(subject: Subject) -> Mapping[str, Speaker]:
    """Return the decoder in the voice of each assistant that the model has.

    A model without voices speaks as the first of them does.
    """
    first, *_ = ASSISTANTS
    decoder = subject.chat.decoder
    if not isinstance(decoder, SpeechDecoder | VoicedDecoder):
        return {first: decoder}
    whole = shared_decoder(decoder)
    files = known_voices(subject.settings.model, subject.settings.voices)
    voiced = {
        name: whole.in_voice(read_voice(file)) for name, file in files.items() if name in ASSISTANTS
    }
    return {first: decoder, **voiced}


def _unmeasured(subject: Subject) -> Iterable[Skipped]:
    for measure_ in MEASURES:
        if not measure_.is_available:
            yield Skipped(measure_.name, f"the package {measure_.package} is not installed")
    if not isinstance(subject.chat.decoder, SpeechDecoder | VoicedDecoder):
        yield Skipped("vocoded", "the decoder has no vocoder of its own")
    if subject.speakers is None:
        yield Skipped(_SIMILARITY, "the model has no speaker encoder")
    if subject.recognizer is None:
        yield Skipped("error of the recognizer", "no recognizer: give --recognizer or --run")
    yield Skipped("VisQOL, MOSNet, UTMOS", "they need weights that no package brings")


def _row(subject: Subject, decoder: Speaker, clip: Utterance) -> Row:
    about = described(clip)
    try:
        samples = sound_of(clip, decoder.sample_rate)
        codes = subject.tokenizer.encode(samples, decoder.sample_rate)
    except AudioError as error:
        return {**about, "error": str(error)}
    generator = torch.Generator().manual_seed(subject.settings.seed)
    ways = {"original": samples, "again": decoder.decode(codes, generator=generator).cpu()}
    if isinstance(decoder, SpeechDecoder | VoicedDecoder):
        ways["vocoded"] = vocoded(shared_decoder(decoder), samples, subject.settings.seed)
    heard: dict[str, Any] = {}
    if subject.recognizer is not None:
        for way, spoken in ways.items():
            at_its_rate = resample(spoken, decoder.sample_rate, RATE)
            heard[f"heard_{way}"] = heard_by(subject.recognizer, at_its_rate, RATE)
    return {**about, **heard, **_compared(subject, ways, decoder.sample_rate)}


def vocoded(decoder: SpeechDecoder, samples: Tensor, seed: int) -> Tensor:
    """Have the vocoder speak the log-mel of a recording: (num_samples,) -> (num_samples',).

    Args:
        decoder: Whose vocoder it is.
        samples: At the decoder's rate.
        seed: Of the phases.
    """
    log_mel = LogMel(mel_config(decoder.config.vocoder))
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        mel = log_mel(samples)[None].to(decoder.vocoder.window)
        return decoder.vocoder(mel, generator=generator)[0].cpu()


def _compared(subject: Subject, ways: Mapping[str, Tensor], rate: int) -> dict[str, float | None]:
    """Return every measure of original and resynthesis, and two of what was vocoded and that."""
    one, other = align(ways["original"], ways["again"])
    taken = {each.name: each.compare(one, other, rate) for each in MEASURES if each.is_available}
    if subject.speakers is not None:
        taken[_SIMILARITY] = speaker_similarity(subject.speakers, one, other, rate)
    if "vocoded" in ways:
        one, other = align(ways["vocoded"], ways["again"])
        beside = (each for each in MEASURES if each.name in BESIDE_VOCODED)
        taken |= {to_vocoded(each.name): each.compare(one, other, rate) for each in beside}
    return {name: None if value is None else round(value, 4) for name, value in taken.items()}


def to_vocoded(measure_: str) -> str:
    """Return what a measure of resynthesis and vocoded original is called."""
    return f"{measure_} to vocoded"


def _figures(subject: Subject, clips: ClipSet, rows: Sequence[Row]) -> Iterable[Figure]:
    name = clips.name
    if subject.recognizer is not None:
        yield from _heard_figures(clips, rows)
    units = {each.name: each.unit for each in MEASURES}
    units |= {to_vocoded(each): units[each] for each in BESIDE_VOCODED}
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


def _heard_figures(clips: ClipSet, rows: Sequence[Row]) -> Iterable[Figure]:
    """Give the errors of each way, and what those of the resynthesis are more."""
    name, units = clips.name, {f"wrong {clips.unit}": clips.errors}
    if clips.language != "zh":
        units["wrong characters"] = clips.letters
    for what, compare in units.items():
        errors: dict[str, list[ErrorRate]] = {}
        for way, title in _HEARD.items():
            if not all(f"heard_{way}" in row for row in rows):
                continue
            errors[way] = [compare(row["said"], row[f"heard_{way}"]) for row in rows]
            of_table = clips.column and way == "again" and compare == clips.errors
            column = f"{clips.column} word error" if of_table else ""
            yield error_figure(name, f"{what}, {title}", errors[way], column=column)
        more = [
            replace(again, edits=again.edits - original.edits)
            for again, original in zip(errors["again"], errors["original"], strict=True)
        ]
        yield error_figure(name, f"{what}, {WORSE}", more, unit="points")
