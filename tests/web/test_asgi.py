"""The same sessions as a route of a web application, under a real ASGI server."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from tests.web.conftest import ANSWER, Client, run
from voiceglm.chat import VoiceChat
from web.asgi import application
from web.certificate import make_certificate
from web.gate import Gate
from web.server import Host, ServerOptions


@asynccontextmanager
async def hosting(models: VoiceChat, **options: Any) -> AsyncIterator[tuple[Host, int]]:
    host = Host(models, ServerOptions(), Gate(keys=("secret",)))
    config = uvicorn.Config(application(host), port=0, log_level="error", **options)
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    try:
        yield host, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running
        host.close()


KEY: dict[str, Any] = {"additional_headers": {"Authorization": "Bearer secret"}}


def test_a_conversation(models: VoiceChat) -> None:
    async def work() -> None:
        async with hosting(models) as (host, port):
            url = f"ws://127.0.0.1:{port}/v1/realtime?model=nano"
            offers: Any = ["realtime", "openai-insecure-api-key.secret"]
            async with connect(url, subprotocols=offers) as socket:
                assert socket.subprotocol == "realtime"
                client = Client(socket)
                await client.until("session.created")
                await client.ask("What is the capital of France?")
                done = await client.until("response.done")
                assert done["response"]["output"][0]["content"][0]["transcript"] == ANSWER
                await socket.send(b"\x00")
                assert (await client.next())["error"]["code"] == "invalid_event"
            for _ in range(50):
                if not host.health()["sessions"]:
                    break
                await asyncio.sleep(0.05)
            assert host.health()["sessions"] == 0
            async with connect(url) as stranger:
                assert "invalid_api_key" in str(await stranger.recv())
                with pytest.raises(ConnectionClosed) as closed:
                    await stranger.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 3000
            with pytest.raises(InvalidStatus, match="403"):
                async with connect(url, origin=Origin("https://evil.example"), **KEY):
                    pass
            metrics = await asyncio.to_thread(get, f"http://127.0.0.1:{port}/metrics")
            assert 'voiceglm_replies_total{status="completed"} 1.0' in metrics
            host.is_draining = True
            with pytest.raises(urllib.error.HTTPError, match="503"):
                await asyncio.to_thread(get, f"http://127.0.0.1:{port}/health")

    run(work)


def test_over_https_with_a_certificate_of_its_own(models: VoiceChat, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    assert key.stat().st_mode & 0o077 == 0, "nobody else reads the key"
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def work() -> None:
        files = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
        async with hosting(models, **files) as (_, port):
            url = f"https://localhost:{port}/health"
            found = await asyncio.to_thread(get, url, trusting)
            assert json.loads(found)["status"] == "ok"
            async with connect(f"wss://127.0.0.1:{port}/v1/realtime", ssl=trusting, **KEY) as s:
                assert "session.created" in str(await s.recv())

    run(work)


def get(url: str, context: ssl.SSLContext | None = None) -> str:
    with urllib.request.urlopen(url, timeout=10, context=context) as response:
        return response.read().decode()
