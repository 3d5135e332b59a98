"""The WebSocket server: who may come in, what each session gets, and how it all ends.

Models run on worker threads that the sessions share, voices are detected on a thread of their own,
and the event loop only passes things on.
"""

import asyncio
import http
import json
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server as SocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from decoder.voice import DEFAULT
from voiceglm.chat import Speaker, VoiceChat
from web.call import Call, Connection, DisconnectedError
from web.ear import Ear
from web.errors import ClientError
from web.events import Events
from web.gate import NOT_LOCAL, Gate, Refusal
from web.metrics import Metrics, resident_mb
from web.session import Limits, Session
from web.settings import Settings
from web.talker import Talker
from web.turns import Patience
from web.vad import SileroVad

log = logging.getLogger(__name__)

PATHS = ("/v1/realtime", "/realtime")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How a server is run."""

    model: str = "nano"  # what clients are told it is called
    voice: str = ""  # of sessions that ask for none; empty: the one the model has by itself
    max_sessions: int = 16
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Threads that models run on."""
    max_message_bytes: int = 4 << 20
    open_timeout: float = 10.0  # seconds a client may take to shake hands
    send_timeout: float = 20.0  # seconds a client may take to read
    drain_seconds: float = 30.0  # for replies to be finished when the server ends
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)


class Host:
    """The models and the sessions they serve, whatever the sockets are.

    Args:
        chat: Whose models are used.
        options: See there.
        gate: Who may come in.
        voices: What speaks with each voice that a session may ask for, by name.
    """

    def __init__(
        self,
        chat: VoiceChat,
        options: ServerOptions,
        gate: Gate,
        voices: Mapping[str, Speaker] | None = None,
    ):
        self.options = options
        self.gate = gate
        self.metrics = Metrics()
        self._chat = chat
        self._voices = voices or {}
        self._vad = SileroVad()
        self._thinking = ThreadPoolExecutor(options.workers, "model")
        self._hearing = ThreadPoolExecutor(1, "ear")
        self._calls: set[Call] = set()
        self._watching: asyncio.Task[None] | None = None
        self.is_draining = False

    @property
    def voices(self) -> tuple[str, ...]:
        """The names that a session may ask for, that of sessions that ask for none first."""
        return tuple(sorted(self._voices, key=lambda name: name != (self.options.voice or DEFAULT)))

    async def warm_up(self) -> None:
        """Answer once, so that the first client does not wait for what is made on first use."""

        def answer() -> None:
            list(self.fresh_chat().reply("Hello."))

        await asyncio.get_running_loop().run_in_executor(self._thinking, answer)
        self._watching = asyncio.ensure_future(self.metrics.lag.watch())

    def admits_page(self, headers: Headers) -> bool:
        """Say whether the page that asks may connect, and count it if not."""
        if self.gate.allows_origin(headers.get("Origin"), headers.get("Host")):
            return True
        self.metrics.refused.labels("origin").inc()
        return False

    def admits_name(self, headers: Headers) -> bool:
        """Say whether the server may be called as it was, and count it if not."""
        if self.gate.allows_name(headers.get("Host")):
            return True
        self.metrics.refused.labels("host").inc()
        return False

    def fresh_chat(self) -> VoiceChat:
        """Return a conversation with the models, with nothing said."""
        models = self._chat
        speaker = self._voices.get(self.options.voice, models.decoder)
        return VoiceChat(models.tokenizer, models.model, speaker)

    @property
    def can_transcribe(self) -> bool:
        """Whether what users say can be written down."""
        return getattr(self._chat.tokenizer, "recognizer", None) is not None

    def health(self) -> dict[str, Any]:
        """Return whether new sessions are welcome, and how many there are."""
        status = "draining" if self.is_draining else "ok"
        return {
            "status": status,
            "sessions": len(self._calls),
            "max_sessions": self.options.max_sessions,
            "loop_lag_p99_ms": self.metrics.lag.p99_ms,
            "resident_mb": resident_mb(),
        }

    async def converse(self, connection: Connection, headers: Headers, target: str) -> None:
        """Serve a client that has come in, to the end."""
        refusal = self._refusal(headers)
        if refusal is not None:
            self.metrics.refused.labels(refusal.code).inc()
            await _turn_away(connection, refusal)
            return
        asked = parse_qs(urlsplit(target).query).get("model", [self.options.model])[0]
        log.info("session opened, asked for model %.100s", asked)
        call = self._call(connection)
        self._calls.add(call)
        self.metrics.sessions.inc()
        began = time.monotonic()
        try:
            await call.run()
        finally:
            self._calls.discard(call)
            self.metrics.sessions.dec()
            self.metrics.session_seconds.observe(time.monotonic() - began)
            log.info("session closed after %.0f s", time.monotonic() - began)

    async def drain(self) -> None:
        """Take nobody in, let replies be finished, and part."""
        self.is_draining = True
        deadline = time.monotonic() + self.options.drain_seconds
        while time.monotonic() < deadline and any(call.session.is_busy for call in self._calls):
            await asyncio.sleep(0.05)
        for call in list(self._calls):
            call.end(1012, "the server is restarting")
        while self._calls and time.monotonic() < deadline + self.options.send_timeout:
            await asyncio.sleep(0.05)

    def close(self) -> None:
        """Give the threads back."""
        if self._watching is not None:
            self._watching.cancel()
        self._thinking.shutdown(wait=False, cancel_futures=True)
        self._hearing.shutdown(wait=False, cancel_futures=True)

    def _refusal(self, headers: Headers) -> Refusal | None:
        if self.is_draining:
            return Refusal("server_draining", "the server is about to restart", 1013)
        if len(self._calls) >= self.options.max_sessions:
            message = f"the server already has its {self.options.max_sessions} sessions"
            return Refusal("session_limit_reached", message, 1013)
        return self.gate.check(headers)

    def _call(self, connection: Connection) -> Call:
        options, chat = self.options, self._chat
        settings = Settings(
            model=options.model,
            voice=options.voice or options.model,
            voices=tuple(self._voices),
            can_transcribe=self.can_transcribe,
        )
        session = Session(
            settings, chat.tokenizer.frame_rate, new_id, time.monotonic(), options.limits
        )
        return Call(
            connection,
            session,
            Ear(self._vad, options.patience),
            lambda report: Talker(chat, self._thinking, report, self._voices),
            self._hearing,
            send_timeout=options.send_timeout,
            watch=self.metrics.watcher(),
        )


