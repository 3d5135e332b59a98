"""One reply on its way to the client: its events in order, its audio at the pace it is heard.

Audio that has not left can be called back when the user interrupts, so little more leaves than a
player needs to be safe. Time is what the caller says it is, in seconds.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from voiceglm.events import TextDelta
from voiceglm.history import Usage
from web.codec import PCM, pack
from web.events import Message
from web.items import Item
from web.settings import Settings

PIECE_MS = 100  # of audio in one message
HOLD_SECONDS = 1.2  # the ear takes a suspicion back before that, if it hears anything at all
LEAD_MS = 2_000  # audio a client may have in advance


@dataclass(frozen=True)
class Ending:
    """How a reply ended."""

    status: Literal["completed", "cancelled", "incomplete", "failed"]
    reason: str | None = None
    error: str | None = None

    def details(self) -> dict[str, Any] | None:
        """Return the protocol's status_details."""
        if self.status == "completed":
            return None
        details: dict[str, Any] = {"type": self.status}
        if self.reason:
            details["reason"] = self.reason
        if self.error:
            error = {"type": "server_error", "code": "inference_failed", "message": self.error}
            details["error"] = error
        return details


def usage_json(usage: Usage) -> dict[str, Any]:
    """Return the protocol's usage."""
    cached = {"text_tokens": usage.cached_text_in, "audio_tokens": usage.cached_speech_in}
    total_in, total_out = usage.text_in + usage.speech_in, usage.text_out + usage.speech_out
    return {
        "total_tokens": total_in + total_out,
        "input_tokens": total_in,
        "output_tokens": total_out,
        "input_token_details": {
            "text_tokens": usage.text_in,
            "audio_tokens": usage.speech_in,
            "image_tokens": 0,
            "cached_tokens": sum(cached.values()),
            "cached_tokens_details": {**cached, "image_tokens": 0},
        },
        "output_token_details": {
            "text_tokens": usage.text_out,
            "audio_tokens": usage.speech_out,
        },
    }


