"""livekit-agents with livekit-plugins-openai: a realtime session without a room."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from listening import RATE, Call, Ears, main
from livekit import rtc
from livekit.agents.llm import (
    GenerationCreatedEvent,
    InputSpeechStartedEvent,
    MessageGeneration,
    RealtimeModelError,
)
from livekit.plugins.openai.realtime import RealtimeModel, RealtimeSession


class Player:
    """Plays replies and stops when the user speaks, as ``AgentSession`` does it.

    Args:
        session: Whose replies.
        ears: What is heard goes there.
    """

    def __init__(self, session: RealtimeSession, ears: Ears):
        self._session = session
        self._ears = ears
        self._playing: asyncio.Task[None] | None = None
        self._stopped = False
        session.on("generation_created", self._start)
        session.on("input_speech_started", self._stop)
        session.on("error", _complain)

    def _start(self, event: GenerationCreatedEvent) -> None:
        self._stopped = False
        self._playing = asyncio.create_task(self._play(event))

    def _stop(self, event: InputSpeechStartedEvent) -> None:
        if self._playing and not self._playing.done():
            self._stopped = True
            self._session.interrupt()

    async def _play(self, event: GenerationCreatedEvent) -> None:
        async for message in event.message_stream:
            played = await self._play_message(message)
            if self._stopped:
                self._ears.interrupted()
                modalities = await message.modalities
                self._session.truncate(
                    message_id=message.message_id,
                    modalities=modalities,
                    audio_end_ms=int(played * 1_000),
                )
            async for text in message.text_stream:
                self._ears.text(text)
        self._ears.done()

    async def _play_message(self, message: MessageGeneration) -> float:
        """Return the seconds played until the end or the interruption."""
        played = 0.0
        async for frame in message.audio_stream:
            self._ears.audio(2 * frame.samples_per_channel)
            await asyncio.sleep(frame.duration)
            if self._stopped:
                break
            played += frame.duration
        return played


def _complain(error: RealtimeModelError) -> None:
    sys.stderr.write(f"the session reports an error: {error.error}\n")


async def ask(session: RealtimeSession, text: str) -> None:
    """Ask in writing, and for an answer."""
    context = session.chat_ctx.copy()
    context.add_message(role="user", content=text)
    await session.update_chat_ctx(context)
    await session.generate_reply()


def history(session: RealtimeSession) -> list[str]:
    """Return who has spoken."""
    return [message.role for message in session.chat_ctx.messages()]


@asynccontextmanager
async def call(url: str) -> AsyncIterator[Call]:
    """Connect to a server."""
    base_url = url.removesuffix("/realtime")
    async with aiohttp.ClientSession() as http:
        model = RealtimeModel(base_url=base_url, api_key="any", model="nano", http_session=http)
        session, ears = model.session(), Ears()
        Player(session, ears)

        async def send(piece: bytes) -> None:
            session.push_audio(rtc.AudioFrame(piece, RATE, 1, len(piece) // 2))

        yield Call(ears, send, lambda text: ask(session, text), lambda: history(session))
        await session.aclose()
        await model.aclose()


main(call)
