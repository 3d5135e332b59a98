"""A simulated caller: speaks recordings in real time, listens, sometimes interrupts."""

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from web.codec import PCM, pack
from web.player import Player

PIECE = PCM.rate // 50  # samples of one message
PIECE_SECONDS = 0.02
PATIENCE = 30.0  # seconds to wait for an answer
SETTLE = 0.4  # seconds of silence before a question
FINAL = ("invalid_api_key", "session_limit_reached", "server_draining", "session_expired")
INTO_REPLY = 0.4  # seconds of a reply that are heard before it is interrupted


@dataclass(frozen=True)
class Question:
    """A recording, and where in it somebody speaks."""

    samples: NDArray[np.float32]  # at 24 kHz
    begins: float  # seconds
    ends: float

    @classmethod
    def of(cls, samples: NDArray[np.float32]) -> "Question":
        """Find the speech: everything between the first and the last 10 ms that are not quiet."""
        size = PCM.rate // 100
        whole = samples[: len(samples) // size * size].reshape(-1, size)
        level = np.sqrt((whole**2).mean(axis=1))
        loud = np.flatnonzero(level > 0.05 * level.max())
        return cls(samples, float(loud[0]) / 100, float(loud[-1] + 1) / 100)


@dataclass
class Turn:
    """What one question and its answer took: seconds, None for what did not happen."""

    interrupts: bool = False
    to_stopped: float | None = None  # from the true end of speech
    to_response: float | None = None
    to_first_audio: float | None = None
    to_started: float | None = None  # from the first speech of an interruption to being noticed
    to_last_old_audio: float | None = None
    audio: float = 0.0  # seconds that came
    stream: float = 0.0  # from the first to the last of it
    underruns: int = 0
    gap: float = 0.0  # silence that was heard in the middle of the reply
    status: str = "unanswered"
    said: str = ""  # the transcript of the reply
    trouble: list[str] = field(default_factory=list)


class Caller:
    """One connection.

    Args:
        url: Of the server.
        questions: Asked one after the other.
        key: For servers that want one.
    """

    def __init__(self, url: str, questions: Sequence[Question], key: str | None = None):
        self._url = url
        self._questions = questions
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._unsaid = np.zeros(0, dtype=np.float32)
        self._begins_at = self._ends_at = 0.0  # of the speech in the question
        self._turn = Turn()
        self._turns: dict[str, Turn] = {}  # by response
        self._over = asyncio.Event()
        self._player = Player()
        self._first_audio_at = 0.0
        self._item: str | None = None  # that is played
        self._goodbye: str | None = None  # why the server has hung up

    async def call(self, turns: int, *, interrupt_every: int = 0, offset: int = 0) -> list[Turn]:
        """Hold a conversation.

        Args:
            turns: Questions.
            interrupt_every: Every which question interrupts the reply before it; 0 for none.
            offset: Which question comes first.

        Returns:
            One result per question that was asked, also of those that failed.
        """
        done: list[Turn] = []
        try:
            async with connect(
                self._url, additional_headers=self._headers, compression=None, max_size=1 << 22
            ) as socket:
                await self._converse(socket, turns, interrupt_every, offset, done)
        except (OSError, WebSocketException) as error:
            done.append(Turn(trouble=[f"{type(error).__name__}: {error}"]))
        return done

    async def _converse(
        self,
        socket: ClientConnection,
        turns: int,
        interrupt_every: int,
        offset: int,
        done: list[Turn],
    ) -> None:
        work = [asyncio.ensure_future(w) for w in (self._speak(socket), self._hear(socket))]
        try:
            for n in range(turns):
                question = self._questions[(n + offset) % len(self._questions)]
                interrupts = bool(interrupt_every) and n % interrupt_every > 0
                leaves = bool(interrupt_every) and (n + 1) % interrupt_every > 0 and n + 1 < turns
                done.append(await self._ask(question, interrupts=interrupts, leaves=leaves))
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _ask(self, question: Question, *, interrupts: bool, leaves: bool) -> Turn:
        """Ask, and listen to the end, or only to the beginning if the next one interrupts."""
        await self._wait_for_a_place(into_reply=interrupts)
        turn = self._turn = Turn(interrupts=interrupts)
        if self._goodbye is not None:
            turn.trouble.append(self._goodbye)
            return turn
        self._over.clear()
        now = time.monotonic()
        self._begins_at, self._ends_at = now + question.begins, now + question.ends
        self._unsaid = question.samples
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard_enough(turn, leaves=leaves), PATIENCE)
        return turn

    async def _heard_enough(self, turn: Turn, *, leaves: bool) -> None:
        while not (self._over.is_set() or (leaves and turn.to_first_audio is not None)):
            await asyncio.sleep(0.01)

    async def _wait_for_a_place(self, *, into_reply: bool) -> None:
        """Wait for silence, or for the middle of a reply."""
        if into_reply:
            while time.monotonic() - self._first_audio_at < INTO_REPLY:
                await asyncio.sleep(0.01)
            return
        while self._player.is_playing(time.monotonic()):
            await asyncio.sleep(0.01)
        await asyncio.sleep(SETTLE)

    async def _speak(self, socket: ClientConnection) -> None:
        """Send a piece of sound, or of silence, every 20 ms."""
        due = time.monotonic()
        while True:
            piece, self._unsaid = self._unsaid[:PIECE], self._unsaid[PIECE:]
            piece = np.pad(piece, (0, PIECE - len(piece)))
            event = {"type": "input_audio_buffer.append", "audio": pack(PCM.write(piece))}
            await socket.send(json.dumps(event))
            due += PIECE_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _hear(self, socket: ClientConnection) -> None:
        async for text in socket:
            event, now = json.loads(text), time.monotonic()
            handler = getattr(self, "_on_" + event["type"].replace(".", "_"), None)
            if handler is not None:
                handler(event, now)
            if event["type"] == "input_audio_buffer.speech_started" and self._item:
                heard = max(0, round(1_000 * self._player.clear(now)))
                item, self._item = self._item, None
                where = {"item_id": item, "content_index": 0, "audio_end_ms": heard}
                cut = {"type": "conversation.item.truncate", **where}
                await socket.send(json.dumps(cut))
        self._goodbye = self._goodbye or "the server hung up"
        self._over.set()

    def _on_input_audio_buffer_speech_started(self, event: dict[str, Any], now: float) -> None:
        if self._turn.interrupts and self._turn.to_started is None:
            self._turn.to_started = now - self._begins_at

    def _on_input_audio_buffer_speech_stopped(self, event: dict[str, Any], now: float) -> None:
        self._turn.to_stopped = now - self._ends_at

    def _on_response_created(self, event: dict[str, Any], now: float) -> None:
        self._turns[event["response"]["id"]] = self._turn
        self._turn.to_response = now - self._ends_at
        self._player = Player()

    def _on_response_output_audio_delta(self, event: dict[str, Any], now: float) -> None:
        turn = self._turns[event["response_id"]]
        if turn is not self._turn and now > self._begins_at:
            self._turn.to_last_old_audio = now - self._begins_at
        if turn.to_first_audio is None:
            turn.to_first_audio = now - self._ends_at
            self._first_audio_at = now
        self._item = event["item_id"]
        seconds = len(base64.b64decode(event["delta"])) / (PCM.width * PCM.rate)
        turn.audio += seconds
        turn.stream = now - self._first_audio_at
        self._player.push(seconds, now)

    def _on_response_output_audio_done(self, event: dict[str, Any], now: float) -> None:
        self._player.end(now)

    def _on_response_done(self, event: dict[str, Any], now: float) -> None:
        turn = self._turns[event["response"]["id"]]
        turn.status = event["response"]["status"]
        turn.said = event["response"]["output"][0]["content"][0].get("transcript", "")
        turn.underruns, turn.gap = self._player.underruns, self._player.gap
        if turn is self._turn:
            self._over.set()

    def _on_error(self, event: dict[str, Any], now: float) -> None:
        self._turn.trouble.append(event["error"]["code"] or event["error"]["message"])
        if event["error"]["code"] in FINAL:
            self._goodbye = event["error"]["code"]
