"""A server with the bundled model, and a clients' side that checks every message."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import torch
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import NANO, ROOT
from tests.web.invariants import Invariants, Message
from voiceglm.audio import load_speech
from voiceglm.chat import VoiceChat
from voiceglm.pretrained import load_chat
from web.gate import Gate
from web.server import Host, Server, ServerOptions

QUESTION = ROOT / "voiceglm" / "assets" / "question.wav"
ANSWER = "The capital of France is Paris."


@pytest.fixture(scope="session")
def models() -> VoiceChat:
    """The bundled model, loaded once."""
    if not (NANO / "language_model").is_dir():
        pytest.skip("the bundled model is not in this checkout")
    return load_chat("nano")


@pytest.fixture(scope="session")
def question() -> bytes:
    """The bundled question as the wire has it, with silence before and after."""
    speech = load_speech(QUESTION, 24_000)
    silence = torch.zeros(12_000)
    samples = torch.cat([silence, speech, silence, silence])
    return (samples.clamp(-1, 1) * 32_767).to(torch.int16).numpy().tobytes()


@asynccontextmanager
async def serving(
    models: VoiceChat, options: ServerOptions | None = None, gate: Gate | None = None
) -> AsyncIterator[Server]:
    """Run a server on a free port."""
    server = Server(Host(models, options or ServerOptions(), gate or Gate()))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Client:
    """A client of a few lines. It checks what it gets."""

    def __init__(self, socket: ClientConnection):
        self.socket = socket
        self.seen = Invariants()

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def next(self, seconds: float = 20.0) -> Message:
        message = json.loads(await asyncio.wait_for(self.socket.recv(), seconds))
        self.seen.see(message)
        return message

    async def until(self, kind: str) -> Message:
        """Return the next message of a type; an error is one too many."""
        while True:
            message = await self.next()
            if message["type"] == kind:
                return message
            assert message["type"] != "error", message

    async def append(self, data: bytes, *, step: int = 4_800, pause: float = 0.0) -> None:
        for start in range(0, len(data), step):
            audio = base64.b64encode(data[start : start + step]).decode()
            await self.send("input_audio_buffer.append", audio=audio)
            await asyncio.sleep(pause)

    async def ask(self, text: str) -> None:
        """Ask in writing, and for an answer."""
        part = {"type": "input_text", "text": text}
        item = {"type": "message", "role": "user", "content": [part]}
        await self.send("conversation.item.create", item=item)
        await self.send("response.create")

    def audio(self, response_id: str) -> bytes:
        """Return what was heard of a reply."""
        deltas = self.seen.of("response.output_audio.delta")
        parts = [m["delta"] for m in deltas if m["response_id"] == response_id]
        return b"".join(map(base64.b64decode, parts))


@asynccontextmanager
async def calling(server: Server, **options: Any) -> AsyncIterator[Client]:
    """Connect, and read the greeting."""
    url = f"ws://127.0.0.1:{server.port}/v1/realtime?model=nano"
    async with connect(url, **options) as socket:
        client = Client(socket)
        await client.until("session.created")
        yield client


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test that is a coroutine, with an end."""

    async def bounded() -> None:
        await asyncio.wait_for(work(), 120)

    asyncio.run(bounded())
