"""Where text, special and speech ids lie in the one vocabulary of the language model.

The layout is ``[text | (old) | special | (styles) | (reserved) | speech | (padding)]``:

    0                 .. text_size - 1                    byte-level BPE pieces
    text_size         .. special_start_id - 1             other ids of a text model that was grown,
                                                          never produced; none otherwise
    special_start_id  .. special_start_id + 17            the special ids below, in order
    special_start_id + 18 ..                              names of speaking styles, if there are any
    speech_start_id   .. speech_start_id + num_codes - 1  speech codes
    ...               .. size - 1                         rows that pad the matrices, never produced

Speech ids are arithmetic and never pass through a string: the released text tokenizer lacks a
string for the last code, so anything that formats codes as text breaks it (docs/porting.md).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tokenizers import Tokenizer

from voiceglm.config import build
from voiceglm.errors import ConfigError

SPECIAL_NAMES = (
    "endoftext",
    "mask",
    "gmask",
    "smask",
    "sop",
    "eop",
    "system",
    "user",
    "assistant",
    "observation",
    "begin_of_image",
    "end_of_image",
    "begin_of_video",
    "end_of_video",
    "begin_of_audio",
    "end_of_audio",
    "begin_of_transcription",
    "end_of_transcription",
)
"""Special ids in the order in which GLM-4-Voice numbers them."""


def _special() -> Any:
    return field(init=False, repr=False, compare=False)


@dataclass(frozen=True)
class Vocabulary:
    """The ids of one language model; every special id is an attribute of that name.

    Attributes:
        text_size: Number of text ids; they start at 0.
        num_codes: Number of speech codes, K.
        speech_start_id: The id of code 0.
        size: Rows of the embedding, padding included.
        special_start_id: The first special id; ``None`` for right after the text ids.
        styles: Names of speaking styles; their ids follow the special ids.
    """

    text_size: int
    num_codes: int
    speech_start_id: int
    size: int
    special_start_id: int | None = None
    styles: tuple[str, ...] = ()

    endoftext: int = _special()
    gmask: int = _special()
    sop: int = _special()
    system: int = _special()
    user: int = _special()
    assistant: int = _special()
    observation: int = _special()
    begin_of_audio: int = _special()
    end_of_audio: int = _special()
    begin_of_transcription: int = _special()
    end_of_transcription: int = _special()

    def __post_init__(self) -> None:
        """Check that the ranges do not overlap, then number the special ids."""
        if self.text_size < 1 or self.num_codes < 1:
            raise ConfigError("a vocabulary needs at least one text id and one speech code")
        special_start = self.text_size if self.special_start_id is None else self.special_start_id
        if special_start < self.text_size:
            raise ConfigError(
                f"special ids start at {special_start}, inside the {self.text_size} text ids"
            )
        object.__setattr__(self, "special_start_id", special_start)
        if len({*self.styles}) < len(self.styles):
            raise ConfigError(f"a style of the vocabulary is named twice: {self.styles}")
        special_end = special_start + len(SPECIAL_NAMES) + len(self.styles)
        if self.speech_start_id < special_end:
            raise ConfigError(
                f"speech ids start at {self.speech_start_id}, inside the text and special ids "
                f"that end at {special_end}; raise speech_start_id"
            )
        speech_end = self.speech_start_id + self.num_codes
        if self.size < speech_end:
            raise ConfigError(f"speech ids end at {speech_end}, past size {self.size}; raise size")
        for offset, name in enumerate(SPECIAL_NAMES):
            object.__setattr__(self, name, special_start + offset)

    @classmethod
    def compact(
        cls, text_size: int, num_codes: int, *, styles: tuple[str, ...] = (), multiple: int = 64
    ) -> "Vocabulary":
        """Lay ids out without gaps, the size rounded up to a ``multiple`` (faster products)."""
        start = text_size + len(SPECIAL_NAMES) + len(styles)
        size = -(-(start + num_codes) // multiple) * multiple
        return cls(text_size, num_codes, start, size, styles=styles)

    @classmethod
    def glm4voice(cls) -> "Vocabulary":
        """Return the layout of the released GLM-4-Voice (docs/porting.md, vocabulary)."""
        return cls(text_size=151_329, num_codes=16_384, speech_start_id=152_353, size=168_960)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Vocabulary":
        """Build from what :meth:`to_dict` returned."""
        return build(cls, values, where="vocabulary.")

    def to_dict(self) -> dict[str, Any]:
        """Return what defines the layout."""
        names = ["text_size", "num_codes", "speech_start_id", "size"]
        if self.special_start_id != self.text_size:
            names.append("special_start_id")
        values = {name: asdict(self)[name] for name in names}
        return {**values, "styles": list(self.styles)} if self.styles else values

    @property
    def special_ids(self) -> range:
        """The special ids, in the order of ``SPECIAL_NAMES``."""
        return range(self.endoftext, self.endoftext + len(SPECIAL_NAMES))

    @property
    def style_ids(self) -> range:
        """The ids of the styles, in the order of ``styles``; none in the released family."""
        start = self.special_ids.stop
        return range(start, start + len(self.styles))

    @property
    def speech_ids(self) -> range:
        """The ids of the speech codes."""
        return range(self.speech_start_id, self.speech_start_id + self.num_codes)

    def digest(self, text_tokenizer: Tokenizer) -> str:
        """Return a SHA-256 of what every id means: the same where ids can be exchanged."""
        pieces = sorted(text_tokenizer.get_vocab().items())
        return hashlib.sha256(json.dumps([self.to_dict(), pieces]).encode()).hexdigest()

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end a reply: ``<|endoftext|>``, ``<|user|>``, ``<|observation|>``."""
        return (self.endoftext, self.user, self.observation)

    def speech_id(self, code: int) -> int:
        """Return the id of a speech code in [0, num_codes).

        Raises:
            ConfigError: If there is no such code.
        """
        if not 0 <= code < self.num_codes:
            raise ConfigError(f"speech code {code} is outside 0..{self.num_codes - 1}")
        return self.speech_start_id + code

    def code(self, id_: int) -> int:
        """Return the speech code of a speech id.

        Raises:
            ConfigError: If the id is not a speech id.
        """
        if not self.is_speech(id_):
            end = self.speech_start_id + self.num_codes - 1
            raise ConfigError(f"id {id_} is not speech ({self.speech_start_id}..{end})")
        return id_ - self.speech_start_id

    def is_speech(self, id_: int) -> bool:
        """Say whether an id is a speech code."""
        return self.speech_start_id <= id_ < self.speech_start_id + self.num_codes

    def style_id(self, name: str) -> int:
        """Return the id of a style.

        Raises:
            ConfigError: If the vocabulary has no style of that name.
        """
        if name not in self.styles:
            known = ", ".join(self.styles) or "none"
            raise ConfigError(f"the vocabulary has no style {name!r}; it has {known}")
        return self.style_ids[self.styles.index(name)]

    def style_name(self, id_: int) -> str:
        """Return the style of an id.

        Raises:
            ConfigError: If the id is no style.
        """
        if not self.is_style(id_):
            raise ConfigError(f"id {id_} is no style")
        return self.styles[id_ - self.style_ids.start]

    def is_style(self, id_: int) -> bool:
        """Say whether an id is a style."""
        return id_ in self.style_ids

    def is_text(self, id_: int) -> bool:
        """Say whether an id is a piece of text, special ids excluded."""
        return 0 <= id_ < self.text_size
