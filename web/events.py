"""Messages as they stand on the wire, but for those of a reply (``web.response``)."""

from collections.abc import Callable
from typing import Any

from web.actions import Send
from web.errors import ClientError
from web.items import Item

Message = dict[str, Any]


class Events:
    """Writes messages, each with an identifier of its own.

    Args:
        new_id: Makes an identifier that starts with a word.
    """

    def __init__(self, new_id: Callable[[str], str]):
        self._new_id = new_id

    def send(self, message: Message) -> Send:
        """Write any message."""
        return Send({"event_id": self._new_id("event"), **message})

    def error(self, error: ClientError, event_id: str | None = None) -> Send:
        """Say what was wrong with a client's event, which may have an identifier."""
        details = {
            "type": "invalid_request_error",
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "event_id": event_id,
        }
        return self.send({"type": "error", "error": details})

    def session(self, what: str, session: Message) -> Send:
        """Say that the session is ``created`` or ``updated``."""
        return self.send({"type": f"session.{what}", "session": session})

    def buffer(self, what: str, **fields: object) -> Send:
        """Say what became of the audio that was sent: ``speech_started``, ``committed``, ..."""
        return self.send({"type": f"input_audio_buffer.{what}", **fields})

    def item(self, what: str, **fields: object) -> Send:
        """Say what became of an item: ``truncated``, ``deleted``, ``retrieved``."""
        return self.send({"type": f"conversation.item.{what}", **fields})

    def new_item(self, item: Item, previous_item_id: str | None) -> list[Send]:
        """Say that an item is there, and complete."""
        place = {"previous_item_id": previous_item_id, "item": item.to_json()}
        return [self.item("added", **place), self.item("done", **place)]

    def transcription(self, item_id: str, text: str | None, seconds: float) -> list[Send]:
        """Say what was understood of an item, None for nothing."""
        where = {"item_id": item_id, "content_index": 0}
        if text is None:
            error = {"type": "transcription_error", "message": "nothing could be understood"}
            return [self.item("input_audio_transcription.failed", **where, error=error)]
        usage = {"type": "duration", "seconds": seconds}
        return [
            self.item("input_audio_transcription.delta", **where, delta=text),
            self.item("input_audio_transcription.completed", **where, transcript=text, usage=usage),
        ]