@dataclass(eq=False)
class Response:
    """A reply in progress."""

    id: str
    item: Item
    settings: Settings  # as they were when it began
    conversation_id: str | None  # None: outside of it
    metadata: Mapping[str, Any] | None = None
    sent_ms: float = 0.0
    """Audio that has left."""
    plays_until: float = 0.0
    """When a client that plays at once will have played what has left."""
    held_until: float = 0.0
    """Audio waits until then for the user, who may be about to interrupt."""
    usage: Usage = field(default_factory=Usage)
    """So far."""
    speed: float = 1.0
    """How many times as fast as codes stand for the reply is spoken."""
    said: list[tuple[int, str]] = field(default_factory=list)
    """Text that has left, each piece with the speech ids written before it."""
    _queue: deque[tuple[int, str] | bytes] = field(default_factory=deque)
    _ending: Ending | None = None

    @property
    def text(self) -> str:
        """What has left of the transcript."""
        return "".join(text for _, text in self.said)

    def open(self, previous_item_id: str | None) -> list[Message]:
        """Return what announces the reply."""
        item = self.item.to_json()
        messages: list[Message] = [
            {"type": "response.created", "response": self._to_json("in_progress", None)},
            {"type": "response.output_item.added", **self._place(item_id=False), "item": item},
        ]
        if self.conversation_id:
            before = {"previous_item_id": previous_item_id, "item": item}
            messages.append({"type": "conversation.item.added", **before})
        self.item.text = ""
        part = {"type": "response.content_part.added", **self._place(), "part": self._part()}
        return [*messages, part]

    def write(self, delta: TextDelta) -> None:
        """Take more of the text."""
        self.speed = delta.style.speed
        self._queue.append((delta.after_codes, delta.text))

    def sound(self, data: bytes) -> None:
        """Take more of the audio, as the wire has it."""
        size = self.settings.output_format.num_bytes(PIECE_MS)
        self._queue.extend(data[n : n + size] for n in range(0, len(data), size))

    def end(self, ending: Ending) -> None:
        """Nothing more will be taken."""
        self._ending = ending

    def release(self, now: float) -> tuple[list[Message], bool]:
        """Return what may leave, and whether that was all of the reply."""
        messages: list[Message] = []
        while self._queue and not self._wait(now):
            messages.append(self._leave(self._queue.popleft(), now))
        over = not self._queue and self._ending is not None
        if over and self._ending is not None:
            messages += self._close(self._ending)
        return messages, over

    def cancel(self, reason: str) -> list[Message]:
        """Return what ends the reply now; what has not left never will."""
        self._queue.clear()
        return self._close(Ending("cancelled", reason))

    def hold(self, now: float | None) -> None:
        """Keep audio back from now on, but not for ever; None to let it go."""
        self.held_until = 0.0 if now is None else now + HOLD_SECONDS

    def wakes_at(self, now: float) -> float | None:
        """Return when more may leave; None if that is not a matter of time."""
        if not self._queue:
            return None
        return now + self._wait(now)

    def _wait(self, now: float) -> float:
        """Return the seconds until the first in the queue may leave."""
        if not isinstance(self._queue[0], bytes):
            return 0.0
        return max(0.0, self.plays_until - now - LEAD_MS / 1000, self.held_until - now)

    def _leave(self, what: tuple[int, str] | bytes, now: float) -> Message:
        if isinstance(what, bytes):
            milliseconds = self.settings.output_format.milliseconds(len(what))
            self.sent_ms += milliseconds
            self.plays_until = max(self.plays_until, now) + milliseconds / 1000
            if self.settings.output_format is PCM:
                self.item.spoken += what
            return {"type": "response.output_audio.delta", **self._place(), "delta": pack(what)}
        self.said.append(what)
        self.item.text = self.text
        kind = "output_audio_transcript" if self.settings.speaks else "output_text"
        return {"type": f"response.{kind}.delta", **self._place(), "delta": what[1]}

    def _close(self, ending: Ending) -> list[Message]:
        self.item.status = "completed" if ending.status == "completed" else "incomplete"
        place, item = self._place(), self.item.to_json()
        if self.settings.speaks:
            messages: list[Message] = [
                {"type": "response.output_audio.done", **place},
                {
                    "type": "response.output_audio_transcript.done",
                    **place,
                    "transcript": self.text,
                },
            ]
        else:
            messages = [{"type": "response.output_text.done", **place, "text": self.text}]
        messages.append({"type": "response.content_part.done", **place, "part": self._part()})
        if self.conversation_id:
            messages.append({"type": "conversation.item.done", "item": item})
        done = {"type": "response.output_item.done", **self._place(item_id=False), "item": item}
        response = self._to_json(ending.status, ending.details(), item)
        return [*messages, done, {"type": "response.done", "response": response}]

    def _place(self, *, item_id: bool = True) -> Message:
        if not item_id:
            return {"response_id": self.id, "output_index": 0}
        return {
            "response_id": self.id,
            "item_id": self.item.id,
            "output_index": 0,
            "content_index": 0,
        }

    def _part(self) -> Message:
        if self.settings.speaks:
            return {"type": "audio", "transcript": self.text}
        return {"type": "text", "text": self.text}

    def _to_json(
        self, status: str, details: dict[str, Any] | None, item: Message | None = None
    ) -> Message:
        settings = self.settings
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": [item] if item else [],
            "conversation_id": self.conversation_id,
            "output_modalities": list(settings.output_modalities),
            "max_output_tokens": settings.max_output_tokens or "inf",
            "audio": {
                "output": {"format": settings.output_format.to_json(), "voice": settings.voice}
            },
            "usage": None if status == "in_progress" else usage_json(self.usage),
            "metadata": dict(self.metadata) if self.metadata else None,
        }
