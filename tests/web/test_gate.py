"""A server for this machine alone is not reached under somebody else's name."""

import asyncio
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.web.conftest import run, serving
from voiceglm.chat import VoiceChat
from web.demo import application
from web.gate import NOT_LOCAL, Gate, is_local
from web.server import Host, ServerOptions

LOCAL = ["localhost", "localhost:8765", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:8765"]
FOREIGN = [
    "evil.example",
    "evil.example:8765",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "192.168.0.7",
    "0.0.0.0",
    "[::2]",
    "[::1",
    "",
]


@pytest.mark.parametrize("name", LOCAL)
def test_local_names(name: str) -> None:
    assert Gate(only_local=True).allows_name(name)


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_names(name: str) -> None:
    assert not Gate(only_local=True).allows_name(name)
    assert Gate().allows_name(name), "a server for others is called whatever its proxy is called"


def test_the_name_of_an_allowed_page_is_as_good() -> None:
    gate = Gate(origins=("https://example.org",), only_local=True)
    assert gate.allows_name("example.org")
    assert not gate.allows_name("example.org.evil.example")
    assert Gate(origins=("*",), only_local=True).allows_name("evil.example")
    assert gate.allows_name(None), "no browser"


def test_origins_that_cannot_be_read_are_not_allowed() -> None:
    assert not Gate().allows_origin("http://[", "localhost")
    assert not is_local(None)


def test_a_socket_under_a_foreign_name_is_refused(models: VoiceChat) -> None:
    async def work() -> None:
        async with serving(models, gate=Gate(only_local=True)) as server:
            here: dict[str, Any] = {"host": "127.0.0.1", "port": server.port}
            for path in ("/v1/realtime", "/health"):
                url = f"ws://evil.example:{server.port}{path}"
                with pytest.raises(InvalidStatus, match="403") as refused:
                    async with connect(url, **here):
                        pass
                assert refused.value.response.body == NOT_LOCAL.encode()
            async with connect(f"ws://localhost:{server.port}/v1/realtime", **here) as socket:
                assert "session.created" in str(await asyncio.wait_for(socket.recv(), 20))
            assert 'voiceglm_refused_total{reason="host"} 2.0' in server.host.metrics.text()

    run(work)


def test_a_page_under_a_foreign_name_is_refused(models: VoiceChat) -> None:
    host = Host(models, ServerOptions(), Gate(only_local=True))
    page = application(host)
    stranger = TestClient(page, base_url="http://evil.example:7860")
    for path in ("/", "/talk/page.js", "/health", "/gradio_api/info"):
        found = stranger.get(path)
        assert (found.status_code, found.text) == (403, NOT_LOCAL)
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        stranger.websocket_connect("/v1/realtime"),
    ):
        pass
    assert refused.value.status_code == 403
    assert 'voiceglm_refused_total{reason="host"} 5.0' in host.metrics.text()
    assert TestClient(page, base_url="http://127.0.0.1:7860").get("/").status_code == 200
    host.close()
