"""A relay between a client and the server that writes down what either sends.

What a client does on the wire is not all visible to its user: most clients truncate a reply that
was interrupted without a word. The relay reads along and changes nothing. Extensions such as
compression cannot be read; the server grants none.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]

BULKY = ("audio", "delta")  # fields that are not kept
TEXT, CONTINUATION = 1, 0  # opcodes, RFC 6455 section 5.2


@dataclass
class Record:
    """What was said on the connections of one client, in order."""

    sent: list[Event] = field(default_factory=list)
    """By the client."""
    received: list[Event] = field(default_factory=list)
    """By the client."""

    def of(self, kind: str) -> list[Event]:
        """Return the events of a type, whoever sent them."""
        return [event for event in (*self.sent, *self.received) if event.get("type") == kind]


class Messages:
    """The messages of one direction of a WebSocket, from whatever pieces its bytes arrive in."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._opened = False  # the HTTP handshake is over
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[str]:
        """Take more bytes and yield the text messages that they complete."""
        self._bytes += data
        if not self._opened:
            _, end, rest = self._bytes.partition(b"\r\n\r\n")
            if not end:
                return
            self._opened, self._bytes = True, rest
        while (frame := self._next()) is not None:
            final, opcode, payload = frame
            if opcode not in (TEXT, CONTINUATION):
                continue
            self._parts.append(payload)
            if final:
                whole, self._parts = b"".join(self._parts), []
                yield whole.decode()

    def _next(self) -> tuple[bool, int, bytes] | None:
        """Take the next frame off the bytes, None while it is not whole."""
        data = self._bytes
        if len(data) < 2:
            return None
        masked, length, start = data[1] & 0x80, data[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start])
        key_end = start + 4 if masked else start
        if len(data) < key_end + length:
            return None
        payload = bytes(data[key_end : key_end + length])
        if masked:
            payload = _unmask(payload, bytes(data[start:key_end]))
        first = data[0]
        del self._bytes[: key_end + length]
        return bool(first & 0x80), first & 0x0F, payload


def _unmask(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)


class Relay:
    """Listens on a port of its own and passes everything on to the server.

    Args:
        port: Of the server, on this machine.
    """

    def __init__(self, port: int):
        self.record = Record()
        self._target = port
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that a client is to be pointed at."""
        assert self._server is not None, "the relay is not started"
        return self._server.sockets[0].getsockname()[1]

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None, "the relay is not started"
        self._server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(
            _copy(reader, to_server, self.record.sent.append),
            _copy(from_server, writer, self.record.received.append),
        )


async def _copy(
    source: asyncio.StreamReader,
    target: asyncio.StreamWriter,
    tell: Callable[[Event], None],
) -> None:
    """Copy one direction to its end."""
    messages = Messages()
    with contextlib.suppress(ConnectionError):
        while data := await source.read(1 << 16):
            target.write(data)
            for text in messages.feed(data):
                tell({key: v for key, v in json.loads(text).items() if key not in BULKY})
            await target.drain()
    target.close()
