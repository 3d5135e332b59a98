"""A client that asks for more than it reads is not served further, and is not forgotten."""

import asyncio
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.web.conftest import run
from tests.web.driver import SECOND
from web.call import Call, DisconnectedError
from web.ear import Ear
from web.outbox import FULL
from web.session import Session
from web.settings import Settings
from web.talker import Talker
from web.turns import Patience
from web.vad import SileroVad


class Slow:
    """A client that sends everything at once and reads when it is told to."""

    def __init__(self, messages: list[dict[str, Any]]):
        self.waiting = [json.dumps(message) for message in messages]
        self.reads = asyncio.Event()
        self.received: list[dict[str, Any]] = []
        self.done = asyncio.Event()

    async def receive(self) -> str:
        if self.waiting:
            return self.waiting.pop(0)
        await self.done.wait()
        raise DisconnectedError

    async def send(self, text: str) -> None:
        await self.reads.wait()
        self.received.append(json.loads(text))

    async def close(self, code: int, reason: str) -> None:
        pass

    def abort(self) -> None:
        pass


def test_what_is_asked_for_waits_until_the_client_reads() -> None:
    part = {"type": "input_audio", "audio": SECOND * 12}
    item = {"type": "message", "role": "user", "id": "long", "content": [part]}
    asks = {"type": "conversation.item.retrieve", "item_id": "long"}
    count = 40

    async def work() -> None:
        client = Slow([{"type": "conversation.item.create", "item": item}, *[asks] * count])
        names = itertools.count()
        settings = Settings(model="nano", voice="nano")
        session = Session(settings, 12.5, lambda kind: f"{kind}_{next(names)}", time.monotonic())
        with ThreadPoolExecutor(1) as pool:
            ear = Ear(SileroVad(), Patience())
            call = Call(client, session, ear, lambda _: Idle(), pool)  # type: ignore[arg-type]
            calling = asyncio.ensure_future(call.run())
            while not call._outbox.is_full:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            assert call._outbox._size < FULL + 2_000_000, "one answer more, at the most"
            client.reads.set()
            while sum(m["type"] == "conversation.item.retrieved" for m in client.received) < count:
                await asyncio.sleep(0.01)
            client.done.set()
            await calling

    run(work)


class Idle(Talker):
    """Takes orders and does none."""

    def __init__(self) -> None:
        self._orders, self._num_samples = asyncio.Queue(), 0

    def order(self, order: object) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass
