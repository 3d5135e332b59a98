"""Two servers behind a real nginx with the published configuration."""

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import which

import pytest
from websockets.asyncio.client import connect

from tests.conftest import NANO, ROOT
from tests.web.conftest import ANSWER, Client, run

NGINX = which("nginx") or which("nginx", path="/usr/sbin")


@pytest.fixture
def servers() -> Iterator[list[str]]:
    """Two processes; where they listen."""
    if NGINX is None:
        pytest.skip("there is no nginx on this machine")
    if not (NANO / "language_model").is_dir():
        pytest.skip("the bundled model is not in this checkout")
    command = [sys.executable, "-m", "voiceglm.cli", "serve", "--port", "0", "--workers", "1"]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
            )
            for _ in range(2)
        ]
        addresses = []
        for process in processes:
            assert process.stderr is not None
            found = (re.match(r"listening on ws://([^/]+)/", line) for line in process.stderr)
            match = next((each for each in found if each), None)
            assert match, "the server did not start"
            addresses.append(match[1])
        yield addresses
        for process in processes:
            process.terminate()


@pytest.fixture
def proxy(servers: list[str], tmp_path: Path) -> Iterator[str]:
    """The published configuration, with the ports of this test."""
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    port = 18_080
    for published, address in zip(("127.0.0.1:8765", "127.0.0.1:8766"), servers, strict=True):
        assert published in text
        text = text.replace(published, address)
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}")
    path = tmp_path / "nginx.conf"
    temporary = " ".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{text}\n}}\n"
    )
    command = [str(NGINX), "-c", str(path), "-p", str(tmp_path), "-e", str(tmp_path / "error.log")]
    with subprocess.Popen(command) as process:
        yield f"127.0.0.1:{port}"
        process.terminate()


def sessions(address: str) -> int:
    with urllib.request.urlopen(f"http://{address}/health", timeout=10) as response:
        return json.load(response)["sessions"]


def test_callers_are_spread_and_each_is_answered(servers: list[str], proxy: str) -> None:
    async def call() -> str:
        async with connect(f"ws://{proxy}/v1/realtime?model=nano") as socket:
            client = Client(socket)
            await client.until("session.created")
            await client.ask("What is the capital of France?")
            done = await client.until("response.done")
            client.seen.end()
            await asyncio.sleep(0.5)
            return done["response"]["output"][0]["content"][0]["transcript"]

    async def work() -> None:
        for _ in range(50):
            try:
                await asyncio.to_thread(sessions, proxy)
                break
            except OSError:
                await asyncio.sleep(0.1)
        calls = asyncio.gather(*(call() for _ in range(4)))
        most = [0, 0]
        while not calls.done():
            now = [await asyncio.to_thread(sessions, address) for address in servers]
            most = [max(pair) for pair in zip(most, now, strict=True)]
            await asyncio.sleep(0.05)
        assert await calls == [ANSWER] * 4
        assert most == [2, 2], "two each"

    run(work)
