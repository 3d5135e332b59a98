"""A small server with OpenAI's ``/v1/audio/speech``: a tone for every text, or trouble as asked."""

import io
import json
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import soundfile

RATE = 24_000  # hertz


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "audio/wav"})
    sent: int | None = None  # bytes of the body before the line goes dead; None: all
    seconds: float = 0.0  # before it is sent


Decide = Callable[[dict[str, Any], int], Answer]
"""Gives the answer to a request and the how manieth for its text this is, from 1."""


class Speaker:
    """What is answered, and what was asked."""

    def __init__(self, decide: Decide):
        self.decide = decide
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.attempts: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()


def tone(text: str, voice: str, rate: int = RATE, speed: float = 1.0) -> np.ndarray:
    """Return what is "said": as long as the text, as high as the voice."""
    seconds = (0.2 + 0.01 * min(len(text), 100)) / speed
    hertz = 200 + zlib.crc32(f"{voice} {text}".encode()) % 400
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def spoken(
    request: dict[str, Any], kind: str = "wav", rate: int = RATE, seconds: float = 0.0
) -> Answer:
    """Return the good answer to a request."""
    samples = tone(request["input"], request["voice"], rate, request.get("speed", 1.0))
    if kind == "pcm":
        body = (samples * 32_767).astype("<i2").tobytes()
        return Answer(200, body, {"Content-Type": f"audio/pcm; rate={rate}"}, seconds=seconds)
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format=kind.upper())
    return Answer(200, data.getvalue(), {"Content-Type": f"audio/{kind}"}, seconds=seconds)


def endless(answer: Answer) -> Answer:
    """Return a WAV whose header does not know its length, as servers stream it."""
    start = answer.body.index(b"data")
    unknown = struct.pack("<I", 0xFFFFFFFF)
    body = answer.body[: start + 4] + unknown + answer.body[start + 8 :]
    return Answer(200, body[:4] + unknown + body[8:])


@contextmanager
def serving(decide: Decide = lambda request, _: spoken(request)) -> Iterator[tuple[str, Speaker]]:
    """Run a server; give its address and what it was asked."""
    speaker = Speaker(decide)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with speaker.lock:
                speaker.requests.append({"path": self.path, **request})
                speaker.keys.add(self.headers.get("Authorization"))
                speaker.attempts[request["input"]] += 1
                attempt = speaker.attempts[request["input"]]
                speaker.at_once += 1
                speaker.most_at_once = max(speaker.at_once, speaker.most_at_once)
            answer = speaker.decide(request, attempt)
            time.sleep(answer.seconds)
            with speaker.lock:
                speaker.at_once -= 1
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body[: answer.sent])
            self.close_connection = answer.sent is not None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", speaker
    finally:
        server.shutdown()
        server.server_close()