class Server:
    """A :class:`Host` behind a WebSocket port of its own.

    Args:
        host: What is served.
    """

    def __init__(self, host: Host):
        self.host = host
        self._sockets: SocketServer | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._sockets is not None, "the server is not started"
        return next(iter(self._sockets.sockets)).getsockname()[1]

    async def start(self, address: str = "127.0.0.1", port: int = 0) -> None:
        """Listen, once the models are warm."""
        await self.host.warm_up()
        options = self.host.options
        self._sockets = await serve(
            self._converse,
            address,
            port,
            process_request=self._look_at,
            select_subprotocol=lambda _, offered: choose_subprotocol(offered),
            compression=None,  # costs time, memory, and opens the door to bombs
            max_size=options.max_message_bytes,
            max_queue=4,
            open_timeout=options.open_timeout,
            logger=logging.getLogger("web.sockets"),
        )

    async def stop(self) -> None:
        """Drain, then close."""
        await self.host.drain()
        if self._sockets is not None:
            self._sockets.close()
            await self._sockets.wait_closed()
        self.host.close()

    def _look_at(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer what is no conversation; None lets the handshake go on."""
        path = urlsplit(request.path).path
        host = self.host
        if not host.admits_name(request.headers):
            return connection.respond(http.HTTPStatus.FORBIDDEN, NOT_LOCAL)
        if path == "/health":
            status = http.HTTPStatus.SERVICE_UNAVAILABLE if host.is_draining else http.HTTPStatus.OK
            return connection.respond(status, json.dumps(host.health()) + "\n")
        if path == "/metrics":
            return connection.respond(http.HTTPStatus.OK, host.metrics.text())
        if path not in PATHS:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "not here; see /v1/realtime\n")
        if not host.admits_page(request.headers):
            return connection.respond(http.HTTPStatus.FORBIDDEN, "this origin is not allowed\n")
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None, "the handshake is over"
        await self.host.converse(_Socket(connection), request.headers, request.path)


class _Socket:
    """A connection of the websockets library."""

    def __init__(self, connection: ServerConnection):
        self._connection = connection

    async def receive(self) -> str | bytes:
        return await _or_disconnected(self._connection.recv)

    async def send(self, text: str) -> None:
        await _or_disconnected(self._connection.send, text)

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason[:120])

    def abort(self) -> None:
        self._connection.transport.abort()


async def _or_disconnected(work: Callable[..., Awaitable[Any]], *args: object) -> Any:
    try:
        return await work(*args)
    except ConnectionClosed:
        raise DisconnectedError from None


async def _turn_away(connection: Connection, refusal: Refusal) -> None:
    """Say why, in a way that a browser can read, then close."""
    error = Events(new_id).error(ClientError(refusal.code, refusal.message))
    try:
        await connection.send(json.dumps(error.message))
        await connection.close(refusal.close_code, refusal.reason)
    except DisconnectedError:
        pass


def choose_subprotocol(offered: Iterable[str]) -> Subprotocol | None:
    """Return what to answer: never the one that carries a key, and none if none is offered."""
    return Subprotocol("realtime") if "realtime" in offered else None


def new_id(kind: str) -> str:
    """Return an identifier that nobody else has."""
    return f"{kind}_{secrets.token_hex(10)}"
