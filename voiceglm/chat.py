"""``VoiceChat``: one conversation, heard while it is said and spoken while it is written.

The three models are known here only by what they do, so a test replaces any of them by a few lines
and nothing but this file joins them.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from voiceglm.audio import check_samples
from voiceglm.errors import AudioError, ConfigError, EngineError
from voiceglm.events import AudioDelta, Event, TextDelta, TurnEnd
from voiceglm.history import History, Usage, Utterance
from voiceglm.language_model import ReplyCache, Sampling
from voiceglm.prompt import Mode, PromptWriter
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
        """The most ids it reads."""
        ...

    @property
    def conversation_length(self) -> int:
        """The most ids of a conversation that it holds well."""
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
        """Continue a conversation, one id at a time: styles first, a stop id last."""
        ...


class Speech(Protocol):
    """Speaks one reply."""

    def style(self, name: str) -> None:
        """Speak as a name of ``voiceglm.style`` says; comes before any code."""
        ...

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
        self._prompt: list[int] = []  # of the last reply
        self._cached = 0  # ids of it that had been read before
        self._reply = Utterance("assistant")  # the last one

    @property
    def history(self) -> tuple[int, ...]:
        """Every id of the conversation that the model still sees."""
        return tuple(self._history.ids())

    @property
    def usage(self) -> Usage:
        """What the last reply took, so far."""
        count = self._history.count
        cached = count(self._prompt[: self._cached])
        return Usage(*count(self._prompt), *cached, *count(self._reply.ids))

    def instruct(self, instructions: str) -> None:
        """Say how to reply from now on; a model that follows no instructions is not told."""
        self._history.instructions = instructions

    def hear(self, chunk: Tensor) -> None:
        """Listen to (num_samples,) at 16 kHz while the user speaks; :meth:`reply` ends the turn.

        What is certain is tokenized and read by the model at once, so that little is left to do
        when the user stops. An engine that cannot read ahead is asked again with the next chunk and
        for the reply, which says what is wrong with it.

        Raises:
            AudioError: If the chunk is no waveform; what was heard before is kept.
        """
        hearing = self._hearing or _Hearing(self.tokenizer)
        has_more = hearing.hear(chunk)
        self._hearing = hearing
        turn = self._history.spoken_so_far(hearing.codes) if has_more else []
        if 0 < len(turn) < self.model.context_length:
            with suppress(EngineError):
                self.model.prefill(turn, self._cache)

    def unhear(self) -> None:
        """Forget what was heard since the last reply: nobody was speaking to us."""
        self._hearing = None

    def commit(self) -> Utterance:
        """End the turn that was heard, without replying to it.

        Raises:
            AudioError: If it cannot hold speech; what was heard is kept.
        """
        utterance = self._user(None)
        self._hearing = None
        self._history.add(utterance, "speech")
        return utterance

    def say(
        self,
        speaker: Literal["user", "assistant", "system"],
        said: str | Tensor,
        *,
        before: Utterance | None = None,
    ) -> Utterance:
        """Put something into the conversation as if it had been said.

        Args:
            speaker: Who.
            said: Text, or of the user (num_samples,) at 16 kHz.
            before: What it precedes; by default nothing.

        Raises:
            AudioError: If the recording cannot hold speech; the conversation is unchanged.
        """
        writer = self.model.writer
        if speaker == "user":
            utterance = self._user(said)
        elif isinstance(said, Tensor):
            raise ConfigError(f"only a user is heard, the {speaker} writes")
        elif speaker == "assistant":
            utterance = Utterance(speaker, writer.reply(said, []))
        else:
            utterance = Utterance(speaker, writer.wish(said))
        self._history.add(utterance, _mode(said), before)
        return utterance

    def adopt(self, utterance: Utterance) -> None:
        """Put something said in another conversation with the same model at the end of this one."""
        self._history.add(utterance, "text")

    def forget(self, utterance: Utterance) -> None:
        """Take something out of the conversation."""
        self._history.remove(utterance)

    def reply(
        self,
        question: Tensor | str | None = None,
        *,
        sampling: Sampling | None = None,
        seed: int = 0,
        aloud: bool = True,
    ) -> Generator[Event, None, None]:
        """Answer one utterance. Close the generator to interrupt the reply.

        The conversation keeps what was said until then, and goes on from there.

        Args:
            question: (num_samples,) at 16 kHz, or text; ``None`` for what :meth:`hear` heard.
            sampling: How ids are chosen; by default always the likeliest.
            seed: Of every random choice: the same seed gives the same reply.
            aloud: Without, what the model says is not made sound.

        Yields:
            Text and audio as they are ready, then exactly one ``TurnEnd``.

        Raises:
            AudioError: If the recording cannot hold speech; the conversation is unchanged.
            ConfigError: If the question is too long for the model.
        """
        asked = self._user(question)
        yield from self._answer([asked], _mode(question), sampling, seed, aloud=aloud)

    def respond(
        self, *, sampling: Sampling | None = None, seed: int = 0, aloud: bool = True
    ) -> Generator[Event, None, None]:
        """Answer what the conversation holds: :meth:`reply`, with nothing new to answer.

        Args:
            sampling: How ids are chosen; by default always the likeliest.
            seed: Of every random choice.
            aloud: Without, what the model says is not made sound.

        Yields:
            Text and audio as they are ready, then exactly one ``TurnEnd``.

        Raises:
            ConfigError: If the newest utterance is too long for the model.
        """
        yield from self._answer([], "text", sampling, seed, aloud=aloud)

    @property
    def last_reply(self) -> Utterance:
        """What the assistant said last, or is saying."""
        return self._reply

    def truncate(self, heard_ms: float, reply: Utterance | None = None) -> None:
        """Forget what the user did not hear of a reply.

        The reply is cut behind the last speech id that was heard in full, text with it: the next
        turn goes on as if the model had written no more.

        Args:
            heard_ms: How much of the reply's audio was played, in milliseconds.
            reply: Which; by default the last.

        Raises:
            ConfigError: If the time is negative or no number.
        """
        if not heard_ms >= 0:
            raise ConfigError(f"heard_ms must be at least 0, got {heard_ms}")
        reply = reply or self._reply
        speed = reply.style(self.model.vocabulary).speed
        num_codes = int(heard_ms / 1000 * self.tokenizer.frame_rate * speed)
        reply.cut(num_codes, self.model.vocabulary)
        self._cache.crop(self._cache.count_shared(self._history.ids()))

    def _answer(
        self,
        new: list[Utterance],
        mode: Mode,
        sampling: Sampling | None,
        seed: int,
        *,
        aloud: bool,
    ) -> Generator[Event, None, None]:
        sampling, history = sampling or DEFAULT_SAMPLING, self._history
        generator = torch.Generator().manual_seed(seed)
        kept = history.shortened(new, self.model.conversation_length, sampling.max_new_ids)
        prompt = [*history.prompt(mode, kept), *self.model.writer.reply_opening()]
        cached = self._cache.count_shared(prompt[:-1])
        ids = self.model.generate(prompt, sampling, cache=self._cache, generator=generator)
        history.keep([pair for pair in kept if pair[0] not in new])
        reply = Utterance("assistant")
        for utterance in (*new, reply):
            history.add(utterance, mode)
        if new:
            self._hearing = None
        self._prompt, self._cached, self._reply = prompt, cached, reply
        speech = self.decoder.start(generator=generator) if aloud else _Silence()
        try:
            yield from self._speak(ids, reply, speech)
        except Exception:
            if not reply.ids:  # what failed may be asked for again
                history.remove(reply)
            raise

    def _speak(
        self, ids: Iterator[int], reply: Utterance, speech: Speech
    ) -> Generator[Event, None, None]:
        vocabulary, text = self.model.vocabulary, self.model.text_stream()
        rate, num_codes = self.decoder.sample_rate, 0
        held: list[int] = []  # text ids that wait for the rest of a character
        reason: Literal["finished", "length"] = "length"
        for new in ids:
            if new in vocabulary.stop_ids:
                reason = "finished"
                break
            reply.ids.append(new)  # kept even if the caller stops listening here
            if vocabulary.is_style(new):  # before anything else
                speech.style(vocabulary.style_name(new))
                continue
            if vocabulary.is_speech(new):
                num_codes += 1
                samples = speech.push([vocabulary.code(new)])
                if len(samples):
                    yield AudioDelta(samples, rate)
                continue
            held.append(new)
            if written := text.push([new]):
                yield TextDelta(written, tuple(held), num_codes, reply.style(vocabulary))
                held = []
        if rest := text.finish():
            yield TextDelta(rest, tuple(held), num_codes, reply.style(vocabulary))
        samples = speech.finish()
        if len(samples):
            yield AudioDelta(samples, rate)
        yield TurnEnd(reason)

    def _user(self, question: Tensor | str | None) -> Utterance:
        writer = self.model.writer
        if isinstance(question, str):
            return Utterance("user", writer.written(question))
        if question is not None:
            codes = self.tokenizer.encode(question, SAMPLE_RATE)
        elif self._hearing is not None:
            codes = self._hearing.finish()
        else:
            raise AudioError("nothing was heard: give a question, or let the chat hear one")
        return Utterance("user", writer.spoken(codes))


def _mode(said: Tensor | str | None) -> Mode:
    return "text" if isinstance(said, str) else "speech"


class _Silence:
    """What a reply that is only written sounds like."""

    def style(self, name: str) -> None:
        del name

    def push(self, ids: Sequence[int]) -> Tensor:
        return torch.zeros(0)

    def finish(self) -> Tensor:
        return torch.zeros(0)


class _Hearing:
    """What the user has said so far of a turn."""

    def __init__(self, tokenizer: Listener):
        self._tokenizer = tokenizer
        self._state = tokenizer.start()
        self._peak = torch.zeros(1)
        self._num_samples = 0
        self._is_over = False  # and may be asked for again, if the reply to it failed
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
        if not self._is_over:
            self.codes += self._tokenizer.finish(self._state)
            self._is_over = True
        return self.codes
