"""``VoiceChat``: one conversation, each reply as events.

The three models are known here only by what they do, so a test replaces any of them by a few lines
and nothing but this file joins them.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from voiceglm.events import AudioDelta, Event, TextDelta, TurnEnd
from voiceglm.language_model import ReplyCache, Sampling
from voiceglm.prompt import PromptWriter
from voiceglm.text_tokenizer import TextStream
from voiceglm.vocabulary import Vocabulary

SAMPLE_RATE = 16_000  # hertz, of what is heard

DEFAULT_SAMPLING = Sampling(temperature=0.0, max_new_ids=1_000)


class Listener(Protocol):
    """Hears."""

    def encode(self, samples: Tensor, sample_rate: int) -> list[int]:
        """Return the codes of (num_samples,) at ``sample_rate`` hertz."""
        ...

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        """Return the words of (num_samples,) at ``sample_rate`` hertz."""
        ...


class Thinker(Protocol):
    """Writes text and speech ids."""

    vocabulary: Vocabulary
    writer: PromptWriter

    def text_stream(self) -> TextStream:
        """Return what turns text ids into text as they come."""
        ...

    def generate(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        *,
        cache: ReplyCache | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[int]:
        """Continue a conversation, one id at a time, a stop id last."""
        ...


class Speaker(Protocol):
    """Speaks."""

    @property
    def sample_rate(self) -> int:
        """Hertz, of what is spoken."""
        ...

    def decode(self, ids: Sequence[int], *, generator: torch.Generator | None = None) -> Tensor:
        """Return the waveform of speech codes, (num_samples,)."""
        ...


class VoiceChat:
    """A conversation. It owns its history and nothing else; models may be shared between chats.

    Args:
        tokenizer: Hears.
        model: Thinks.
        decoder: Speaks.
    """

    def __init__(self, tokenizer: Listener, model: Thinker, decoder: Speaker):
        self.tokenizer = tokenizer
        self.model = model
        self.decoder = decoder
        self._history: list[int] = []
        self._cache = ReplyCache()

    @property
    def history(self) -> tuple[int, ...]:
        """Every id of the conversation so far."""
        return tuple(self._history)

    def reply(
        self, question: Tensor | str, *, sampling: Sampling | None = None, seed: int = 0
    ) -> Generator[Event, None, None]:
        """Answer one utterance. Close the generator to interrupt the reply.

        The conversation keeps what was said until then, and goes on from there.

        Args:
            question: (num_samples,) at 16 kHz, or text.
            sampling: How ids are chosen; by default always the likeliest.
            seed: Of every random choice: the same seed gives the same reply.

        Yields:
            Text and audio as they are ready, then exactly one ``TurnEnd``.

        Raises:
            AudioError: If the recording cannot hold speech; the conversation is unchanged.
            ConfigError: If the conversation is too long for the model.
        """
        sampling = sampling or DEFAULT_SAMPLING
        generator = torch.Generator().manual_seed(seed)
        prompt = self._history + self._turn(question)
        ids = self.model.generate(prompt, sampling, cache=self._cache, generator=generator)
        self._history = prompt
        vocabulary, text = self.model.vocabulary, self.model.text_stream()
        codes: list[int] = []
        held: list[int] = []  # text ids that wait for the rest of a character
        finished = False
        for new in ids:
            if new in vocabulary.stop_ids:
                finished = True
                break
            self._history.append(new)  # kept even if the caller stops listening here
            if vocabulary.is_speech(new):
                codes.append(vocabulary.code(new))
                continue
            held.append(new)
            if written := text.push([new]):
                yield TextDelta(written, tuple(held))
                held = []
        if rest := text.finish():
            yield TextDelta(rest, tuple(held))
        if codes:
            yield AudioDelta(
                self.decoder.decode(codes, generator=generator), self.decoder.sample_rate
            )
        yield TurnEnd("finished" if finished else "length")

    def _turn(self, question: Tensor | str) -> list[int]:
        writer = self.model.writer
        if isinstance(question, str):
            opening = [] if self._history else writer.opening("text")
            return opening + writer.text_turn(question)
        opening = [] if self._history else writer.opening("speech")
        return opening + writer.speech_turn(self.tokenizer.encode(question, SAMPLE_RATE))
