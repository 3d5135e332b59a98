"""Speech from any server with OpenAI's ``/v1/audio/speech``, many requests at once.

A request that fails for now (no connection, 429, 5xx, an answer that is no audio) is tried again
after a while, each time a longer one. A server from which nothing good has come for long is dead.
A line that it refuses, or that fails again and again while others do not, is left out.
"""

import asyncio
import email.utils
import json
import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import httpx
import numpy as np
import torch

from data_synth.speak import Line
from data_synth.synthesizers import Refusal, Said
from data_synth.tts import Voice
from voiceglm.audio import decode_audio, resample
from voiceglm.errors import AudioError, ConfigError, SynthesisError

PCM_RATE = 24_000  # hertz, of raw samples that do not say theirs
_CONNECT_SECONDS = 5.0
_MOST_BYTES = 256 << 20  # of one answer


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often and how long one tries again; times in seconds."""

    first: float = 0.5
    """Until the second attempt; each further one waits twice as long."""
    longest: float = 30.0
    give_up: float = 300.0
    """Without a single good answer, the server is dead."""
    silent: float = 60.0
    """Until the next bytes of an answer."""
    attempts: int = 5
    """For a line that fails while others are spoken."""

    def delay(self, attempt: int) -> float:
        """Return how long to wait after an attempt, counted from 1."""
        return min(self.longest, self.first * 2 ** min(attempt - 1, 30))


@dataclass(frozen=True)
class _Trouble:
    """An attempt that failed for now."""

    what: str
    wait: float = 0.0  # seconds that the server asks for
    answered: bool = False  # so that it may be the line's own fault


class SpeechEndpoint:
    """A speech server.

    Args:
        url: Of the server, with or without ``/v1``.
        model: What the server calls the model.
        sample_rate: Of what is said, in hertz, whatever the server's own.
        parallel: Requests at once.
        key: For servers that want one.
        patience: With a server in trouble.

    Raises:
        ConfigError: If the address is none.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        sample_rate: int,
        parallel: int,
        key: str | None = None,
        patience: Patience | None = None,
    ):
        self._url = address(url)
        self._model, self._sample_rate = model, sample_rate
        self._patience = patience or Patience()
        self._slots = asyncio.Semaphore(parallel)
        self._last_good = 0.0  # time of the monotonic clock
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self._patience.silent, connect=_CONNECT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=parallel),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def submit(self, line: Line) -> Future[Said]:
        """Begin to have a line spoken.

        The future raises SynthesisError if the server is dead or wants another key.
        """
        return asyncio.run_coroutine_threadsafe(self._say(line), self._loop)

    def close(self) -> None:
        """Give up every request and hang up."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    async def _say(self, line: Line) -> Said:
        async with self._slots:
            return await self._try_until_said(line)

    async def _try_until_said(self, line: Line) -> Said:
        started = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            found = await self._attempt(line)
            if not isinstance(found, _Trouble):
                self._last_good = time.monotonic()
                return found
            delay = max(found.wait, self._patience.delay(attempt))
            waited = time.monotonic() - max(started, self._last_good)
            others_work = self._last_good > started
            if found.answered and others_work and attempt >= self._patience.attempts:
                return Refusal(f"{found.what}, {attempt} times")
            if waited + delay > self._patience.give_up:
                raise SynthesisError(
                    f"the endpoint at {self._url} gave nothing for {waited:.0f} s: {found.what};"
                    " finished packs are kept, run the same command again to go on"
                )
            await asyncio.sleep(delay)

    async def _attempt(self, line: Line) -> Said | _Trouble:
        body: dict[str, str | float] = {
            "model": self._model,
            "voice": line.voice.name,
            "input": line.text,
            "response_format": "wav",
        }
        if line.voice.rate != Voice.rate:
            body["speed"] = min(max(round(line.voice.rate / Voice.rate, 2), 0.25), 4.0)
        try:
            async with self._client.stream("POST", self._url, json=body) as response:
                data = await _read(response, self._patience.give_up)
        except (httpx.HTTPError, TimeoutError) as error:
            return _Trouble(str(error) or type(error).__name__)
        if response.status_code == 200:
            return await asyncio.to_thread(self._samples, data, response.headers)
        return self._refused(response, data)

    def _samples(self, data: bytes, headers: Mapping[str, str]) -> Said | _Trouble:
        """Decode an answer."""
        kind = headers.get("content-type", "").lower()
        try:
            if kind.startswith("audio/pcm"):
                samples = _raw(data, kind, self._sample_rate)
            else:
                samples = decode_audio(data, self._sample_rate, what="the answer")
        except AudioError as error:
            return _Trouble(f"{error} (it is called {kind or 'nothing'})", answered=True)
        return samples.numpy()

    def _refused(self, response: httpx.Response, data: bytes) -> Refusal | _Trouble:
        status = response.status_code
        what = f"{status} {_detail(data)}".strip()
        if status == 401:
            raise SynthesisError(
                f"the endpoint at {self._url} refuses the key ({what}); set OPENAI_API_KEY"
            )
        if status in (408, 429) or status >= 500:
            wait = _seconds(response.headers.get("retry-after", ""))
            return _Trouble(what, wait, answered=status >= 500)
        if status < 400:
            raise SynthesisError(f"the endpoint at {self._url} answers with {what}, not with audio")
        return Refusal(what)


def address(url: str) -> str:
    """Return where speech is asked for, of an address with or without that path.

    Raises:
        ConfigError: If it is no address of a server.
    """
    base = re.sub(r"(/v1)?(/audio/speech)?/*$", "", url.rstrip("/"))
    try:
        parsed = httpx.URL(base)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"{url!r} is no address of a server, such as http://127.0.0.1:8000")
    return f"{base}/v1/audio/speech"


async def _read(response: httpx.Response, seconds: float) -> bytes:
    """Read an answer that must come within that time, however slowly."""
    data = bytearray()
    async with asyncio.timeout(seconds):
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > _MOST_BYTES:
                raise httpx.ReadError(f"an answer of over {_MOST_BYTES >> 20} MiB")
    return bytes(data)


def _raw(data: bytes, kind: str, sample_rate: int) -> torch.Tensor:
    """Read 16-bit samples, little endian: (num_samples,)."""
    rate = re.search(r"rate=(\d{1,6})\b", kind)
    samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32_768
    return resample(torch.from_numpy(samples), int(rate[1]) if rate else PCM_RATE, sample_rate)


def _detail(data: bytes) -> str:
    """Return the reason that an answer gives, as one line."""
    text = data[:2_000].decode(errors="replace")
    message = re.search(r'"message"\s*:\s*("(?:[^"\\]|\\.)*")', text)
    with suppress(ValueError):
        text = str(json.loads(message[1])) if message else text
    return " ".join(text.split())[:200]


def _seconds(header: str) -> float:
    """Read ``Retry-After``: seconds or a date."""
    if re.fullmatch(r"\d{1,9}(\.\d+)?", header.strip()):
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0
