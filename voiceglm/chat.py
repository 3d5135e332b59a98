"""``VoiceChat``: one conversation, heard while it is said and spoken while it is written.

The three models are known here only by what they do, so a test replaces any of them by a few lines
and nothing but this file joins them.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from voiceglm.audio import check_samples
from voiceglm.errors import AudioError, ConfigError
from voiceglm.events import AudioDelta, Event, TextDelta, TurnEnd
from voiceglm.history import History, Turn
from voiceglm.language_model import ReplyCache, Sampling
from voiceglm.prompt import PromptWriter
from voiceglm.text_tokenizer import TextStream
from voiceglm.vocabulary import Vocabulary

SAMPLE_RATE = 16_000  # hertz, of what is heard

DEFAULT_SAMPLING = Sampling(temperature=0.0, max_new_ids=1_000)


class Listener(Protocol):
    """Hears. Its state is a value that the caller holds."""

    @property
    def frame_rate(self) -> float:
        """Codes per second."""
        ...

    def encode(self, samples: Tensor, sample_rate: int) -> list[int]:
        """Return the codes of (num_samples,) at ``sample_rate`` hertz."""
        ...

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        """Return the words of (num_samples,) at ``sample_rate`` hertz."""
        ...

    def start(self) -> Any:
        """Begin to hear."""
        ...

    def step(self, chunk: Tensor, state: Any) -> list[int]:
        """Return the codes that (num_samples,) more make certain."""
        ...

    def finish(self, state: Any) -> list[int]:
        """Return the codes of what is left."""
        ...


class Thinker(Protocol):
    """Writes text and speech ids."""

    vocabulary: Vocabulary
    writer: PromptWriter

    @property
    def context_length(self) -> int:
        """The most ids of a conversation."""
        ...

    def text_stream(self) -> TextStream:
        """Return what turns text ids into text as they come."""
        ...

    def prefill(self, ids: Sequence[int], cache: ReplyCache) -> None:
        """Read the beginning of what ``generate`` will continue."""
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


class Speech(Protocol):
    """Speaks one reply."""

    def push(self, ids: Sequence[int]) -> Tensor:
        """Return the samples that more codes make ready, (num_samples,)."""
        ...

    def finish(self) -> Tensor:
        """Return the samples that were held back."""
        ...


class Speaker(Protocol):
    """Begins to speak."""

    @property
    def sample_rate(self) -> int:
        """Hertz, of what is spoken."""
        ...

    def decode(self, ids: Sequence[int], *, generator: torch.Generator | None = None) -> Tensor:
        """Return the waveform of all the codes of a reply, (num_samples,)."""
        ...

    def start(self, *, generator: torch.Generator | None = None) -> Speech:
        """Return a stream for the codes of one reply."""
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
        self._history = History(model.vocabulary, model.writer)
        self._cache = ReplyCache()
        self._hearing: _Hearing | None = None

    @property
    def history(self) -> tuple[int, ...]:
        """Every id of the conversation that the model still sees."""
        return tuple(self._history.ids())

    def hear(self, chunk: Tensor) -> None:
        """Listen to (num_samples,) at 16 kHz while the user speaks; :meth:`reply` ends the turn.

        What is certain is tokenized and read by the model at once, so that little is left to do
        when the user stops.

        Raises:
            AudioError: If the chunk is no waveform; what was heard before is kept.
        """
        hearing = self._hearing or _Hearing(self.tokenizer)
        if hearing.hear(chunk):
            turn = self._history.spoken_so_far(hearing.codes)
            if len(turn) < self.model.context_length:
                self.model.prefill(turn, self._cache)
        self._hearing = hearing

    def unhear(self) -> None:
        """Forget what was heard since the last reply: nobody was speaking to us."""
        self._hearing = None

    def reply(
        self,
        question: Tensor | str | None = None,
        *,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> Generator[Event, None, None]:
        """Answer one utterance. Close the generator to interrupt the reply.

        The conversation keeps what was said until then, and goes on from there.

        Args:
            question: (num_samples,) at 16 kHz, or text; ``None`` for what :meth:`hear` heard.
            sampling: How ids are chosen; by default always the likeliest.
            seed: Of every random choice: the same seed gives the same reply.

        Yields:
            Text and audio as they are ready, then exactly one ``TurnEnd``.

        Raises:
            AudioError: If the recording cannot hold speech; the conversation is unchanged.
            ConfigError: If the question is too long for the model.
        """
        sampling = sampling or DEFAULT_SAMPLING
        generator = torch.Generator().manual_seed(seed)
        history = self._history.copy()
        history.ask("text" if isinstance(question, str) else "speech", self._turn(question))
        history.shorten(self.model.context_length, sampling.max_new_ids)
        ids = self.model.generate(history.ids(), sampling, cache=self._cache, generator=generator)
        self._history, self._hearing = history, None
        yield from self._speak(ids, history.last, generator)

    def truncate(self, heard_ms: float) -> None:
        """Forget what the user did not hear of the last reply.

        The reply is cut behind the last speech id that was heard in full, text with it: the next
        turn goes on as if the model had written no more.

        Args:
            heard_ms: How much of the reply's audio was played, in milliseconds.

        Raises:
            ConfigError: If the time is negative or no number.
        """
        if not heard_ms >= 0:
            raise ConfigError(f"heard_ms must be at least 0, got {heard_ms}")
        if self._history.turns:
            num_codes = int(heard_ms / 1000 * self.tokenizer.frame_rate)
            self._history.last.cut(num_codes, self.model.vocabulary)
            self._cache.crop(len(self._history.ids()))

    def _speak(
        self, ids: Iterator[int], turn: Turn, generator: torch.Generator
    ) -> Generator[Event, None, None]:
        vocabulary, text = self.model.vocabulary, self.model.text_stream()
        speech, rate = self.decoder.start(generator=generator), self.decoder.sample_rate
        held: list[int] = []  # text ids that wait for the rest of a character
        reason: Literal["finished", "length"] = "length"
        for new in ids:
            if new in vocabulary.stop_ids:
                reason = "finished"
                break
            turn.reply.append(new)  # kept even if the caller stops listening here
            if vocabulary.is_speech(new):
                samples = speech.push([vocabulary.code(new)])
                if len(samples):
                    yield AudioDelta(samples, rate)
                continue
            held.append(new)
            if written := text.push([new]):
                yield TextDelta(written, tuple(held))
                held = []
        if rest := text.finish():
            yield TextDelta(rest, tuple(held))
        samples = speech.finish()
        if len(samples):
            yield AudioDelta(samples, rate)
        yield TurnEnd(reason)

    def _turn(self, question: Tensor | str | None) -> list[int]:
        writer = self.model.writer
        if isinstance(question, str):
            return writer.text_turn(question)
        if question is not None:
            codes = self.tokenizer.encode(question, SAMPLE_RATE)
        elif self._hearing is not None:
            codes = self._hearing.finish()
        else:
            raise AudioError("nothing was heard: give a question, or let the chat hear one")
        return writer.speech_turn(codes)


class _Hearing:
    """What the user has said so far of a turn."""

    def __init__(self, tokenizer: Listener):
        self._tokenizer = tokenizer
        self._state = tokenizer.start()
        self._peak = torch.zeros(1)
        self._num_samples = 0
        self.codes: list[int] = []

    def hear(self, chunk: Tensor) -> bool:
        """Take more samples; say whether there are more codes."""
        found = self._tokenizer.step(chunk, self._state)
        self._num_samples += len(chunk)
        if len(chunk):
            self._peak = torch.maximum(self._peak, chunk.abs().max())
        self.codes += found
        return bool(found)

    def finish(self) -> list[int]:
        """Return the codes of the turn.

        Raises:
            AudioError: If it cannot hold speech, as for a whole recording.
        """
        check_samples(self._peak.expand(self._num_samples), SAMPLE_RATE, what="the recording")
        self.codes += self._tokenizer.finish(self._state)
        return self.codes
