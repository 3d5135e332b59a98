"""One client's session of the Realtime protocol: a state machine without sockets or a clock.

What a client sends, what the ear hears and what the talker says go in, each with the time in
seconds; messages and orders come out. At most one reply is active; every reply ends exactly once;
whatever was announced is also ended.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from voiceglm.errors import VoiceGLMError
from voiceglm.language_model import Sampling
from web import actions
from web.actions import Action
from web.buffer import InputBuffer
from web.codec import unpack
from web.ear import EarEvent, Heard
from web.errors import ClientError
from web.events import Events
from web.items import Item, Items, read_input, read_item, recall, say_order
from web.replies import Replies
from web.reports import Report, Sounded, Transcribed, Wrote
from web.response import Response
from web.settings import Settings, read_object, update
from web.turns import Change

LISTEN_MS = 200  # at a time: the ear has other clients
MAX_ITEMS = 2_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server grants a session."""

    max_seconds: float = 3_600.0
    max_idle_seconds: float = 600.0
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0, max_new_ids=1_000))


class Session:
    """One client.

    Args:
        settings: To begin with.
        frame_rate: Speech ids per second.
        new_id: Makes an identifier that starts with a word.
        now: The time, in seconds of any clock.
        limits: Of the server.
    """

    def __init__(
        self,
        settings: Settings,
        frame_rate: float,
        new_id: Callable[[str], str],
        now: float,
        limits: Limits | None = None,
    ):
        self.settings = settings
        self.limits = limits or Limits()
        self.items = Items()
        self.replies = Replies(now)
        self._frame_rate = frame_rate
        self._new_id = new_id
        self._events = Events(new_id)
        self._id, self._conversation_id = new_id("sess"), new_id("conv")
        self._opened = self._active = now
        self._buffer = InputBuffer()
        self._wants_reply = False  # once the active one is over
        self._idle_since: float | None = None  # the user may speak, and has not

    # what goes in

    def open(self) -> list[Action]:
        """Greet the client."""
        return [self._events.session("created", self._session()), *self._configure()]

    def receive(self, event: object, now: float) -> list[Action]:
        """Take a client's event; what is wrong with it is told and changes nothing."""
        self._active = now
        try:
            return self._handle(event, now)
        except ClientError as error:
            wrong = error
        except VoiceGLMError as error:  # such as a recording that is too long
            wrong = ClientError("invalid_value", str(error))
        event_id = event.get("event_id") if isinstance(event, Mapping) else None
        return [self._events.error(wrong, event_id if isinstance(event_id, str) else None)]

    def refuse(self, code: str, message: str) -> list[Action]:
        """Say that something that is not even an event cannot be followed."""
        return [self._events.error(ClientError(code, message))]

    def hear(self, event: EarEvent, now: float) -> list[Action]:
        """Take what the ear made of the client's audio."""
        if isinstance(event, Heard):
            return self._collect(event.samples)
        if event.change is Change.STARTED:
            return self._begin_turn(event.at_ms, now)
        if event.change is Change.STOPPED:
            return self._end_turn(event.at_ms, now)
        detection, active = self.settings.turn_detection, self.replies.active
        if active:
            interrupts = bool(detection and detection.interrupt_response)
            active.hold(now if interrupts and event.change is Change.SUSPECTED else None)
        return self.tick(now)

    def report(self, event: Report, now: float) -> list[Action]:
        """Take what the talker reports; of a reply that is over nothing is taken."""
        if isinstance(event, Transcribed):
            return self._transcribed(event)
        response = self.replies.find(event.response_id)
        if response is None:
            return []
        response.usage = event.usage or response.usage
        if isinstance(event, Wrote):
            response.write(event.delta)
        elif isinstance(event, Sounded):
            response.sound(event.data)
        else:
            response.end(event.ending)
        return self.tick(now)

    def flushed(self, now: float) -> list[Action]:
        """Go on with a commit, now that the ear has given out everything."""
        stopped: list[Action] = []
        if self._buffer.item_id and self.settings.turn_detection:
            at = {"audio_end_ms": int(self._buffer.total_ms), "item_id": self._buffer.item_id}
            stopped = [self._events.buffer("speech_stopped", **at)]
        return [*stopped, *self._commit_turn(), *self._forget_sound(now)]

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        if now - self._opened > self.limits.max_seconds:
            minutes = round(self.limits.max_seconds / 60)
            message = f"Your session hit the maximum duration of {minutes} minutes."
            return [
                self._events.error(ClientError("session_expired", message)),
                actions.Close(1001, message),
            ]
        if now - self._active > self.limits.max_idle_seconds:
            return [actions.Close(1001, "Nothing was sent for too long.")]
        idle_at = self._idle_at()
        if idle_at is not None and now >= idle_at:
            return self._break_silence()
        return self._release(now)

    def wakes_at(self, now: float) -> float:
        """Return when :meth:`tick` has something to do."""
        times = [
            self._opened + self.limits.max_seconds,
            self._active + self.limits.max_idle_seconds,
        ]
        times += [at for at in (self.replies.wakes_at(now), self._idle_at()) if at is not None]
        return min(times)

    @property
    def is_busy(self) -> bool:
        """Whether a reply is active or owed."""
        return bool(self.replies.under_way) or self._wants_reply

    # client events

    def _handle(self, event: object, now: float) -> list[Action]:
        kind = event.get("type") if isinstance(event, Mapping) else None
        if not isinstance(event, Mapping) or not isinstance(kind, str):
            raise ClientError("invalid_event", "an event is an object with a type", param="type")
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise ClientError("invalid_event", f"unknown event type {kind[:100]!r}", param="type")
        return handler(self, event, now)

    def _update(self, event: Mapping[str, Any], now: float) -> list[Action]:
        asked = read_object(event.get("session"), "session")
        if asked.get("type", "realtime") != "realtime":
            raise ClientError(
                "invalid_value", "session.type must be realtime", param="session.type"
            )
        before, self.settings = self.settings, update(self.settings, asked)
        updated = self._events.session("updated", self._session())
        if before.turn_detection and not self.settings.turn_detection:
            return [*self._configure(), updated, *self._forget_sound(now)]
        if self.settings.turn_detection and not before.turn_detection:
            self._buffer.clear()  # of a turn by hand that was not committed
            return [*self._configure(), actions.Unhear(), updated]
        return [*self._configure(), updated]

    def _append(self, event: Mapping[str, Any], now: float) -> list[Action]:
        form = self.settings.input_format
        data = unpack(event.get("audio"), form, param="audio")
        self._buffer.append(form.milliseconds(len(data)))
        talking, size = self.replies.is_talking(now), form.num_bytes(LISTEN_MS)
        pieces = (data[n : n + size] for n in range(0, len(data), size))
        return [actions.Listen(piece, talking) for piece in pieces]

    def _commit(self, event: Mapping[str, Any], now: float) -> list[Action]:
        self._buffer.check(by_hand=self.settings.turn_detection is None)
        return [actions.Flush()]

    def _clear(self, event: Mapping[str, Any], now: float) -> list[Action]:
        self._buffer.clear()
        cleared = self._events.buffer("cleared")
        return [actions.Unhear(), cleared, *self._forget_sound(now)]

    def _create_item(self, event: Mapping[str, Any], now: float) -> list[Action]:
        if len(self.items) >= MAX_ITEMS:
            raise ClientError("invalid_value", f"a conversation has at most {MAX_ITEMS} items")
        item = read_item(event.get("item"), self._new_id("item"))
        self.items.add(item, event.get("previous_item_id"))
        self.items.forget_old_sound()
        self._idle_since = None
        return [*self._tell(item), *self._events.new_item(item, self.items.before(item))]

    def _truncate(self, event: Mapping[str, Any], now: float) -> list[Action]:
        item = self.items.find(event.get("item_id"))
        if item is None or item.role != "assistant":
            raise ClientError(
                "item_truncate_invalid_item_id",
                f"there is no reply with id {event.get('item_id')!r}",
                param="item_id",
            )
        heard = event.get("audio_end_ms")
        if isinstance(heard, bool) or not isinstance(heard, int | float) or not heard >= 0:
            raise ClientError(
                "invalid_value", "audio_end_ms must be at least 0", param="audio_end_ms"
            )
        out = self._cancel_reply_of(item, now)
        spoken = self.replies.of_item(item.id)
        sent = spoken.sent_ms if spoken else 0.0
        heard = min(heard, sent)
        if spoken and spoken.settings.speaks and heard < sent:
            self._unsay(spoken, heard)
            out.append(actions.Cut(item.id, heard))
        done = {"item_id": item.id, "content_index": 0, "audio_end_ms": int(heard)}
        return [*out, self._events.item("truncated", **done)]

    def _unsay(self, spoken: Response, heard_ms: float) -> None:
        """Cut the transcript and the audio of a reply as the model's memory is cut."""
        num_codes = int(heard_ms / 1000 * self._frame_rate * spoken.speed)
        spoken.said = [(n, text) for n, text in spoken.said if n < num_codes]
        spoken.item.text = spoken.text
        del spoken.item.spoken[spoken.settings.output_format.num_bytes(heard_ms) :]
        spoken.sent_ms = heard_ms
        self.replies.plays_until = 0.0

    def _cancel_reply_of(self, item: Item, now: float) -> list[Action]:
        active = self.replies.active
        if active is None or active.item is not item:
            return []
        return self._cancel(active, "client_cancelled", now)

    def _delete(self, event: Mapping[str, Any], now: float) -> list[Action]:
        item = self._known(event, "item_delete_invalid_item_id")
        out = self._cancel_reply_of(item, now)
        self.items.remove(item)
        self.replies.forget(item.id)
        return [*out, actions.Forget(item.id), self._events.item("deleted", item_id=item.id)]

    def _retrieve(self, event: Mapping[str, Any], now: float) -> list[Action]:
        item = self._known(event, "item_retrieve_invalid_item_id")
        return [self._events.item("retrieved", item=item.to_json(with_audio=True))]

    def _known(self, event: Mapping[str, Any], code: str) -> Item:
        item = self.items.find(event.get("item_id"))
        if item is None:
            message = f"there is no item with id {event.get('item_id')!r}"
            raise ClientError(code, message, param="item_id")
        return item

    def _create_response(self, event: Mapping[str, Any], now: float) -> list[Action]:
        asked = event.get("response")
        asked = {} if asked is None else read_object(asked, "response")
        beside = asked.get("conversation") == "none"
        self._check_room(beside=beside)
        settings = update(self.settings, asked, where="response")
        metadata = asked.get("metadata")
        if not isinstance(metadata, Mapping | None):
            raise ClientError(
                "invalid_type", "response.metadata must be an object", param="response.metadata"
            )
        answered = read_input(asked.get("input"), self.items, lambda: self._new_id("item"))
        if answered is None and beside:  # it may look at the conversation, not change it
            answered = list(self.items)
        only = None
        if answered is not None:
            said = map(say_order, answered)
            only = tuple(one for one in said if one is not None)
        return self._begin_reply(settings, metadata, only=only, beside=beside)

    def _check_room(self, *, beside: bool) -> None:
        """Refuse one more reply where there is none for it."""
        active = self.replies.active
        if beside and self.replies.is_full:
            message = "Too many responses outside the conversation are in progress."
            raise ClientError("rate_limit_exceeded", message)
        if active and not beside:
            raise ClientError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one.",
            )

    def _cancel_response(self, event: Mapping[str, Any], now: float) -> list[Action]:
        asked, active = event.get("response_id"), self.replies.active
        response = active if asked is None else self.replies.find(asked)
        if response is None:
            raise ClientError(
                "response_cancel_not_active", "Cancellation failed: no active response found"
            )
        if response is active:
            self._wants_reply = False
        return self._cancel(response, "client_cancelled", now)

    # turns

    def _begin_turn(self, at_ms: int, now: float) -> list[Action]:
        item_id, self._idle_since = self._new_id("item"), None
        self._buffer.begin(item_id)
        started = {"audio_start_ms": max(0, at_ms), "item_id": item_id}
        out: list[Action] = [self._events.buffer("speech_started", **started)]
        detection = self.settings.turn_detection
        if detection and detection.interrupt_response:
            self._wants_reply = False
            if self.replies.active:
                out += self._cancel(self.replies.active, "turn_detected", now)
        return out

    def _end_turn(self, at_ms: int, now: float) -> list[Action]:
        if self._buffer.item_id is None:
            return []
        stopped = {"audio_end_ms": at_ms, "item_id": self._buffer.item_id}
        out = [self._events.buffer("speech_stopped", **stopped), *self._commit_turn()]
        detection = self.settings.turn_detection
        self._wants_reply = bool(detection and detection.create_response)
        return [*out, *self._begin_owed()]

    def _collect(self, samples: Tensor) -> list[Action]:
        if self._buffer.item_id is None:
            if self.settings.turn_detection is not None:
                return []  # of a turn that the client has ended itself
            self._buffer.begin(self._new_id("item"))
        return [actions.Hear(samples)] if self._buffer.collect(samples) else []

    def _commit_turn(self) -> list[Action]:
        item = self._buffer.take()
        if item is None or item.heard is None:
            return []
        self.items.add(item)
        self.items.forget_old_sound()
        previous = self.items.before(item)
        out: list[Action] = [
            actions.Commit(item.id),
            self._events.buffer("committed", previous_item_id=previous, item_id=item.id),
            *self._events.new_item(item, previous),
        ]
        if self.settings.transcription is not None:
            out.append(actions.Transcribe(item.id, recall(item.heard)))
        return out

    def _transcribed(self, event: Transcribed) -> list[Action]:
        item = self.items.find(event.item_id)
        if item is None:
            return []
        item.text = event.text
        return [*self._events.transcription(item.id, event.text, event.seconds)]

    # replies

    def _begin_owed(self) -> list[Action]:
        if not self._wants_reply or self.replies.active:
            return []
        self._wants_reply = False
        return self._begin_reply(self.settings, None)

    def _begin_reply(
        self,
        settings: Settings,
        metadata: Mapping[str, Any] | None,
        *,
        only: tuple[actions.Say, ...] | None = None,
        beside: bool = False,
    ) -> list[Action]:
        item = Item(self._new_id("item"), role="assistant", status="in_progress")
        item.is_audio = settings.speaks
        conversation = None if beside else self._conversation_id
        response = Response(self._new_id("resp"), item, settings, conversation, metadata)
        previous = None
        if not beside:
            self._idle_since = None
            self.items.add(item)
            previous = self.items.before(item)
        self.replies.begin(response)
        sampling = self.limits.sampling
        if settings.max_output_tokens:
            most = min(sampling.max_new_ids, settings.max_output_tokens)
            sampling = replace(sampling, max_new_ids=most)
        order = actions.Reply(
            response.id,
            item.id,
            settings.instructions,
            sampling,
            settings.speaks,
            settings.output_format,
            only,
            beside,
            settings.voice,
        )
        return [order, *map(self._events.send, response.open(previous))]

    def _cancel(self, response: Response, reason: str, now: float) -> list[Action]:
        """End a reply and forget what was not sent of it."""
        out: list[Action] = [actions.StopReply(response.id)]
        if response.conversation_id and response.settings.speaks:
            out.append(actions.Cut(response.item.id, response.sent_ms))
        out += map(self._events.send, response.cancel(reason))
        self._over(response, now)
        return out

    def _release(self, now: float) -> list[Action]:
        out: list[Action] = []
        for response in self.replies.under_way:
            messages, over = response.release(now)
            out += map(self._events.send, messages)
            if over:
                self._over(response, now)
        return [*out, *self._begin_owed()]

    def _over(self, response: Response, now: float) -> None:
        self.replies.over(response)
        if response.conversation_id and self._buffer.item_id is None:
            self._idle_since = max(now, response.plays_until)

    def _idle_at(self) -> float | None:
        """Return when the user will have been silent for longer than the client wants."""
        detection = self.settings.turn_detection
        if self._idle_since is None or detection is None or not detection.idle_timeout_ms:
            return None
        return self._idle_since + detection.idle_timeout_ms / 1000

    def _break_silence(self) -> list[Action]:
        """Answer the user's silence, which becomes an item in which nothing is said."""
        detection, self._idle_since = self.settings.turn_detection, None
        silent_ms = detection.idle_timeout_ms or 0 if detection else 0
        item = Item(self._new_id("item"), role="user", is_audio=True)
        self.items.add(item)
        previous = self.items.before(item)
        heard = int(self._buffer.total_ms)
        at = {"audio_start_ms": max(0, heard - silent_ms), "audio_end_ms": heard}
        return [
            self._events.buffer("timeout_triggered", **at, item_id=item.id),
            self._events.buffer("committed", previous_item_id=previous, item_id=item.id),
            *self._events.new_item(item, previous),
            *self._begin_reply(self.settings, None),
        ]

    # messages

    def _tell(self, item: Item) -> list[Action]:
        """Tell the talker of an item that a client has made."""
        behind = (other for other in self.items.after(item) if other.type == "message")
        say = say_order(item, tuple(other.id for other in behind))
        return [] if say is None else [say]

    def _forget_sound(self, now: float) -> list[Action]:
        """Drop what the ear makes out; it will not say what became of a suspicion."""
        if self.replies.active:
            self.replies.active.hold(None)
        return [actions.ForgetSound(), *self._release(now)]

    def _configure(self) -> list[Action]:
        settings = self.settings
        return [actions.Configure(settings.input_format, settings.turn_detection)]

    def _session(self) -> dict[str, Any]:
        return {**self.settings.to_json(), "id": self._id, "object": "realtime.session"}


_HANDLERS: dict[str, Callable[[Session, Mapping[str, Any], float], list[Action]]] = {
    "session.update": Session._update,
    "input_audio_buffer.append": Session._append,
    "input_audio_buffer.commit": Session._commit,
    "input_audio_buffer.clear": Session._clear,
    "conversation.item.create": Session._create_item,
    "conversation.item.truncate": Session._truncate,
    "conversation.item.delete": Session._delete,
    "conversation.item.retrieve": Session._retrieve,
    "response.create": Session._create_response,
    "response.cancel": Session._cancel_response,
}
