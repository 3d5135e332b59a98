"""One client's session on a connection: a reader, a writer, a talker, and one task that owns it.

The owner takes what the talker reports before what the client sends. Nobody waits without a bound:
what a client sends is read only while there is room for it, and a client that does not read what it
is sent is cut off.
"""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from web import actions
from web.actions import Action
from web.ear import Ear
from web.outbox import Outbox
from web.reports import Report
from web.session import Session
from web.talker import Talker
from web.throttle import Throttle

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_UNREAD = 8 << 20  # characters of a client's events that wait
LOOK_AGAIN = 0.05  # seconds, while what a client asked for is not done yet


class DisconnectedError(Exception):
    """The client is gone."""


class Connection(Protocol):
    """A socket, whoever serves it."""

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            DisconnectedError: If there will be none.
        """
        ...

    async def send(self, text: str) -> None:
        """Send a message.

        Raises:
            DisconnectedError: If nobody will read it.
        """
        ...

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye."""
        ...

    def abort(self) -> None:
        """Hang up without a word."""
        ...


class Inbox:
    """What waits for the owner."""

    def __init__(self) -> None:
        self._reports: deque[Report] = deque()
        self._messages: deque[str | bytes] = deque()
        self._unread = 0
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self.is_closed = False

    def report(self, report: Report) -> None:
        """Take what the talker says."""
        self._reports.append(report)
        self._news.set()

    async def put(self, message: str | bytes) -> None:
        """Take what the client says, once there is room."""
        await self._room.wait()
        self._messages.append(message)
        self._unread += len(message)
        if self._unread > MAX_UNREAD:
            self._room.clear()
        self._news.set()

    def close(self) -> None:
        """Say that the client is gone."""
        self.is_closed = True
        self._news.set()

    async def get(self, timeout: float, *, reports_only: bool) -> Report | str | bytes | None:
        """Return what comes first; None if nothing does in time.

        Args:
            timeout: Seconds.
            reports_only: Leave what the client says for later.

        Raises:
            DisconnectedError: If the client is gone.
        """
        messages = () if reports_only else self._messages
        if not (self._reports or messages or self.is_closed):
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout)
        if self.is_closed:
            raise DisconnectedError
        if self._reports:
            return self._reports.popleft()
        if reports_only or not self._messages:
            return None
        message = self._messages.popleft()
        self._unread -= len(message)
        self._room.set()
        return message


class Call:
    """One session, from the greeting to the end.

    Args:
        connection: To the client.
        session: What is said and when.
        ear: Hears.
        talker: Makes the talker that talks; it is given where to report.
        hearing: Where the ear works.
        send_timeout: Seconds a client may take to read what is sent.
        watch: Told of every message that leaves and every complaint, for the statistics.
    """

    def __init__(
        self,
        connection: Connection,
        session: Session,
        ear: Ear,
        talker: Callable[[Callable[[Report], None]], Talker],
        hearing: Executor,
        *,
        send_timeout: float = 20.0,
        watch: Callable[[dict[str, Any]], None] = lambda _: None,
    ):
        self.session = session
        self._connection = connection
        self._ear = ear
        self._inbox = Inbox()
        self._talker = talker(self._inbox.report)
        self._hearing = hearing
        self._send_timeout = send_timeout
        self._watch = watch
        self._outbox = Outbox()
        self._goodbye: actions.Close | None = None

    async def run(self) -> None:
        """Serve the client until one side has enough."""
        tasks = [
            asyncio.ensure_future(work)
            for work in (self._own(), self._read(), self._write(), self._talker.run())
        ]
        for task in tasks[1:]:
            task.add_done_callback(lambda _: self._inbox.close())
        try:
            await asyncio.wait(tasks[:1])  # the owner ends when anything does
            for error in _failures(tasks):
                log.error("a session failed", exc_info=error)
                self._goodbye = actions.Close(1011, "internal error")
            if self._goodbye:
                await self._part(self._goodbye)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._talker.close()

    def end(self, code: int, reason: str) -> None:
        """Have the session end, whatever it does."""
        self._goodbye = actions.Close(code, reason)
        self._inbox.close()

    async def _part(self, goodbye: actions.Close) -> None:
        """Let what was written leave, then close."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._outbox.drained(), self._send_timeout)
        with suppress(TimeoutError, DisconnectedError):
            closing = self._connection.close(goodbye.code, goodbye.reason)
            await asyncio.wait_for(closing, self._send_timeout)

    async def _own(self) -> None:
        await self._do(self.session.open())
        while self._goodbye is None:
            now = time.monotonic()
            timeout = max(0.0, self.session.wakes_at(now) - now)
            behind = self._outbox.is_full or self._talker.is_behind
            news = await self._inbox.get(
                min(timeout, LOOK_AGAIN) if behind else timeout, reports_only=behind
            )
            now = time.monotonic()
            if news is None or now >= self.session.wakes_at(now):
                await self._do(self.session.tick(now))
            if news is None:
                continue
            if isinstance(news, str):
                await self._do(self._event(news, now))
            elif isinstance(news, bytes):
                await self._do(
                    self.session.refuse("invalid_event", "events are text, not binary messages")
                )
            else:
                await self._do(self.session.report(news, now))

    def _event(self, text: str, now: float) -> list[Action]:
        try:
            event = json.loads(text)
            if "\\u" in text:  # may hold half of a character, which is no text
                json.dumps(event, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return self.session.refuse("invalid_event", "the message is not JSON")
        return self.session.receive(event, now)

    async def _do(self, wanted: list[Action]) -> None:
        for action in wanted:
            match action:
                case actions.Send(message):
                    self._watch(message)
                    self._outbox.put(message)
                case actions.Close():
                    self._goodbye = action
                case actions.Configure(form, detection):
                    await self._hear(self._ear.configure, form, detection)
                case actions.ForgetSound():
                    await self._hear(self._ear.forget)
                case actions.Listen(data, talking):
                    await self._heard(partial(self._ear.push, data, talking=talking))
                case actions.Flush():
                    await self._heard(self._ear.flush)
                    await self._do(self.session.flushed(time.monotonic()))
                case actions.StopReply(response_id):
                    self._talker.stop(response_id)
                    self._outbox.silence(response_id)
                case actions.Transcribe():
                    self._talker.transcribe(action)
                case _:
                    self._talker.order(action)

    async def _heard(self, work: Callable[[], Any]) -> None:
        for event in await self._hear(work):
            await self._do(self.session.hear(event, time.monotonic()))

    def _hear(self, work: Callable[..., T], *args: object) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._hearing, work, *args)

    async def _read(self) -> None:
        throttle = Throttle()
        try:
            while True:
                message = await self._connection.receive()
                await self._inbox.put(message)
                await asyncio.sleep(throttle.delay(len(message), time.monotonic()))
        except DisconnectedError:
            self._inbox.close()

    async def _write(self) -> None:
        try:
            while True:
                text = await self._outbox.get()
                await asyncio.wait_for(self._connection.send(text), self._send_timeout)
                self._outbox.sent()
        except TimeoutError:
            log.warning("a client did not read for %.0f s", self._send_timeout)
            self._connection.abort()
            self._inbox.close()
        except DisconnectedError:
            self._inbox.close()


def _failures(tasks: Sequence[asyncio.Future[None]]) -> list[BaseException]:
    """Return what went wrong in tasks that have ended; a client that has gone is nothing wrong."""
    ended = [task for task in tasks if task.done() and not task.cancelled()]
    errors = [error for task in ended if (error := task.exception())]
    return [error for error in errors if not isinstance(error, DisconnectedError)]
