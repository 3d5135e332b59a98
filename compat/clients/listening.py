"""What the Python clients share: a voice that speaks in real time, and ears that take notes."""

import asyncio
import json
import sys
import wave
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Any

RATE = 24_000  # samples a second, both ways
PIECE_MS = 20  # of audio sent at a time
SECONDS_TO_ANSWER = 30.0
COUNT = "Count from one to ten."  # takes nano six seconds to say
SECONDS_TO_SETTLE = 0.5  # for what a client does behind a reply
PATIENCE_SECONDS = 0.5  # that the user listens before speaking again


def read_speech(path: str) -> bytes:
    """Return the samples of a recording as the wire has them."""
    with wave.open(path) as file:
        assert file.getframerate() == RATE, "the recording has the rate of the wire"
        return file.readframes(file.getnframes())


async def speak(pcm: bytes, send: Callable[[bytes], Awaitable[None]]) -> None:
    """Send a recording as a microphone would, a piece whenever it is due."""
    size = 2 * RATE * PIECE_MS // 1_000
    loop = asyncio.get_running_loop()
    due = loop.time()
    for start in range(0, len(pcm), size):
        await send(pcm[start : start + size])
        due += PIECE_MS / 1_000
        await asyncio.sleep(due - loop.time())


@dataclass
class Reply:
    """What a user has noticed of a reply."""

    transcript: str = ""
    audio_seconds: float = 0.0
    interrupted: bool = False


class Ears:
    """What a client tells its user, put together to replies."""

    def __init__(self) -> None:
        self._replies: asyncio.Queue[Reply] = asyncio.Queue()
        self._sounded = asyncio.Event()
        self._reply = Reply()

    def text(self, piece: str) -> None:
        """Note more of the transcript."""
        self._reply.transcript += piece

    def audio(self, num_bytes: int) -> None:
        """Note more of the audio."""
        self._reply.audio_seconds += num_bytes / 2 / RATE
        self._sounded.set()

    def interrupted(self) -> None:
        """Note that the client has stopped playing, if it was playing."""
        self._reply.interrupted = self._sounded.is_set()

    def done(self) -> None:
        """Note that nothing will come any more; a reply of which nothing came does not count."""
        if self._reply.audio_seconds:
            self._reply.audio_seconds = round(self._reply.audio_seconds, 2)
            self._replies.put_nowait(self._reply)
        self._reply = Reply()
        self._sounded.clear()

    async def sound(self) -> None:
        """Wait until a reply is heard."""
        await asyncio.wait_for(self._sounded.wait(), SECONDS_TO_ANSWER)

    async def reply(self) -> Reply:
        """Wait for the next reply, to its end."""
        return await asyncio.wait_for(self._replies.get(), SECONDS_TO_ANSWER)


@dataclass(frozen=True)
class Call:
    """A connection of a client, as its user sees it."""

    ears: Ears
    send: Callable[[bytes], Awaitable[None]]
    """Takes what the microphone hears."""
    ask: Callable[[str], Awaitable[None]]
    """Asks in writing, and for an answer."""
    history: Callable[[], list[str]] | None = None
    """Returns who has spoken, if the client keeps the conversation."""


def main(call: Callable[[str], AbstractAsyncContextManager[Call]]) -> None:
    """Hold the conversations of the test and report them on one line.

    Args:
        call: Connects to a server, given its URL.
    """
    url, recording = sys.argv[1:]
    report = asyncio.run(_converse(lambda: call(url), read_speech(recording)))
    sys.stdout.write(json.dumps(report) + "\n")


async def _converse(
    connect: Callable[[], AbstractAsyncContextManager[Call]], pcm: bytes
) -> dict[str, Any]:
    async with connect() as call:
        await speak(pcm, call.send)
        voice_turn = await call.ears.reply()
    # A conversation of its own, because nano is not one for long conversations.
    async with connect() as call:
        await call.ask(COUNT)
        await call.ears.sound()
        await asyncio.sleep(PATIENCE_SECONDS)
        await speak(pcm, call.send)
        barge_in, answer = await call.ears.reply(), await call.ears.reply()
        await asyncio.sleep(SECONDS_TO_SETTLE)
        history = call.history and call.history()
    return {
        "voice_turn": asdict(voice_turn),
        "barge_in": {**asdict(barge_in), "answer": asdict(answer), "history": history},
    }
