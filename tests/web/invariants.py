"""What must hold of every message a session sends, whoever the client is.

Each message is validated strictly against the client library's own types; the order is checked
against the promises of the protocol: one active response, exactly one end to each, an end to
everything that was announced, nothing null inside an item, no name used twice.
"""

from typing import Any

from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

Message = dict[str, Any]
ADAPTER = TypeAdapter(RealtimeServerEvent)
MAY_BE_NULL = {"transcript", "audio", "text"}  # of a part


class Invariants:
    """Sees all messages of one session."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.active: str | None = None  # in the conversation
        self.beside: set[str] = set()  # outside of it
        self.opened: list[tuple[str, str]] = []  # what is announced and not ended
        self.items: set[str] = set()
        self.speaking: str | None = None  # the item that the user is saying
        self._event_ids: set[str] = set()

    def see(self, message: Message) -> None:
        """Check one more."""
        ADAPTER.validate_python(message)
        assert message["event_id"] not in self._event_ids, "an event's name is used twice"
        self._event_ids.add(message["event_id"])
        self.messages.append(message)
        if isinstance(item := message.get("item"), dict):
            check_item(item)
        response_id = message.get("response_id")
        if response_id is not None:
            under_way = {self.active, *self.beside}
            assert response_id in under_way, f"{message['type']} after the end of its response"
        handler = getattr(self, "_" + message["type"].replace(".", "_"), None)
        if handler is not None:
            handler(message)

    def end(self) -> None:
        """Check that nothing is left open."""
        assert self.active is None, "a response never ended"
        assert not self.beside, "a response outside the conversation never ended"
        assert not self.opened, f"announced and never ended: {self.opened}"

    def of(self, kind: str) -> list[Message]:
        """Return the messages of a type."""
        return [message for message in self.messages if message["type"] == kind]

    def _response_created(self, message: Message) -> None:
        response = message["response"]
        assert response["status"] == "in_progress"
        self.opened.append(("response", response["id"]))
        if response["conversation_id"] is None:
            self.beside.add(response["id"])
            return
        assert self.active is None, "two responses are active"
        self.active = response["id"]

    def _response_done(self, message: Message) -> None:
        response = message["response"]
        assert response["id"] in {self.active, *self.beside}
        assert response["status"] in ("completed", "cancelled", "incomplete", "failed")
        assert response["usage"] is not None
        assert len(response["output"]) == 1
        self.opened.remove(("response", response["id"]))
        item_id = response["output"][0]["id"]
        left = [kind for kind, name in self.opened if name == item_id]
        assert not left, "ended before its parts"
        if response["id"] in self.beside:
            self.beside.remove(response["id"])
        else:
            self.active = None

    def _response_output_item_added(self, message: Message) -> None:
        self.opened.append(("output_item", message["item"]["id"]))

    def _response_output_item_done(self, message: Message) -> None:
        self.opened.remove(("output_item", message["item"]["id"]))

    def _response_content_part_added(self, message: Message) -> None:
        self.opened.append(("part", message["item_id"]))

    def _response_content_part_done(self, message: Message) -> None:
        self.opened.remove(("part", message["item_id"]))

    def _response_output_audio_delta(self, message: Message) -> None:
        assert ("part", message["item_id"]) in self.opened, "content without a part"

    def _response_output_audio_transcript_done(self, message: Message) -> None:
        deltas = self.of("response.output_audio_transcript.delta")
        written = "".join(m["delta"] for m in deltas if m["item_id"] == message["item_id"])
        assert message["transcript"] == written, "the transcript is not what was sent of it"

    def _conversation_item_added(self, message: Message) -> None:
        item_id, previous = message["item"]["id"], message["previous_item_id"]
        assert item_id not in self.items, "an item was added twice"
        assert previous is None or previous in self.items, "behind an item nobody knows"
        self.items.add(item_id)
        self.opened.append(("item", item_id))

    def _conversation_item_done(self, message: Message) -> None:
        self.opened.remove(("item", message["item"]["id"]))

    def _conversation_item_deleted(self, message: Message) -> None:
        self.items.remove(message["item_id"])

    def _input_audio_buffer_speech_started(self, message: Message) -> None:
        assert self.speaking is None, "speech started twice"
        self.speaking = message["item_id"]

    def _input_audio_buffer_speech_stopped(self, message: Message) -> None:
        assert message["item_id"] == self.speaking, "speech stopped that had not started"

    def _input_audio_buffer_committed(self, message: Message) -> None:
        assert self.speaking in (None, message["item_id"]), "another item than the one that started"
        self.speaking = None

    def _input_audio_buffer_cleared(self, message: Message) -> None:
        self.speaking = None


def check_item(item: Message) -> None:
    """Nulls inside items make one client drop them without a word."""
    for key, value in item.items():
        assert value is not None, f"item.{key} is null"
    for part in item.get("content", []):
        for key, value in part.items():
            assert value is not None or key in MAY_BE_NULL, f"part.{key} is null"
