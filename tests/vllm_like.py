"""A small server with the wire format of vLLM's ``/v1/completions``, running any ``VoiceLM``."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from voiceglm.language_model import Sampling, VoiceLM


class Engine:
    """What is served, and what was asked of it."""

    def __init__(self, model: VoiceLM):
        self.model = model
        self.requests: list[dict[str, Any]] = []
        self.written = 0  # ids, whether or not somebody read them
        self.cancelled = 0  # requests whose client hung up
        self.breaks_after: int | None = None  # ids


@contextmanager
def serving(engine: Engine) -> Iterator[str]:
    """Run a server and give its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer({"object": "list", "data": [{"id": "served", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            engine.requests.append(body)
            if body["model"] != "served":
                self._answer({"error": {"message": "no such model"}}, 404)
            elif body["stream"]:
                self._stream(body)
            else:
                self._answer({"choices": [{"index": 0, "text": "", "token_ids": [1]}]})

        def _answer(self, value: dict[str, Any], status: int = 200) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, body: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                for event in events(engine, body):
                    self.wfile.write(f"data: {event}\n\n".encode())
            except (BrokenPipeError, ConnectionResetError):
                engine.cancelled += 1
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def events(engine: Engine, body: dict[str, Any]) -> Iterator[str]:
    """Yield the events of a reply as vLLM words them."""
    sampling = Sampling(
        temperature=body["temperature"], top_p=body["top_p"], max_new_ids=body["max_tokens"]
    )
    generator = torch.Generator().manual_seed(body["seed"])
    stops = body["stop_token_ids"]
    finish = "length"
    for id_ in engine.model.generate(body["prompt"], sampling, generator=generator):
        if engine.written == engine.breaks_after:
            return
        engine.written += 1
        finish = "stop" if id_ in stops else finish
        choice = {"index": 0, "text": "", "token_ids": [id_], "finish_reason": None}
        yield json.dumps({"id": "cmpl-1", "choices": [choice]})
    last = {"index": 0, "text": "", "token_ids": [], "finish_reason": finish}
    yield json.dumps({"id": "cmpl-1", "choices": [last]})
    yield "[DONE]"
