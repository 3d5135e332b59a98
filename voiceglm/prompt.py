r"""A conversation, and every kind of training example, as ids in the GLM-4-Voice wire format.

A first turn is, with nothing between its parts and ``\n`` a newline character,

    [gMASK]<sop><|system|>\n{SYSTEM}<|user|>\n{INPUT}<|assistant|>streaming_transcription\n{REPLY}

and each further turn appends from ``<|user|>`` on, so the id that ends a reply is the one that
opens the next turn. A spoken INPUT is ``<|begin_of_audio|>{speech}<|end_of_audio|>``, a written
one is its text; REPLY is interleaved (``voiceglm.interleave``).

Pre-training documents all start with ``[gMASK]<sop>``. What is in ``( )`` is learned, the rest
is given:

    asr          <|begin_of_audio|>{speech}<|end_of_audio|>
                 <|begin_of_transcription|>({text}<|end_of_transcription|>)
    tts          <|begin_of_transcription|>{text}<|end_of_transcription|>
                 <|begin_of_audio|>({speech}<|end_of_audio|>)
    streaming    ({text and speech interleaved 13 : 26}<|endoftext|>)
    interleaved  ({segment}{segment}...<|endoftext|>), each segment all text or all speech
    text         ({text}<|endoftext|>)
    dialogue     the turns above; each reply and the id that ends it are learned, of a reply without
                 speech only its text: to learn its end would be to learn to fall silent

A reply of ``streaming`` and ``dialogue`` may have a ``style``, names of the vocabulary's: their ids
are written before its text and count as text.

Of what is learned a row may ask for one half (``learn``): ``"text"`` leaves every speech id out,
``"speech"`` everything else, so the special ids, that of the end of a turn too, are text. Seen once
each, the two halves are the two uses that GLM-4-Voice (arXiv 2412.02612) makes of a dialogue.

A conversation is kept as ids and never tokenised again: a character cut at a stretch border would
not survive that.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from voiceglm.errors import ConfigError
from voiceglm.interleave import REPLY, Layout, interleave, keeps_ahead
from voiceglm.vocabulary import Vocabulary

IGNORED = -100
"""The label of an id that is given, not learned."""

Mode = Literal["speech", "text"]
Learn = Literal["both", "text", "speech"]
Segment = tuple[list[int], bool]  # ids, learned


@dataclass(frozen=True)
class PromptFormat:
    """The fixed texts of the wire format.

    Attributes:
        system_speech: The system text of a conversation that opens with speech.
        system_text: The one of a conversation that opens with text.
        reply_prefix: What follows ``<|assistant|>``.
        follows_instructions: Whether a system text may go on with wishes of the user.
    """

    system_speech: str = "Listen and answer."
    system_text: str = "Read and answer."
    reply_prefix: str = "streaming_transcription\n"
    follows_instructions: bool = False

    @classmethod
    def glm4voice(cls) -> "PromptFormat":
        """Return the texts the released model was trained with (docs/porting.md, prompt)."""
        system = (
            "User will provide you with a {} instruction. Do it step by step. First, think about "
            "the instruction and respond in a interleaved manner, with 13 text token followed by "
            "26 audio tokens."
        )
        # The blank at the end of the spoken variant is part of the released format.
        return cls(system.format("speech") + " ", system.format("text"), follows_instructions=True)

    def texts(self) -> tuple[str, ...]:
        """Return every fixed text as it is tokenised, for the training of a text tokenizer."""
        return (f"\n{self.system_speech}", f"\n{self.system_text}", self.reply_prefix, "\n")


@dataclass(frozen=True)
class Example:
    """One training document.

    Attributes:
        ids: The document.
        labels: Its ids where they are learned, ``IGNORED`` elsewhere; not shifted.
    """

    ids: Sequence[int]
    labels: Sequence[int]

    def compact(self) -> "Example":
        """Return the same document in an eighth of the memory."""
        return Example(array("i", self.ids), array("i", self.labels))

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self.ids)


class PromptWriter:
    """Writes prompts and training examples over one vocabulary.

    Args:
        vocabulary: Where ids lie.
        encode: Text to text ids, adding nothing.
        prompt_format: The fixed texts.
        layout: How replies alternate.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        encode: Callable[[str], list[int]],
        prompt_format: PromptFormat,
        layout: Layout = REPLY,
    ):
        self.vocabulary = vocabulary
        self._encode = encode
        self._format = prompt_format
        self._layout = layout

    # conversations

    def opening(self, mode: Mode, instructions: str = "") -> list[int]:
        """Return the ids before the first turn; they stay when the mode changes later.

        Args:
            mode: How the first turn comes.
            instructions: Put behind the system text if the model follows any, else left out.
        """
        v, texts = self.vocabulary, self._format
        system = texts.system_speech if mode == "speech" else texts.system_text
        if instructions and texts.follows_instructions:
            system = f"{system.rstrip()} {instructions}"
        return [v.gmask, v.sop, v.system, *self._encode(f"\n{system}")]

    def spoken(self, codes: Iterable[int]) -> list[int]:
        """Return what the user says."""
        return [self.vocabulary.user, *self._encode("\n"), *self._audio(codes)]

    def written(self, text: str) -> list[int]:
        """Return what the user writes."""
        return [self.vocabulary.user, *self._encode(f"\n{text}")]

    def wish(self, text: str) -> list[int]:
        """Return a system text between two turns; nothing if the model follows none."""
        if not self._format.follows_instructions:
            return []
        return [self.vocabulary.system, *self._encode(f"\n{text}")]

    def reply_opening(self) -> list[int]:
        """Return what stands before every reply."""
        return [self.vocabulary.assistant, *self._encode(self._format.reply_prefix)]

    def speech_turn(self, codes: Iterable[int]) -> list[int]:
        """Return a spoken turn of the user, up to where the reply begins."""
        return [*self.spoken(codes), *self.reply_opening()]

    def begin_speech_turn(self, codes: Iterable[int]) -> list[int]:
        """Return a spoken turn whose end has not been heard: the beginning of any that goes on."""
        return self.spoken(codes)[:-1]

    def text_turn(self, text: str) -> list[int]:
        """Return a written turn of the user, up to where the reply begins."""
        return [*self.written(text), *self.reply_opening()]

    def reply(self, text: str, codes: Iterable[int], style: Iterable[str] = ()) -> list[int]:
        """Return a reply, without the id that ends it.

        Args:
            text: What it says.
            codes: How it says it.
            style: Names of the style it is spoken in, see ``voiceglm.style.Style.names``.

        Raises:
            ConfigError: If the speech ends before the text is written: no such layout exists; or if
                the vocabulary lacks a style.
        """
        spoken = self.speech(codes)
        written = [*map(self.vocabulary.style_id, style), *self._encode(text)]
        if spoken and not keeps_ahead(len(written), len(spoken), self._layout):
            raise ConfigError(
                f"a reply of {len(written)} text ids needs more than {len(spoken)} speech codes "
                f"to keep {self._layout.text_per_stretch} : {self._layout.speech_per_stretch}; "
                f"its text is {text!r}"
            )
        return interleave(written, spoken, self._layout)

    def transcription_prompt(self, codes: Iterable[int]) -> list[int]:
        """Return the prompt after which the model writes what was said."""
        v = self.vocabulary
        return [v.gmask, v.sop, *self._audio(codes), v.begin_of_transcription]

    def speaking_prompt(self, text: str) -> list[int]:
        """Return the prompt after which the model says what is written."""
        v = self.vocabulary
        written = [v.begin_of_transcription, *self._encode(text), v.end_of_transcription]
        return [v.gmask, v.sop, *written, v.begin_of_audio]

    def speech(self, codes: Iterable[int]) -> list[int]:
        """Return the ids of speech codes."""
        return [self.vocabulary.speech_id(code) for code in codes]

    # training examples

    def example(self, row: Mapping[str, Any]) -> Example:
        """Write one row of a training file (``voiceglm.train`` lists the kinds).

        Raises:
            ConfigError: If the row is of no known kind, lacks what its kind needs, or has nothing
                of the half that is to be learned.
        """
        writers: dict[str, Callable[[Mapping[str, Any]], list[Segment]]] = {
            "asr": self._asr,
            "tts": self._tts,
            "streaming": self._streaming,
            "interleaved": self._interleaved,
            "text": self._text,
            "dialogue": self._dialogue,
        }
        kind = row.get("kind")
        if kind not in writers:
            raise ConfigError(f"unknown kind of training row {kind!r}; known: {sorted(writers)}")
        try:
            segments = writers[kind](row)
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"a training row of kind {kind!r} lacks {error}") from None
        return self._view(_join(segments), row.get("learn", "both"))

    def num_given(self, kind: str, ids: Sequence[int]) -> int:
        """Return how many ids of a document of one piece of learning are given, not learned.

        Args:
            kind: ``asr`` or ``tts``; any other is learned whole.
            ids: As :meth:`example` wrote them.

        Raises:
            ConfigError: If this is no document of that kind.
        """
        v = self.vocabulary
        last = {"asr": v.begin_of_transcription, "tts": v.begin_of_audio}.get(kind, v.sop)
        if last not in ids:
            raise ConfigError(f"a document of {len(ids)} ids is none of kind {kind!r}")
        return ids.index(last) + 1

    def _view(self, example: Example, learn: object) -> Example:
        """Leave one half of the labels, text or speech, or both."""
        if learn not in get_args(Learn):
            raise ConfigError(
                f"learn of a training row must be one of {', '.join(get_args(Learn))}, "
                f"got {learn!r}"
            )
        if learn == "both":
            return example
        wanted = learn == "speech"
        labels = [
            label if self.vocabulary.is_speech(label) == wanted else IGNORED
            for label in example.labels
        ]
        if all(label == IGNORED for label in labels):
            raise ConfigError(f"a training row has no {learn} to be learned")
        return Example(example.ids, labels)

    def _asr(self, row: Mapping[str, Any]) -> list[Segment]:
        end = self.vocabulary.end_of_transcription
        answer = [*self._encode(row["text"]), end]
        return [(self.transcription_prompt(row["codes"]), False), (answer, True)]

    def _tts(self, row: Mapping[str, Any]) -> list[Segment]:
        answer = [*self.speech(row["codes"]), self.vocabulary.end_of_audio]
        return [(self.speaking_prompt(row["text"]), False), (answer, True)]

    def _streaming(self, row: Mapping[str, Any]) -> list[Segment]:
        return self._document(self.reply(row["text"], row["codes"], _style(row)))

    def _interleaved(self, row: Mapping[str, Any]) -> list[Segment]:
        ids: list[int] = []
        for segment in row["segments"]:
            spoken = "codes" in segment
            ids += self.speech(segment["codes"]) if spoken else self._encode(segment["text"])
        return self._document(ids)

    def _text(self, row: Mapping[str, Any]) -> list[Segment]:
        return self._document(self._encode(row["text"]))

    def _dialogue(self, row: Mapping[str, Any]) -> list[Segment]:
        turns: Sequence[Mapping[str, Any]] = row["turns"]
        if not turns or len(turns) % 2:
            raise ConfigError("a dialogue alternates the user's turns and replies, ending in one")
        mode: Mode = "speech" if "codes" in turns[0] else "text"
        opening = self.opening(mode, row.get("instructions") or "")
        segments: list[Segment] = [(opening, False)]
        speaks = False  # the reply before
        for asked, answered in zip(turns[::2], turns[1::2], strict=True):
            spoken = "codes" in asked
            turn = self.speech_turn(asked["codes"]) if spoken else self.text_turn(asked["text"])
            # The <|user|> that opens this turn is what ended the reply before it.
            segments += [(turn[:1], speaks), (turn[1:], False)]
            codes = answered.get("codes", ())
            segments.append((self.reply(answered["text"], codes, _style(answered)), True))
            speaks = len(codes) > 0
        return [*segments, ([self.vocabulary.user], speaks)]

    def _document(self, ids: list[int]) -> list[Segment]:
        v = self.vocabulary
        return [([v.gmask, v.sop], False), ([*ids, v.endoftext], True)]

    def _audio(self, codes: Iterable[int]) -> list[int]:
        return [self.vocabulary.begin_of_audio, *self.speech(codes), self.vocabulary.end_of_audio]


def _style(reply: Mapping[str, Any]) -> Sequence[str]:
    """Return the style of a row's reply; a text would be read letter by letter."""
    style = reply.get("style", ())
    if not isinstance(style, list | tuple):
        raise ConfigError(f"style of a training row must be a list of names, got {style!r}")
    return style


def _join(segments: Iterable[Segment]) -> Example:
    ids: list[int] = []
    labels: list[int] = []
    for piece, learned in segments:
        ids += piece
        labels += piece if learned else [IGNORED] * len(piece)
    return Example(ids, labels)
