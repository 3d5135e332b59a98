"""What waits to leave for a client: bounded by who fills it, and sound in it can be called back."""

import asyncio
import json
from collections import deque
from typing import Any

FULL = 4 << 20  # characters; what would add to more than that waits


class Outbox:
    """Messages in order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, str | None]] = deque()  # with the reply it is the sound of
        self._size = 0
        self._news, self._empty = asyncio.Event(), asyncio.Event()
        self._empty.set()

    @property
    def is_full(self) -> bool:
        """Whether nothing that a client asks for should be done before it reads."""
        return self._size > FULL

    def put(self, message: dict[str, Any]) -> None:
        """Take a message."""
        is_sound = message["type"] == "response.output_audio.delta"
        text = json.dumps(message, ensure_ascii=False)
        self._waiting.append((text, message["response_id"] if is_sound else None))
        self._size += len(text)
        self._empty.clear()
        self._news.set()

    async def get(self) -> str:
        """Return the next message; it waits here until :meth:`sent`."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        text, _ = self._waiting.popleft()
        self._waiting.appendleft((text, None))  # it is leaving: too late to call it back
        return text

    def sent(self) -> None:
        """Forget the message that was got: it has left."""
        text, _ = self._waiting.popleft()
        self._size -= len(text)
        if not self._waiting:
            self._empty.set()

    def silence(self, response_id: str) -> None:
        """Drop the sound of a reply."""
        kept = [each for each in self._waiting if each[1] != response_id]
        self._waiting = deque(kept)
        self._size = sum(len(text) for text, _ in kept)
        if not kept:
            self._empty.set()

    async def drained(self) -> None:
        """Wait until everything has left."""
        await self._empty.wait()
