"""Recordings of people: which are used, and on which side of the one split by speaker.

Training and evaluation ask here, so that nobody who is measured was ever trained on.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from data_synth.world.english import number
from data_synth.world.orders import reply_for
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, read_manifest

MAX_SECONDS = 10.0
LANGUAGES = ("en", "zh")
_HELD_OUT_SHARE = 8  # one speaker in this many
_HELD_OUT_ORDERS = 5  # one order in this many, whose speakers nobody named
_HELD_OUT_SPEAKERS = ("nicolas", "p225")  # of the spoken digits, of VCTK
_HELD_OUT_SETS = ("aishell_test_excerpt",)
# The only speaker of hundreds of clips in a language that few speak here; others are measured.
_TRAINED_SPEAKERS = ("S0150", "Yue_Tan")
_DIGIT = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_\d+\.wav")


def people(
    manifests: Iterable[Path], *, held_out: bool, languages: Collection[str] = LANGUAGES
) -> list[Utterance]:
    """Return the usable recordings on one side of the split.

    Clips without a text, with digits in it (as in toned pinyin), or longer than ten seconds are
    left out.

    Raises:
        ConfigError: If a manifest cannot be read.
    """
    clips = (clip for manifest in manifests for clip in read_manifest(manifest))
    return [
        clip
        for clip in clips
        if clip.language in languages and _is_usable(clip) and is_held_out(clip) == held_out
    ]


def order_clips(manifests: Iterable[Path], *, held_out: bool) -> list[Utterance]:
    """Return people's orders of coffee on one side of the split, each with its ``answer``.

    An order is a recording with ``slots``, whatever was said; nobody wrote that down.

    Raises:
        ConfigError: If a manifest cannot be read, or an order in it cannot be repeated.
    """
    clips = (clip for manifest in manifests for clip in read_manifest(manifest))
    return [
        replace(clip, extra={**clip.extra, "answer": _answer(clip), "skill": "orders"})
        for clip in clips
        if clip.path is not None and "slots" in clip.extra and is_held_out(clip) == held_out
    ]


def _answer(order: Utterance) -> str:
    try:
        return reply_for(order.extra["slots"])
    except (ConfigError, TypeError, AttributeError) as error:
        raise ConfigError(f"{order.recording.name} is labelled with no order: {error}") from None


def digit_clips(folder: Path, *, held_out: bool) -> list[Utterance]:
    """Return the English digits that people of one side of the split say, one a recording.

    Args:
        folder: Files as those of the Free Spoken Digit Dataset: ``DIGIT_SPEAKER_INDEX.wav``.
        held_out: Which side.

    Raises:
        ConfigError: If no file in the folder is called so.
    """
    named = ((path, _DIGIT.fullmatch(path.name)) for path in sorted(folder.glob("*.wav")))
    clips = [
        Utterance(path, number(int(name["digit"])), speaker=name["speaker"], language="en")
        for path, name in named
        if name
    ]
    if not clips:
        raise ConfigError(f"{folder} holds no spoken digits: expected DIGIT_SPEAKER_INDEX.wav")
    return [clip for clip in clips if is_held_out(clip) == held_out]


def is_held_out(clip: Utterance) -> bool:
    """Say whether a recording is kept for evaluation: a fixed rule on who speaks.

    Where nobody says who speaks, a clip is its own speaker; of orders one in five is held out.
    """
    if "slots" in clip.extra:  # by the name alone, the same in every format they are published in
        return _place(clip.recording.stem) % _HELD_OUT_ORDERS == 0
    if clip.speaker in _TRAINED_SPEAKERS:
        return False
    if clip.speaker in _HELD_OUT_SPEAKERS or clip.extra.get("set") in _HELD_OUT_SETS:
        return True
    who = clip.speaker or clip.recording.name
    return _place(who) % _HELD_OUT_SHARE == 0


def _place(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[0]


def _is_usable(clip: Utterance) -> bool:
    text = clip.text or ""
    short = float(clip.extra.get("seconds", 0.0)) <= MAX_SECONDS
    return clip.path is not None and bool(text) and not any(map(str.isdigit, text)) and short
