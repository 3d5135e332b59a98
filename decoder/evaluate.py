"""What a decoder makes of the codes of recordings, measured clip by clip.

Each recording goes two ways: through its codes, and through its own log-mel past the flow, which
shows what of the loss is the vocoder's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from decoder.features import LogMel, mel_config
from decoder.model import SpeechDecoder
from decoder.reconstruction import distances, median_pitch
from decoder.speaker import SpeakerEncoder, similarity
from decoder.voice import Recording, Voice, make_voice
from voiceglm.audio import resample
from voiceglm.error_rate import character_errors
from voiceglm.errors import AudioError
from voiceglm.manifest import Utterance, read_samples

WAYS = ("recording", "vocoded", "decoded")
HEARING_RATE = 16_000  # hertz, of recognizers
Row = dict[str, Any]


class Hearer(Protocol):
    """Writes down what is said, and turns it into codes."""

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        """Return the words of (num_samples,) at ``sample_rate`` hertz."""
        ...


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Who measures, beside the distances; what is ``None`` is left out."""

    recognizer: Hearer | None = None
    encoder: SpeakerEncoder | None = None


def measure_clips(
    decoder: SpeechDecoder,
    clips: Sequence[tuple[Utterance, list[int]]],
    judges: Judges,
    voice: Voice | Callable[[Utterance, Tensor], Voice | None] | None = None,
) -> list[Row]:
    """Measure recordings, and what becomes of them.

    Args:
        decoder: In evaluation.
        clips: Recordings with their codes.
        judges: Who else measures.
        voice: Who speaks what is decoded; called with the recording if it is a function.

    Returns:
        A row each, with ``said`` and, of each of :data:`WAYS`, what was measured.

    Raises:
        AudioError: If a recording cannot be read or used.
    """
    rows: list[Row] = []
    for utterance, codes in tqdm(clips, desc="measure", unit="clip"):
        real = read_samples(utterance, decoder.sample_rate)
        speaker = voice(utterance, real) if callable(voice) else voice
        rows.append(_measure(decoder, (utterance, codes), real, judges, speaker))
    return rows


def own_voice(decoder: SpeechDecoder, encoder: SpeakerEncoder) -> Callable[..., Voice | None]:
    """Return what gives each recording its own voice; one of no voice gets the default."""

    def find(utterance: Utterance, real: Tensor) -> Voice | None:
        rate, fingerprint = decoder.sample_rate, decoder.fingerprint
        recording = Recording(str(utterance.path), real, rate)
        try:
            return make_voice("own", [recording], encoder, sample_rate=rate, decoder=fingerprint)
        except AudioError:
            return None

    return find


def _measure(
    decoder: SpeechDecoder,
    clip: tuple[Utterance, list[int]],
    real: Tensor,
    judges: Judges,
    voice: Voice | None,
) -> Row:
    utterance, codes = clip
    log_mel = LogMel(mel_config(decoder.config.vocoder))
    vocoder, seed = decoder.vocoder, torch.Generator().manual_seed(0)
    with torch.inference_mode():
        copied = vocoder(log_mel(real)[None].to(vocoder.window), generator=seed)[0].cpu()
    made = decoder.decode(codes, voice=voice).cpu()
    row: Row = {
        "path": str(utterance.path),
        "speaker": utterance.speaker,
        "voice": voice.name if voice else None,
        "said": utterance.text,
        "codes": len(codes),
        "seconds": round(len(real) / decoder.sample_rate, 3),
    }
    embedding = None
    if judges.encoder is not None:
        embedding = judges.encoder.embed(real, decoder.sample_rate)
    for way, samples in zip(WAYS, (real, copied, made), strict=True):
        found = _listen(samples, decoder.sample_rate, judges, embedding, voice, log_mel)
        if way != "recording":
            size = min(len(samples), len(real))
            found |= distances(samples[:size], real[:size], log_mel)
        row[way] = {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}
    return row


def _listen(
    samples: Tensor,
    sample_rate: int,
    judges: Judges,
    real: Tensor | None,
    voice: Voice | None,
    log_mel: LogMel,
) -> Row:
    """Return what can be said of speech by itself, and of its speaker beside two others."""
    row: Row = {"pitch_hz": median_pitch(samples, log_mel)}
    if judges.recognizer is not None:
        heard = resample(samples, sample_rate, HEARING_RATE)
        row["heard"] = judges.recognizer.transcribe(heard, HEARING_RATE)
    if judges.encoder is not None and real is not None:
        own = judges.encoder.embed(samples, sample_rate)
        row["similarity"] = similarity(own, real)
        if voice is not None:
            row["voice_similarity"] = similarity(own, voice.vector()[0])
    return row


def summarize(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return the mean of every measure by way, and character errors in percent where texts are."""
    return {way: _mean(rows, way) for way in WAYS}


def _mean(rows: Sequence[Row], way: str) -> dict[str, float]:
    names = [name for name, value in rows[0][way].items() if isinstance(value, float)]
    figures = {name: sum(row[way][name] for row in rows) / len(rows) for name in names}
    heard = [
        {"said": row["said"], "heard": row[way]["heard"]}
        for row in rows
        if row["said"] and "heard" in row[way]
    ]
    if heard:
        figures["character_errors"] = character_errors(heard).percent
    return {name: round(value, 4) for name, value in figures.items()}


TITLES = {
    "character_errors": "wrong characters, %",
    "similarity": "similarity to the recording's speaker",
    "voice_similarity": "similarity to the voice asked for",
    "pitch_hz": "median pitch, Hz",
    "mel": "distance of log-mels",
    "decibels": "log-spectral distance, dB",
    "voicing_error": "frames of wrong voicing",
    "pitch_error": "error of pitch, log",
}


def table(summary: Mapping[str, Mapping[str, float]]) -> str:
    """Return a summary as Markdown."""
    lines = [f"| measure | {' | '.join(WAYS)} |", "|---|" + "---|" * len(WAYS)]
    for name, title in TITLES.items():
        cells = [f"{summary[way][name]:.3f}" if name in summary[way] else "" for way in WAYS]
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
