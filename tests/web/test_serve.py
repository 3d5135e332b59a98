"""``voiceglm serve`` as an operator starts it, and as it ends."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT
from voiceglm.cli import main
from voiceglm.commands import serve
from web.server import Host


def test_everybody_may_connect_only_with_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "0.0.0.0"]) == 1
    assert "give --api-key" in capsys.readouterr().err
    assert main(["serve", "--api-key", "@/nowhere/keys"]) == 1
    assert "cannot read keys from /nowhere/keys" in capsys.readouterr().err
    assert main(["serve", "--engine", "vllm"]) == 1
    assert "--engine-url" in capsys.readouterr().err


def made(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Host:
    """Return what a command line serves, with no model behind it."""
    monkeypatch.setattr("voiceglm.pretrained.load_chat", lambda *_, **__: None)
    monkeypatch.setattr(serve, "_voices", lambda *_: ("", {}))
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return serve.make_host(parser.parse_args(arguments))


def test_without_a_key_only_this_machine_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("127.0.0.1", "127.0.0.2", "localhost", "::1"):
        assert not made(monkeypatch, "--host", address).gate.allows_name("evil.example")
    assert made(monkeypatch, "--api-key", "one").gate.allows_name("talk.example.org")
    everywhere = ("--host", "0.0.0.0", "--api-key", "one")
    assert made(monkeypatch, *everywhere).gate.allows_name("talk.example.org")


def test_sessions_that_wait_for_an_engine_wait_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = ("--engine", "vllm", "--engine-url", "http://127.0.0.1:9", "--max-sessions", "40")
    assert made(monkeypatch, *elsewhere).options.workers == 40
    assert made(monkeypatch, *elsewhere, "--workers", "3").options.workers == 3
    assert made(monkeypatch).options.workers == os.cpu_count()
    assert made(monkeypatch, "--workers", "3").options.workers == 3


def test_it_starts_says_where_and_ends_when_told(nano: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("one\ntwo\n")
    command = [sys.executable, "-m", "voiceglm.cli", "serve", "--port", "0"]
    command += ["--api-key", f"@{keys}", "--log-json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("listening"))
        match = re.match(r"listening on ws://([^/]+)/v1/realtime", line)
        assert match
        with urllib.request.urlopen(f"http://{match[1]}/health", timeout=10) as response:
            assert json.load(response)["sessions"] == 0
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(30) == 0
    assert "finishing replies" in said
    assert "Traceback" not in said


def test_a_port_that_is_taken(nano: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err
