"""One session's conversation with the models: does one order after the other, off the event loop.

A reply is made in steps, each as long as the next piece of text or sound takes. Between two steps
other sessions have their turn and a reply can be stopped; what a step still made of it is dropped.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

import torch

from voiceglm.chat import SAMPLE_RATE, Speaker, VoiceChat
from voiceglm.errors import VoiceGLMError
from voiceglm.events import AudioDelta, TextDelta, TurnEnd
from voiceglm.history import Utterance
from web import actions
from web.codec import Outbound
from web.reports import Ended, Report, Sounded, Transcribed, Wrote
from web.response import Ending

log = logging.getLogger(__name__)

MAX_ORDERS = 2_000  # a minute of listening, while a long reply is made
MAX_SAMPLES = 120 * SAMPLE_RATE  # in orders
CALM_CODES = 15  # of a reply: with the second chunk there is sound enough to do something else


class Talker:
    """Talks for one session.

    Args:
        chat: Whose models are used; its conversation is not.
        executor: Where models run. Orders of one session never run side by side.
        report: Takes what is reported, on the event loop.
        voices: What speaks with each voice, by name; any other name is the chat's own.
    """

    def __init__(
        self,
        chat: VoiceChat,
        executor: Executor,
        report: Callable[[Report], None],
        voices: Mapping[str, Speaker] | None = None,
    ) -> None:
        self._models = chat
        self._voices = voices or {}
        self._chat = self._fresh()
        self._executor = executor
        self._report = report
        self._orders: asyncio.Queue[actions.Order] = asyncio.Queue()
        self._num_samples = 0  # in them
        self._owed: set[str] = set()  # replies that are to be made
        self._utterances: dict[str, Utterance] = {}  # by item
        self._refused: str | None = None  # why the newest turn cannot be answered
        self._asides: set[asyncio.Task[None]] = set()
        self._calm = asyncio.Event()  # no reply is about to be heard for the first time
        self._calm.set()

    def order(self, order: actions.Order) -> None:
        """Take an order; it is done when its turn comes."""
        if isinstance(order, actions.Reply):
            self._owed.add(order.response_id)
            if order.beside:
                self._begin(self._reply(order))
                return
            self._calm.clear()
        self._num_samples += _num_samples(order)
        self._orders.put_nowait(order)

    @property
    def is_behind(self) -> bool:
        """Whether so much is ordered that no more should be."""
        return self._orders.qsize() > MAX_ORDERS or self._num_samples > MAX_SAMPLES

    def stop(self, response_id: str) -> None:
        """Leave a reply, or do not begin it."""
        self._owed.discard(response_id)

    def transcribe(self, order: actions.Transcribe) -> None:
        """Write down what was said, once a reply to it can be heard."""
        self._begin(self._transcribe(order))

    async def run(self) -> None:
        """Do orders until cancelled."""
        while True:
            order = await self._orders.get()
            self._num_samples -= _num_samples(order)
            if isinstance(order, actions.Reply):
                await self._reply(order)
                continue
            try:
                await self._run(self._do, order)
            except VoiceGLMError as error:
                self._refused = str(error)

    async def close(self) -> None:
        """Leave what runs beside."""
        for task in self._asides:
            task.cancel()
        await asyncio.gather(*self._asides, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the orders."""
        task = asyncio.ensure_future(work)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    def _fresh(self) -> VoiceChat:
        models = self._models
        return VoiceChat(models.tokenizer, models.model, models.decoder)

    def _run(self, work: Callable[..., object], *args: object) -> Awaitable[object]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work, *args)

    def _do(self, order: actions.Order) -> None:
        chat = self._chat
        match order:
            case actions.Hear(samples):
                chat.hear(samples)
            case actions.Unhear():
                chat.unhear()
            case actions.Commit(item_id):
                try:
                    self._utterances[item_id] = chat.commit()
                finally:
                    chat.unhear()
                self._refused = None
            case actions.Say(item_id, speaker, said, before):
                known = (self._utterances[id_] for id_ in before if id_ in self._utterances)
                self._utterances[item_id] = chat.say(speaker, said, before=next(known, None))
                self._refused = None
            case actions.Forget(item_id):
                if utterance := self._utterances.pop(item_id, None):
                    chat.forget(utterance)
            case actions.Cut(item_id, heard_ms):
                if utterance := self._utterances.get(item_id):
                    chat.truncate(heard_ms, utterance)

    async def _reply(self, order: actions.Reply) -> None:
        try:
            if order.response_id in self._owed:
                await self._answer(order)
        except VoiceGLMError as error:
            self._fail(order, str(error))
        except Exception:  # a bug, but the session and the others go on
            log.exception("a reply failed")
            self._fail(order, "the model failed")
        finally:
            self._owed.discard(order.response_id)
            if not order.beside:
                self._calm.set()

    async def _answer(self, order: actions.Reply) -> None:
        if order.only is None and self._refused:
            refused, self._refused = self._refused, None
            self._fail(order, refused)
            return
        chat = self._chat if order.only is None else await self._aside(order.only)
        chat.instruct(order.instructions)
        chat.decoder = self._voices.get(order.voice, self._models.decoder)
        events = chat.respond(sampling=order.sampling, aloud=order.aloud)
        outbound = Outbound(chat.decoder.sample_rate, order.form)
        try:
            while order.response_id in self._owed:
                event = await self._run(next, events)
                if not order.beside:
                    self._remember(order.item_id, chat)
                if order.response_id in self._owed:
                    self._tell(order, chat, event, outbound)
                if isinstance(event, TurnEnd):
                    break
        finally:
            with suppress(ValueError):  # still in its last step, if the session was dropped
                events.close()

    def _remember(self, item_id: str, chat: VoiceChat) -> None:
        """Have the reply in the conversation, also if it was made in another."""
        if item_id not in self._utterances and chat is not self._chat:
            self._chat.adopt(chat.last_reply)
        self._utterances[item_id] = chat.last_reply

    def _tell(
        self, order: actions.Reply, chat: VoiceChat, event: object, outbound: Outbound
    ) -> None:
        reply, usage = order.response_id, chat.usage
        if isinstance(event, TextDelta):
            self._report(Wrote(reply, event, usage))
        elif isinstance(event, AudioDelta):
            if usage.speech_out > CALM_CODES and not order.beside:
                self._calm.set()
            if data := outbound.push(event.samples):
                self._report(Sounded(reply, data, usage))
        elif isinstance(event, TurnEnd):
            if order.aloud and (data := outbound.push(torch.zeros(0), last=True)):
                self._report(Sounded(reply, data, usage))
            ending = Ending("completed")
            if event.reason == "length":
                ending = Ending("incomplete", "max_output_tokens")
            self._report(Ended(reply, ending, usage))

    def _fail(self, order: actions.Reply, message: str) -> None:
        self._report(Ended(order.response_id, Ending("failed", error=message), None))

    async def _aside(self, said: tuple[actions.Say, ...]) -> VoiceChat:
        """Return a conversation in which only this was said."""
        chat = self._fresh()

        def say() -> None:
            for one in said:
                chat.say(one.speaker, one.said)

        await self._run(say)
        return chat

    async def _transcribe(self, order: actions.Transcribe) -> None:
        seconds = len(order.samples) / SAMPLE_RATE
        await self._calm.wait()
        try:
            text = await self._run(self._models.tokenizer.transcribe, order.samples, SAMPLE_RATE)
        except VoiceGLMError:
            text = None
        self._report(Transcribed(order.item_id, None if text is None else str(text), seconds))


def _num_samples(order: actions.Order) -> int:
    """Count the samples that an order holds."""
    match order:
        case actions.Hear(samples):
            return len(samples)
        case actions.Say(said=torch.Tensor() as samples):
            return len(samples)
    return 0
