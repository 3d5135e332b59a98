"""A voice is a small file: whom a decoder shall sound like, as one embedding.

The file is JSON. It names the decoder that it was made for, because an embedding means nothing to
any other.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from decoder.speaker import SpeakerEncoder, centre
from voiceglm.audio import check_samples
from voiceglm.config import build
from voiceglm.errors import AudioError, CheckpointError, ConfigError
from voiceglm.files import write_file
from voiceglm.style import TONES

DEFAULT = "default"
"""What the voice is called that a model speaks with if none is asked for."""
SUFFIX = ".json"
MIN_SECONDS = 1.0
CLIPPED_SHARE = 0.01
"""Of samples near the peak; in speech that is not clipped they are a few in a thousand."""
_FORMAT = "voiceglm-voice-1"
_NAME = re.compile(r"\w[\w-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Voice:
    """Whom a decoder shall sound like."""

    name: str
    decoder: str
    """Fingerprint of the decoder it was made for, see ``SpeechDecoder.fingerprint``."""
    sample_rate: int
    """Hertz, of what that decoder speaks."""
    seconds: float
    """Of recordings it was made from."""
    embedding: tuple[float, ...]
    """(S,), length one."""
    tones: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """(S,) each, of the same speaker in a tone of ``voiceglm.style.TONES``."""

    def vector(self) -> Tensor:
        """Return the embedding as (1, S)."""
        return torch.tensor([self.embedding])

    def in_tone(self, tone: str) -> "Voice":
        """Return the voice in a tone; as it is if it was not recorded in that one."""
        return replace(self, embedding=self.tones.get(tone, self.embedding))


@dataclass(frozen=True)
class Recording:
    """One recording of whoever a voice is made of."""

    what: str  # what to call it in messages
    samples: Tensor  # (num_samples,)
    sample_rate: int  # hertz

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.sample_rate


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a voice.

    Raises:
        ConfigError: If it is no file name of letters, digits, ``_`` and ``-``, or taken.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a voice: expected letters, digits, _ and -, "
            "64 at the most"
        )
    if name == DEFAULT:
        raise ConfigError(f"{DEFAULT!r} is what a model speaks with by itself; name it anew")


def make_voice(
    name: str,
    recordings: Sequence[Recording],
    encoder: SpeakerEncoder,
    *,
    sample_rate: int,
    decoder: str,
    tones: Mapping[str, Sequence[Recording]] | None = None,
) -> Voice:
    """Make a voice out of recordings of one speaker.

    Args:
        name: What it will be called.
        recordings: At the rates they were recorded at, for resampling hides clipping.
        encoder: The decoder's.
        sample_rate: Of the decoder, in hertz.
        decoder: Its fingerprint.
        tones: The same speaker in tones of ``voiceglm.style.TONES``, some or none.

    Raises:
        AudioError: If a recording is silent, clipped, too short or no waveform.
        ConfigError: If the name cannot be used, there is no recording, or no such tone.
    """
    check_name(name)
    tones = tones or {}
    unknown = [tone for tone in tones if tone not in TONES]
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is no tone of a voice; known: {', '.join(TONES)}")

    def embedded(of: str, heard: Sequence[Recording]) -> tuple[float, ...]:
        if not heard:
            raise ConfigError(f"the voice {of} needs a recording at least")
        for one in heard:
            check_recording(one)
        embedding = centre([encoder.embed(one.samples, one.sample_rate) for one in heard])
        return tuple(round(value, 7) for value in embedding.tolist())

    return Voice(
        name=name,
        decoder=decoder,
        sample_rate=sample_rate,
        seconds=round(sum(one.seconds for one in recordings), 3),
        embedding=embedded(name, recordings),
        tones={tone: embedded(f"{name}, {tone},", heard) for tone, heard in tones.items()},
    )


def check_recording(recording: Recording) -> None:
    """Refuse a recording that no voice can be made from.

    Raises:
        AudioError: If it is no waveform, silent, under a second long, or clipped.
    """
    samples, what = recording.samples, recording.what
    check_samples(samples, recording.sample_rate, what=what)
    if recording.seconds < MIN_SECONDS:
        raise AudioError(
            f"{what} is too short for a voice: {recording.seconds:.2f} s, "
            f"expected at least {MIN_SECONDS:.0f} s"
        )
    levels = samples.abs()
    at_peak = float((levels > 0.99 * levels.max()).float().mean())
    if at_peak > CLIPPED_SHARE:
        raise AudioError(
            f"{what} is clipped: {100 * at_peak:.0f} % of its samples are at the peak; "
            "record it at a lower level"
        )


def write_voice(voice: Voice, folder: Path) -> Path:
    """Write ``NAME.json``, whole or not at all, and return where it is.

    Raises:
        OutputError: If it cannot be written.
    """
    path = folder / f"{voice.name}{SUFFIX}"
    row = {"format": _FORMAT, **asdict(voice)}
    if not voice.tones:
        del row["tones"]
    write_file(path, (json.dumps(row, ensure_ascii=False) + "\n").encode())
    return path


def read_voice(path: Path) -> Voice:
    """Read a voice's file.

    Raises:
        CheckpointError: If it cannot be read, is damaged, or holds no voice.
    """
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        kind = row.pop("format", None)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path} is no voice: expected a JSON object") from None
    if kind != _FORMAT:
        raise CheckpointError(f"{path} is no voice: its format is {kind!r}, expected {_FORMAT!r}")
    try:
        voice = build(Voice, row)
    except ConfigError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    for embedding in (voice.embedding, *voice.tones.values()):
        length = torch.tensor(embedding).norm()
        if not 0.99 < float(length) < 1.01:  # NaN is not between either
            raise CheckpointError(
                f"{path} is damaged: its embedding has the length {length:.3g}, not 1"
            )
    return voice
