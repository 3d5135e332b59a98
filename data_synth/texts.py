"""Lines of text to be spoken, from a file; a line that cannot be spoken says why.

A ``.txt`` file has one text a line. A ``.jsonl`` file has one object a line: ``text`` and, if
wanted, ``voice`` and ``language``; other fields are kept.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_synth.number_words import Language
from data_synth.plain_text import encoding_trouble
from data_synth.speak import Line
from data_synth.speakable import speakable
from data_synth.tts import Voice, held_out_voices, random_voice, training_voices
from voiceglm.errors import ConfigError

MOST_CHARACTERS = 4_096
"""In one line: five minutes of speech, and what OpenAI's endpoint takes."""

SHOWN = 200
"""Characters that are kept of a line that is left out."""

GROUPS = {"training": training_voices, "held-out": held_out_voices}
_OURS = ("path", "start", "num_samples", "speaker", "written")  # a manifest's own fields
_READ_AS: dict[str, Language] = {"en": "en", "zh": "zh", "cmn": "zh", "yue": "zh"}


@dataclass(frozen=True)
class LeftOut:
    """A line that is not spoken."""

    number: int  # of the line in its file, from 1
    reason: str
    text: str = ""  # its beginning

    def row(self) -> dict[str, Any]:
        """Return it as a row of ``left_out.jsonl``."""
        return {"line": self.number, "reason": self.reason, "text": self.text}


@dataclass(frozen=True)
class Written:
    """A line as it is in the file."""

    number: int  # from 1
    text: str
    voice: str | None = None
    language: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SpeechConfig:
    """How lines are spoken."""

    voices: tuple[str, ...]
    """Names, or groups of espeak-ng's: ``training``, ``held-out``."""
    language: str = "en"
    """Of lines that do not say theirs."""
    sample_rate: int = 22_050
    """Of the recordings, in hertz."""
    seed: int = 0
    """With a line's number it decides the voice."""
    normalize: bool = True
    """Whether numbers and symbols are written as words first."""

    def __post_init__(self) -> None:
        if not 1_000 <= self.sample_rate <= 768_000:
            raise ConfigError(f"cannot speak at {self.sample_rate} Hz, expected 1,000 to 768,000")
        if self.normalize and read_as(self.language) is None:
            raise ConfigError(
                f"numbers can be written as words in en and zh, not in {self.language!r};"
                " add --no-normalize"
            )


def read_as(language: str) -> Language | None:
    """Return the language in which numbers are read, of a tag such as ``en-GB`` or ``cmn``."""
    return _READ_AS.get(language.lower().replace("_", "-").partition("-")[0])


def fingerprint(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file of texts and how many lines it has, empty ones left out.

    Raises:
        ConfigError: If it cannot be read or holds no text.
    """
    digest, count = hashlib.sha256(), 0
    for line in _lines(path):
        digest.update(line)
        count += bool(line.strip())
    if not count:
        raise ConfigError(f"{path} holds no text to speak")
    return digest.hexdigest(), count


def read_texts(path: Path) -> Iterator[Written | LeftOut]:
    """Read every line that is not empty.

    Raises:
        ConfigError: If the file cannot be read.
    """
    parse = _parse_json if path.suffix == ".jsonl" else _parse_text
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            yield parse(number, line.strip(b"\r\n"))


def prepare(written: Written | LeftOut, config: SpeechConfig) -> Line | LeftOut:
    """Decide what is said, and by whom.

    The voice follows from the seed and the number of the line alone.
    """
    if isinstance(written, LeftOut):
        return written
    language = written.language or config.language
    reading = read_as(language)
    reason = _why_not(written.text)
    if config.normalize and reading is None:
        reason = reason or f"numbers cannot be written as words in {language!r}"
    said = speakable(written.text, reading) if config.normalize and not reason else written.text
    reason = reason or _why_not(said)
    if reason:
        return LeftOut(written.number, reason, written.text[:SHOWN])
    extra = {name: value for name, value in written.extra.items() if name not in _OURS}
    if said != written.text:
        extra["written"] = written.text
    voice = Voice(written.voice) if written.voice else _draw(written.number, language, config)
    return Line(said, voice, extra, language)


def _draw(number: int, language: str, config: SpeechConfig) -> Voice:
    rng = random.Random(f"{config.seed}/{number}")
    name = rng.choice(config.voices)
    return random_voice(rng, _group(name, language)) if name in GROUPS else Voice(name)


def _group(name: str, language: str) -> Sequence[str]:
    return GROUPS[name]("en" if language.lower().startswith("en") else language)


def _why_not(text: str) -> str | None:
    if len(text) > MOST_CHARACTERS:
        return f"{len(text):,} characters, over {MOST_CHARACTERS:,}; cut it into sentences"
    if not any(c.isalnum() for c in text):
        return "nothing to say"
    return encoding_trouble(text)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield lines with their ends, without the mark some editors put before the first."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file):
                yield line if number else line.removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def _parse_text(number: int, line: bytes) -> Written | LeftOut:
    try:
        return Written(number, line.decode())
    except UnicodeDecodeError:
        return LeftOut(number, "not UTF-8", line[:SHOWN].decode(errors="replace"))


def _parse_json(number: int, line: bytes) -> Written | LeftOut:
    shown = line[:SHOWN].decode(errors="replace")
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeError:
        return LeftOut(number, "not UTF-8", shown)
    except (ValueError, RecursionError):
        return LeftOut(number, "not a JSON object", shown)
    if not isinstance(row, dict):
        return LeftOut(number, "not a JSON object", shown)
    known = {name: row.pop(name, None) for name in ("text", "voice", "language")}
    for name, value in known.items():
        if not isinstance(value, str) and (value is not None or name == "text"):
            return LeftOut(number, f"its {name} is not a string", shown)
    return Written(number, **known, extra=row)
