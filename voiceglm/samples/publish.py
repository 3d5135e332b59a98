"""The samples as a folder: two pages, their sounds, and what stands on them as data."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import soundfile
from torch import Tensor

from voiceglm.audio import resample
from voiceglm.checkpoint import resolve
from voiceglm.evaluate import RATE
from voiceglm.files import checksums, new_folder, write_file
from voiceglm.samples.comparison import Comparison
from voiceglm.samples.conversations import Played
from voiceglm.samples.pages import (
    DECODER,
    INDEX,
    About,
    comparison_file,
    conversations_page,
    decoder_page,
    question_file,
    reply_file,
)

DATA = "samples.json"
_RATE = 24_000  # hertz, of the files; Opus knows few
_COMPRESSION = 0.8  # of 1; about 40 kbit/s of speech


def publish(
    folder: Path, about: About, played: Sequence[Played], comparisons: Sequence[Comparison]
) -> int:
    """Write everything, whole or not at all.

    Args:
        folder: A new one, or an empty one.
        about: Where the samples come from.
        played: The conversations.
        comparisons: What the decoder does to speech.

    Returns:
        How many bytes there are.

    Raises:
        OutputError: If the folder is in the way or cannot be written.
    """
    with new_folder(folder) as draft:
        for name, samples, rate in _sounds(played, comparisons):
            (draft / name).parent.mkdir(exist_ok=True)
            write_file(draft / name, ogg_bytes(samples, rate))
        write_file(draft / INDEX, conversations_page(about, played))
        write_file(draft / DECODER, decoder_page(about, comparisons))
        data = json.dumps(_data(about, played, comparisons), ensure_ascii=False, indent=1)
        write_file(draft / DATA, f"{data}\n".encode())
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def ogg_bytes(samples: Tensor, sample_rate: int) -> bytes:
    """Return (num_samples,) at ``sample_rate`` hertz as an Ogg file with Opus in it."""
    file = io.BytesIO()
    resampled = resample(samples.cpu(), sample_rate, _RATE).clamp(-1, 1)
    soundfile.write(
        file,
        resampled.numpy(),
        _RATE,
        format="OGG",
        subtype="OPUS",
        compression_level=_COMPRESSION,
    )
    return file.getvalue()


def model_digest(model: str) -> str:
    """Return what tells a model from others: twelve digits of a SHA-256 over all of its files.

    Raises:
        CheckpointError: If there is no such model.
    """
    listed = json.dumps(checksums(resolve(model)), sort_keys=True)
    return hashlib.sha256(listed.encode()).hexdigest()[:12]


def _sounds(
    played: Iterable[Played], comparisons: Iterable[Comparison]
) -> Iterator[tuple[str, Tensor, int]]:
    """Give every sound: its file, (num_samples,), hertz."""
    for one in played:
        for turn, reply in enumerate(one.replies):
            yield question_file(one, turn), reply.said.samples, RATE
            yield reply_file(one, turn), reply.samples, reply.sample_rate
    for comparison in comparisons:
        for way, samples in comparison.sounds.items():
            yield comparison_file(comparison, way), samples, comparison.sample_rate


def _data(
    about: About, played: Sequence[Played], comparisons: Sequence[Comparison]
) -> dict[str, Any]:
    turns = [
        {
            "scene": one.scene.name,
            "title": one.scene.title,
            "voice": one.scene.voice,
            "turn": turn,
            "question": reply.said.text,
            "speaker": reply.said.speaker,
            "language": reply.said.language,
            "skill": reply.said.skill,
            "style_expected": list(reply.said.style),
            "style": list(reply.style),
            "credit": one.scene.credit,
            "expected": reply.said.answer,
            "reply": reply.text,
            "right": reply.is_right,
            "audio": [question_file(one, turn), reply_file(one, turn)],
        }
        for one in played
        for turn, reply in enumerate(one.replies)
    ]
    sentences = [
        {
            "sentence": one.name,
            "text": one.text,
            "language": one.language,
            "assistant": one.assistant,
            "figures": {f"{made} to {target}": row for (made, target), row in one.figures.items()},
            "audio": [comparison_file(one, way) for way in one.sounds],
        }
        for one in comparisons
    ]
    return {**asdict(about), "turns": turns, "sentences": sentences}
