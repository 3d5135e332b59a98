"""The relay of the compatibility run: changes nothing, reads everything."""

import asyncio
import json
import os

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from compat.wire import Messages, Relay


async def repeat(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(json.dumps({"type": "reply", "to": json.loads(message)["n"]}))


def test_the_relay_passes_on_what_it_writes_down() -> None:
    async def work() -> None:
        async with serve(repeat, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with Relay(port) as relay, connect(f"ws://127.0.0.1:{relay.port}/") as socket:
                for n, size in enumerate((0, 200, 70_000)):  # one for each way to say a length
                    await socket.send(json.dumps({"type": "ask", "n": n, "audio": "x" * size}))
                    assert json.loads(await socket.recv()) == {"type": "reply", "to": n}
                await socket.send(iter(['{"type": "ask", ', '"n": 3}']))
                await socket.recv()
        assert relay.record.sent == [{"type": "ask", "n": n} for n in range(4)], "without audio"
        assert [event["to"] for event in relay.record.of("reply")] == [0, 1, 2, 3]

    asyncio.run(asyncio.wait_for(work(), 20))


def test_messages_are_the_same_however_the_bytes_arrive() -> None:
    key = os.urandom(4)
    payload = "ß{}".encode()
    masked = bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))
    frame = bytes([0x81, 0x80 | len(payload)]) + key + masked
    ping = bytes([0x89, 0x00])
    stream = b"GET / HTTP/1.1\r\n\r\n" + frame + ping + frame
    messages = Messages()
    found = [text for byte in stream for text in messages.feed(bytes([byte]))]
    assert found == ["ß{}", "ß{}"]
    assert list(Messages().feed(stream)) == found
