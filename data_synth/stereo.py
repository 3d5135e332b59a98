"""Reader of stereo dialogues: one file a dialogue, one speaker a channel.

Beside ``call.wav`` may lie ``call.json`` (a list of turns, or ``{"turns": [...]}``) or
``call.jsonl`` (a turn a line):

    {"channel": 0, "start": 0.4, "end": 2.1, "text": "What is two plus two?"}
    {"role": "assistant", "start": 2.5, "end": 3.9, "text": "It is four."}
    {"role": "system", "text": "Be brief."}

``start`` and ``end`` are seconds. A channel without a role has the role of its place in
:data:`CHANNEL_ROLES`, and a role without a channel the channel. Without such a file the turns are
found by how loud each channel is, and have no text.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from data_synth.intake import Intake, one_line, recordings
from data_synth.levels import dbfs, frame_powers, frame_size, read_blocks
from data_synth.turns import TurnRules, find_turns
from voiceglm.audio import AudioInfo, probe_audio
from voiceglm.errors import AudioError
from voiceglm.manifest import ROLES, Utterance

CHANNEL_ROLES = ("user", "assistant")
"""Who is on which channel, unless a turn says otherwise."""

MAX_SIDECAR_BYTES = 1 << 26

_SLACK_SECONDS = 0.1  # how far a transcript's times may run past the end of the sound
_NEVER = 1e9  # seconds; JSON numbers may be larger than any float
_SAME_SOUND = 0.5  # correlation of the channels of one microphone recorded twice
_PROBED_SECONDS = 30


class _BadTurnError(Exception):
    """A turn that cannot be used; says why."""


@dataclass(frozen=True)
class _Turn:
    """One turn as its file tells it, checked."""

    start: float  # seconds; a written turn has the time of what it precedes
    end: float
    channel: int | None  # None: written, not said
    role: str
    text: str | None
    speaker: str = ""


def read_dialogues(source: Path, intake: Intake) -> Iterator[Utterance]:
    """Read every two-channel recording below a folder, turn by turn in the order of time.

    Turns are numbered in that order; one that is left out leaves a gap in the numbers.
    """
    for folder, names in intake.folders(source):
        for name in recordings(names):
            path = folder / name
            info = intake.probe(path)
            if info is None:
                continue
            if info.num_channels != len(CHANNEL_ROLES):
                reason = f"recording has {info.num_channels} channels, expected 2"
                intake.reject(reason, intake.place(path))
                continue
            yield from _dialogue(path, info, intake)


def is_dialogue(path: Path) -> bool:
    """Say whether a recording seems to hold one speaker a channel, or one microphone twice.

    It does if its turns lie beside it, or if its channels differ.
    """
    try:
        if probe_audio(path).num_channels != len(CHANNEL_ROLES):
            return False
        if _sidecar(path) is not None:
            return True
        rate = probe_audio(path).sample_rate
        first = next((block for block, _ in read_blocks(path, 0, rate * _PROBED_SECONDS)), None)
    except AudioError:
        return False
    if first is None or not (first.std(axis=0) > 0).all():
        return False
    return bool(abs(np.corrcoef(first.T)[0, 1]) < _SAME_SOUND)


def _dialogue(path: Path, info: AudioInfo, intake: Intake) -> Iterator[Utterance]:
    sidecar = _sidecar(path)
    turns = _listen(path, intake) if sidecar is None else _told(sidecar, info, intake)
    name = path.relative_to(intake.root).with_suffix("").as_posix()
    for number, (turn, where) in enumerate(turns):
        if not intake.accepts_text(turn.text, where):
            continue
        start = round(turn.start * info.sample_rate)
        count = min(round(turn.end * info.sample_rate), info.num_samples) - start
        utterance = Utterance(path=None, text=turn.text, role=turn.role, dialogue=name, turn=number)
        if turn.channel is not None:
            utterance = replace(
                utterance,
                path=path,
                start=start,
                num_samples=count,
                channel=turn.channel,
                speaker=turn.speaker,
                extra={"seconds": round(count / info.sample_rate, 3)},
            )
        yield utterance


def _listen(path: Path, intake: Intake) -> Sequence[tuple[_Turn, str]]:
    """Find the turns of a recording that nobody wrote down."""
    where = intake.place(path)
    try:
        powers = [frame_powers(block, frame_size(rate)) for block, rate in read_blocks(path)]
    except AudioError as error:
        intake.reject("recording cannot be read", str(error))
        return []
    found = find_turns(dbfs(np.concatenate(powers)), TurnRules()) if powers else []
    if not found:
        intake.reject("recording in which nobody speaks", where)
    return [
        (_Turn(one.start, one.end, one.channel, CHANNEL_ROLES[one.channel], None), where)
        for one in found
    ]


def _told(sidecar: Path, info: AudioInfo, intake: Intake) -> Sequence[tuple[_Turn, str]]:
    """Read the turns that lie beside a recording; bad ones are counted."""
    turns: list[tuple[_Turn, str]] = []
    for row, where in _sidecar_rows(sidecar, intake):
        try:
            turns.append((_turn(row, info), where))
        except _BadTurnError as error:
            intake.reject(str(error), where)
    return sorted(turns, key=lambda pair: (pair[0].start, pair[0].channel or 0))


def _sidecar(path: Path) -> Path | None:
    choices = (path.with_suffix(suffix) for suffix in (".jsonl", ".json"))
    return next((choice for choice in choices if choice.is_file()), None)


def _sidecar_rows(sidecar: Path, intake: Intake) -> Iterator[tuple[Any, str]]:
    """Give every turn of a file as it stands there, and where that is."""
    if sidecar.stat().st_size > MAX_SIDECAR_BYTES:
        intake.reject(f"turns fill over {MAX_SIDECAR_BYTES:,} bytes", intake.place(sidecar))
    elif sidecar.suffix == ".jsonl":
        for line in intake.lines(sidecar):
            where = intake.place(sidecar, line.number)
            yield from ((row, where) for row in _json(line.text, intake, where))
    else:
        text = "\n".join(line.text for line in intake.lines(sidecar))
        where = intake.place(sidecar)
        for content in _json(text, intake, where):
            rows = content.get("turns") if isinstance(content, dict) else content
            if not isinstance(rows, list):
                intake.reject("turns are no list", where)
                continue
            yield from ((row, f"{where} turn {n}") for n, row in enumerate(rows, start=1))


def _json(text: str, intake: Intake, where: str) -> Iterator[Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        intake.reject("turns are not JSON", where)
    else:
        yield content


def _turn(row: Any, info: AudioInfo) -> _Turn:
    """Check one turn.

    Raises:
        _BadTurnError: Saying what is wrong with it.
    """
    if not isinstance(row, Mapping):
        raise _BadTurnError("turn is no JSON object")
    channel, role = _side(row)
    text, speaker = row.get("text"), row.get("speaker", "")
    if not isinstance(text, str | None) or not isinstance(speaker, str):
        raise _BadTurnError("text or speaker of a turn is no text")
    text = None if text is None else one_line(text)
    if channel is None:
        if not text:
            raise _BadTurnError("written turn without a text")
        start = row.get("start")
        return _Turn(start if _is_time(start) else 0.0, 0.0, None, role, text)
    start, end = row.get("start"), row.get("end")
    if not (_is_time(start) and _is_time(end)):
        raise _BadTurnError("start or end of a turn is no time in seconds")
    if not start < min(end, info.seconds) or end > info.seconds + _SLACK_SECONDS:
        raise _BadTurnError("times of a turn are not inside its recording")
    return _Turn(start, end, channel, role, text, speaker)


def _side(row: Mapping[str, Any]) -> tuple[int | None, str]:
    """Return who speaks, and on which channel; None where it is written."""
    channel, role = row.get("channel"), row.get("role")
    if channel is None and role is None:
        raise _BadTurnError("turn has neither a channel nor a role")
    if role not in (None, *ROLES):
        raise _BadTurnError(f"role of a turn is none of {', '.join(ROLES)}")
    if channel is None:
        return (CHANNEL_ROLES.index(role), role) if role in CHANNEL_ROLES else (None, str(role))
    if type(channel) is not int or channel not in range(len(CHANNEL_ROLES)):
        raise _BadTurnError("channel of a turn is neither 0 nor 1")
    return channel, role or CHANNEL_ROLES[channel]


def _is_time(value: Any) -> TypeGuard[float]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < _NEVER
