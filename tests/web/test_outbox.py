"""What waits for a client leaves in order; sound that has not left can be called back."""

import asyncio
import json
from typing import Any

from tests.web.conftest import run
from web.outbox import FULL, Outbox


def sound(response_id: str, delta: str = "") -> dict[str, Any]:
    return {"type": "response.output_audio.delta", "response_id": response_id, "delta": delta}


def test_sound_is_called_back_and_nothing_else() -> None:
    async def work() -> None:
        outbox = Outbox()
        words = {"type": "response.output_audio_transcript.delta", "response_id": "a"}
        for message in (sound("a", "1"), sound("a", "2"), words, sound("b")):
            outbox.put(message)
        leaving = await outbox.get()
        outbox.silence("a")
        assert json.loads(leaving)["delta"] == "1", "too late for this one"
        outbox.sent()
        assert json.loads(await outbox.get()) == words
        outbox.sent()
        assert json.loads(await outbox.get()) == sound("b")
        drained = asyncio.ensure_future(outbox.drained())
        await asyncio.sleep(0)
        assert not drained.done()
        outbox.sent()
        await drained

    run(work)


def test_nothing_but_silence_is_nothing() -> None:
    async def work() -> None:
        outbox = Outbox()
        outbox.put(sound("a"))
        outbox.silence("a")
        await outbox.drained()
        waiting = asyncio.ensure_future(outbox.get())
        await asyncio.sleep(0)
        outbox.put(sound("b"))
        assert json.loads(await waiting) == sound("b")

    run(work)


def test_it_can_be_full() -> None:
    async def work() -> None:
        outbox = Outbox()
        outbox.put(sound("a", "x" * FULL))
        assert outbox.is_full
        await outbox.get()
        outbox.sent()
        assert not outbox.is_full

    run(work)
