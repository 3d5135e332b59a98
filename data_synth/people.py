"""Recordings of people, mixed into the training of the tokenizer."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from voiceglm.manifest import Utterance, read_manifest

MAX_SECONDS = 10.0
_HELD_OUT_SHARE = 8  # one speaker in this many


def people(manifests: Iterable[Path], *, held_out: bool) -> list[Utterance]:
    """Return the usable English recordings on one side of a split by speaker.

    Clips without a text, with digits in it, or longer than ten seconds are left out. Where nobody
    says who speaks, a clip is its own speaker.

    Raises:
        ConfigError: If a manifest cannot be read.
    """
    clips = (clip for manifest in manifests for clip in read_manifest(manifest))
    return [clip for clip in clips if _is_usable(clip) and _is_held_out(clip) == held_out]


def _is_usable(clip: Utterance) -> bool:
    text = clip.text or ""
    short = float(clip.extra.get("seconds", 0.0)) <= MAX_SECONDS
    spoken = clip.path is not None and bool(text) and not any(map(str.isdigit, text))
    return clip.language == "en" and spoken and short


def _is_held_out(clip: Utterance) -> bool:
    who = clip.speaker or clip.recording.name
    return hashlib.sha256(who.encode()).digest()[0] % _HELD_OUT_SHARE == 0
