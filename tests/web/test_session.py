"""A session as a machine: random clients, random talkers, and the promises that hold for all."""

import base64
import itertools
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.web.invariants import Invariants, Message
from voiceglm.events import TextDelta
from voiceglm.history import Usage
from web import actions
from web.ear import EarEvent, Heard, Turned
from web.reports import Ended, Report, Sounded, Transcribed, Wrote
from web.response import LEAD_MS, Ending
from web.session import Limits, Session, _Turn
from web.settings import Settings
from web.turns import Change

USAGE = Usage(text_in=5, speech_in=20, text_out=3, speech_out=10)
SECOND = base64.b64encode(bytes(48_000)).decode()


class Driver:
    """A session with a clock, its orders written down, its messages checked."""

    def __init__(self, limits: Limits | None = None, *, can_transcribe: bool = True):
        count = itertools.count()
        start = Settings(model="nano", voice="nano", can_transcribe=can_transcribe)
        self.now = 100.0
        self.session = Session(start, 12.5, lambda kind: f"{kind}_{next(count)}", self.now, limits)
        self.seen = Invariants()
        self.orders: list[actions.Action] = []
        self.flushed: list[EarEvent] = []
        self.closed: actions.Close | None = None
        self.do(self.session.open())

    def do(self, wanted: list[actions.Action]) -> list[Message]:
        """Carry out what a session wants, as its owner would."""
        before = len(self.seen.messages)
        for action in wanted:
            if isinstance(action, actions.Send):
                self.seen.see(action.message)
            elif isinstance(action, actions.Close):
                self.closed = action
            elif isinstance(action, actions.Flush):
                for event in self.flushed:
                    self.do(self.session.hear(event, self.now))
                self.do(self.session.flushed(self.now))
            else:
                self.orders.append(action)
        return self.seen.messages[before:]

    def send(self, kind: str, **fields: Any) -> list[Message]:
        return self.do(self.session.receive({"type": kind, **fields}, self.now))

    def hear(self, event: EarEvent) -> list[Message]:
        return self.do(self.session.hear(event, self.now))

    def report(self, report: Report) -> list[Message]:
        return self.do(self.session.report(report, self.now))

    def wait(self, seconds: float) -> list[Message]:
        """Let time pass as the owner would: it wakes when the session asks for it."""
        before, end = len(self.seen.messages), self.now + seconds
        while self.now < end:
            self.now = min(end, max(self.now + 1e-3, self.session.wakes_at(self.now)))
            self.do(self.session.tick(self.now))
        return self.seen.messages[before:]

    def turn(self, seconds: float = 1.0) -> list[Message]:
        """Have the user speak."""
        before = len(self.seen.messages)
        self.hear(Turned(Change.SUSPECTED, 400))
        self.hear(Turned(Change.STARTED, 100))
        self.hear(Heard(torch.zeros(int(seconds * 16_000))))
        self.hear(Turned(Change.STOPPED, 100 + int(seconds * 1_000)))
        return self.seen.messages[before:]

    def of(self, kind: type) -> list[Any]:
        return [order for order in self.orders if isinstance(order, kind)]

    @property
    def reply(self) -> str:
        """The newest response that was ordered."""
        return self.of(actions.Reply)[-1].response_id


def kinds(messages: list[Message]) -> list[str]:
    return [message["type"] for message in messages]


def error_of(messages: list[Message]) -> str:
    assert kinds(messages) == ["error"]
    return messages[0]["error"]["code"]


def test_a_spoken_turn_from_end_to_end() -> None:
    driver = Driver()
    first = kinds(driver.turn())
    assert first == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
    ]
    driver.report(Wrote(driver.reply, TextDelta("Hi.", (1,), 0), USAGE))
    driver.report(Sounded(driver.reply, bytes(4_800 * 3), USAGE))
    last = kinds(driver.report(Ended(driver.reply, Ending("completed"), USAGE)))
    assert last == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert len(driver.seen.of("response.output_audio.delta")) == 3, "100 ms each"
    names = {m.get("item_id") for m in driver.seen.messages if "input_audio_buffer" in m["type"]}
    assert len(names) == 1, "the same item from the first word to the commit"
    driver.seen.end()


def test_audio_leaves_at_the_pace_it_is_heard() -> None:
    driver = Driver()
    driver.turn()
    driver.report(Sounded(driver.reply, bytes(48_000 * 10), USAGE))
    driver.report(Ended(driver.reply, Ending("completed"), USAGE))

    def sent_ms() -> int:
        return 100 * len(driver.seen.of("response.output_audio.delta"))

    assert sent_ms() == LEAD_MS + 100
    driver.wait(3.0)
    assert abs(sent_ms() - (LEAD_MS + 100 + 3_000)) <= 100
    driver.wait(10.0)
    assert sent_ms() == 10_000
    driver.seen.end()


def test_speech_interrupts_and_nothing_comes_after() -> None:
    driver = Driver()
    driver.turn()
    reply = driver.reply
    driver.report(Wrote(reply, TextDelta("One two three.", (1,), 0), USAGE))
    driver.report(Sounded(reply, bytes(48_000 * 10), USAGE))
    driver.hear(Turned(Change.SUSPECTED, 5_000))
    assert driver.wait(1.0) == [], "audio waits while an interruption is suspected"
    stopped = driver.hear(Turned(Change.STARTED, 4_700))
    assert kinds(stopped)[0] == "input_audio_buffer.speech_started"
    done = stopped[-1]["response"]
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["status"] == "incomplete"
    assert driver.of(actions.StopReply)[-1].response_id == reply
    assert driver.of(actions.Cut)[-1].heard_ms == LEAD_MS + 100, "what was sent, and no more"
    assert driver.report(Sounded(reply, bytes(4_800), USAGE)) == []
    assert driver.report(Ended(reply, Ending("completed"), USAGE)) == []
    driver.seen.end()
    driver.hear(Turned(Change.STOPPED, 9_000))
    assert driver.reply != reply
    assert driver.report(Sounded(reply, bytes(4_800), USAGE)) == [], "of the one before"


def test_a_false_alarm_lets_the_reply_go_on() -> None:
    driver = Driver()
    driver.turn()
    driver.report(Sounded(driver.reply, bytes(48_000 * 10), USAGE))
    driver.hear(Turned(Change.SUSPECTED, 5_000))
    driver.wait(0.2)
    assert "response.output_audio.delta" in kinds(driver.hear(Turned(Change.REFUTED, 5_200)))


@pytest.mark.parametrize("kind", ["clear", "commit", "update"])
def test_a_suspicion_that_is_dropped_lets_the_reply_go_on(kind: str) -> None:
    driver = Driver()
    driver.turn()
    driver.report(Sounded(driver.reply, bytes(48_000 * 10), USAGE))
    driver.hear(Turned(Change.SUSPECTED, 5_000))
    assert driver.wait(0.3) == []
    if kind == "update":
        manual = {"input": {"turn_detection": None}}
        out = driver.send("session.update", session={"type": "realtime", "audio": manual})
    else:
        driver.send("input_audio_buffer.append", audio=SECOND)
        driver.session._turn = _Turn("item_x") if kind == "commit" else None
        out = driver.send(f"input_audio_buffer.{kind}")
    assert "response.output_audio.delta" in kinds(out)


def test_whoever_may_not_interrupt_is_answered_afterwards() -> None:
    driver = Driver()
    detection = {"turn_detection": {"interrupt_response": False}}
    driver.send("session.update", session={"type": "realtime", "audio": {"input": detection}})
    driver.turn()
    first = driver.reply
    driver.turn()
    assert driver.reply == first
    driver.report(Ended(first, Ending("completed"), USAGE))
    assert driver.reply != first


def test_a_manual_turn() -> None:
    driver = Driver()
    driver.send(
        "session.update",
        session={"type": "realtime", "audio": {"input": {"turn_detection": None}}},
    )
    assert error_of(driver.send("input_audio_buffer.commit")) == "input_audio_buffer_commit_empty"
    driver.send("input_audio_buffer.append", audio=SECOND)
    driver.hear(Heard(torch.zeros(15_872)))
    driver.flushed = [Heard(torch.zeros(128))]
    out = driver.send("input_audio_buffer.commit")
    assert kinds(out) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ], "and no response"
    heard = [len(order.samples) for order in driver.of(actions.Hear)]
    assert heard == [15_872, 128]
    assert isinstance(driver.orders[-2], actions.Commit)
    assert error_of(driver.send("input_audio_buffer.commit")) == "input_audio_buffer_commit_empty"
    assert kinds(driver.send("response.create"))[0] == "response.created"


def test_truncation_forgets_what_was_not_heard() -> None:
    driver = Driver()
    driver.turn()
    reply = driver.reply
    for words, after in (("One ", 0), ("two ", 10), ("three.", 26)):
        driver.report(Wrote(reply, TextDelta(words, (1,), after), USAGE))
    driver.report(Sounded(reply, bytes(48_000 * 2), USAGE))
    driver.report(Ended(reply, Ending("completed"), USAGE))
    item = driver.of(actions.Reply)[-1].item_id
    asked = {"item_id": item, "content_index": 0, "audio_end_ms": 900}
    out = driver.send("conversation.item.truncate", **asked)
    assert out[0]["audio_end_ms"] == 900
    assert driver.of(actions.Cut)[-1] == actions.Cut(item, 900)
    found = driver.send("conversation.item.retrieve", item_id=item)[0]["item"]["content"][0]
    assert found["transcript"] == "One two ", "11 codes were heard"
    assert len(base64.b64decode(found["audio"])) == 900 * 48
    past = {**asked, "audio_end_ms": 60_000}
    assert driver.send("conversation.item.truncate", **past)[0]["audio_end_ms"] == 900, "clamped"
    unknown = {**asked, "item_id": "item_x"}
    code = error_of(driver.send("conversation.item.truncate", **unknown))
    assert code == "item_truncate_invalid_item_id"


def test_old_sound_is_forgotten_and_words_are_not() -> None:
    driver = Driver()
    for _ in range(8):
        driver.turn(60.0)
        driver.report(Wrote(driver.reply, TextDelta("Yes.", (1,), 0), USAGE))
        driver.report(Sounded(driver.reply, bytes(48_000 * 10), USAGE))
        driver.report(Ended(driver.reply, Ending("completed"), USAGE))
        driver.wait(20.0)
    heard = [item.heard is not None for item in driver.session.items if item.role == "user"]
    assert heard == [False] * 3 + [True] * 5, "five minutes"
    old = next(iter(driver.session.items)).id
    found = driver.send("conversation.item.retrieve", item_id=old)[0]["item"]
    assert found["content"] == [{"type": "input_audio", "transcript": None}]


def test_errors_have_the_names_that_clients_look_for() -> None:
    driver = Driver()
    out = driver.send("response.cancel", event_id="mine")
    assert out[0]["error"]["code"] == "response_cancel_not_active"
    assert out[0]["error"]["message"].startswith("Cancellation failed")
    assert out[0]["error"]["event_id"] == "mine"
    code = error_of(driver.send("conversation.item.retrieve", item_id="x"))
    assert code == "item_retrieve_invalid_item_id"
    driver.send("response.create")
    code = error_of(driver.send("response.create"))
    assert code == "conversation_already_has_active_response"
    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}
    driver.send("conversation.item.create", item={**said, "id": "one"})
    code = error_of(driver.send("conversation.item.create", item={**said, "id": "one"}))
    assert code == "item_create_duplicate_item_id"
    assert (
        error_of(driver.do(driver.session.receive({"no": "type"}, driver.now))) == "invalid_event"
    )
    assert error_of(driver.do(driver.session.receive([1], driver.now))) == "invalid_event"
    assert error_of(driver.send("input_audio_buffer.append", audio="%%%")) == "invalid_value"
    odd = base64.b64encode(bytes(3)).decode()
    assert error_of(driver.send("input_audio_buffer.append", audio=odd)) == "invalid_value"


def test_a_client_names_its_items_and_their_place() -> None:
    driver = Driver()
    for name, role, previous in (("b", "user", None), ("a", "system", "root"), ("c", "user", "a")):
        part = {"type": "input_text", "text": name}
        item = {"type": "message", "id": name, "role": role, "content": [part]}
        driver.send("conversation.item.create", item=item, previous_item_id=previous)
    added = driver.seen.of("conversation.item.added")
    assert [m["previous_item_id"] for m in added] == [None, None, "a"]
    says = driver.of(actions.Say)
    assert [(say.item_id, say.before) for say in says] == [("b", None), ("a", "b"), ("c", "b")]


def test_metadata_comes_back_at_once() -> None:
    driver = Driver()
    out = driver.send("response.create", response={"metadata": {"client_event_id": "x"}})
    assert out[0]["response"]["metadata"] == {"client_event_id": "x"}


def test_an_answer_outside_the_conversation_leaves_it_alone() -> None:
    driver = Driver()
    part = {"type": "input_text", "text": "Is this rude?"}
    asked = {"type": "message", "role": "user", "content": [part]}
    wanted = {"conversation": "none", "input": [asked], "output_modalities": ["text"]}
    out = driver.send("response.create", response=wanted)
    assert out[0]["response"]["conversation_id"] is None
    order = driver.of(actions.Reply)[-1]
    assert [say.said for say in order.only] == ["Is this rude?"]
    assert not order.aloud
    driver.report(Wrote(driver.reply, TextDelta("No.", (1,)), USAGE))
    driver.report(Ended(driver.reply, Ending("completed"), USAGE))
    assert driver.seen.of("response.output_text.done")[0]["text"] == "No."
    assert driver.seen.items == set()
    driver.seen.end()


def test_a_session_has_an_end() -> None:
    driver = Driver(Limits(max_seconds=60.0))
    driver.wait(61.0)
    assert driver.closed is not None
    assert driver.closed.code == 1001
    assert driver.seen.messages[-1]["error"]["code"] == "session_expired"
    idle = Driver(Limits(max_idle_seconds=5.0))
    idle.wait(4.0)
    assert idle.closed is None
    idle.wait(2.0)
    assert idle.closed is not None


def test_a_failure_ends_the_reply_and_not_the_session() -> None:
    driver = Driver()
    driver.turn()
    driver.report(Ended(driver.reply, Ending("failed", error="the recording is silent"), USAGE))
    done = driver.seen.of("response.done")[0]["response"]
    assert done["status"] == "failed"
    assert done["status_details"]["error"]["message"] == "the recording is silent"
    driver.seen.end()
    driver.turn()


def test_transcripts_come_when_asked_for() -> None:
    driver = Driver()
    asked = {"transcription": {"model": "whisper-1", "delay": "low"}}
    out = driver.send("session.update", session={"type": "realtime", "audio": {"input": asked}})
    assert out[0]["session"]["audio"]["input"]["transcription"] == {"model": "whisper-1"}
    driver.turn()
    item = driver.of(actions.Transcribe)[-1].item_id
    driver.report(Transcribed(item, "hello", 1.0))
    driver.report(Transcribed("gone", "hello", 1.0))
    assert len(driver.seen.of("conversation.item.input_audio_transcription.completed")) == 1
    deaf = Driver(can_transcribe=False)
    out = deaf.send("session.update", session={"type": "realtime", "audio": {"input": asked}})
    assert out[0]["session"]["audio"]["input"]["transcription"] is None


class AnyClient(RuleBasedStateMachine):
    """Clients, ears and talkers that do anything at any time."""

    @initialize()
    def begin(self) -> None:
        self.driver = Driver(Limits(max_seconds=1e9, max_idle_seconds=1e9))
        self.is_open = False

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.driver.wait(seconds)

    @rule(change=st.sampled_from([Change.SUSPECTED, Change.REFUTED]))
    def suspect(self, change: Change) -> None:
        if not self.is_open:
            self.driver.hear(Turned(change, 10))

    @rule(samples=st.sampled_from([1, 512, 16_000]))
    def hear(self, samples: int) -> None:
        self.driver.hear(Heard(torch.zeros(samples)))

    @rule()
    def turn(self) -> None:
        if self.driver.session.settings.turn_detection:
            change = Change.STOPPED if self.is_open else Change.STARTED
            self.is_open = not self.is_open
            self.driver.hear(Turned(change, 1_000))

    @rule(kind=st.sampled_from(["commit", "clear"]))
    def buffer(self, kind: str) -> None:
        done = self.driver.send(f"input_audio_buffer.{kind}")
        self.is_open = self.is_open and done[-1]["type"] == "error"

    @rule(audio=st.sampled_from([SECOND, "", "AAA=", "!", 5, None]))
    def append(self, audio: object) -> None:
        self.driver.send("input_audio_buffer.append", audio=audio)

    @rule(
        detection=st.sampled_from(
            [None, {}, {"interrupt_response": False}, {"create_response": False}, {"type": "odd"}]
        ),
        modality=st.sampled_from(["audio", "text"]),
        form=st.sampled_from(["audio/pcm", "audio/pcmu", "audio/pcma"]),
    )
    def update(self, detection: object, modality: str, form: str) -> None:
        if self.is_open:  # an ear would have to forget the turn
            return
        audio = {
            "input": {"turn_detection": detection, "format": {"type": form}},
            "output": {"format": {"type": form}},
        }
        session = {"type": "realtime", "output_modalities": [modality], "audio": audio}
        self.driver.send("session.update", session=session)

    @rule(
        name=st.sampled_from(["a", "b", None]),
        role=st.sampled_from(["user", "assistant", "system", "nobody"]),
        previous=st.sampled_from([None, "root", "a", "zzz"]),
    )
    def create_item(self, name: str | None, role: str, previous: str | None) -> None:
        kind = "output_text" if role == "assistant" else "input_text"
        item = {"type": "message", "role": role, "content": [{"type": kind, "text": "words"}]}
        named = {**item, "id": name} if name else item
        self.driver.send("conversation.item.create", item=named, previous_item_id=previous)

    @rule(number=st.integers(0, 8), kind=st.sampled_from(["delete", "retrieve", "truncate"]))
    def item(self, number: int, kind: str) -> None:
        names = [item.id for item in self.driver.session.items]
        name = names[number] if number < len(names) else "unknown"
        more = {"content_index": 0, "audio_end_ms": 300} if kind == "truncate" else {}
        self.driver.send(f"conversation.item.{kind}", item_id=name, **more)

    @rule(outside=st.booleans())
    def create_response(self, outside: bool) -> None:
        asked = {"conversation": "none"} if outside else {}
        self.driver.send("response.create", response=asked)

    @rule()
    def cancel(self) -> None:
        self.driver.send("response.cancel")

    @precondition(lambda self: self.driver.of(actions.Reply))
    @rule(late=st.booleans(), what=st.sampled_from(["text", "audio", "end", "length", "failure"]))
    def report(self, late: bool, what: str) -> None:
        replies = self.driver.of(actions.Reply)
        reply = replies[0 if late else -1].response_id
        endings = {
            "end": Ending("completed"),
            "length": Ending("incomplete", "max_output_tokens"),
            "failure": Ending("failed", error="no memory"),
        }
        said = {
            "text": Wrote(reply, TextDelta("words ", (1,), 3), USAGE),
            "audio": Sounded(reply, bytes(24_000), USAGE),
        }
        active = self.driver.session.response
        known = active is not None and active.id == reply
        ended = Ended(reply, endings.get(what, Ending("completed")), USAGE)
        assert known or self.driver.report(said.get(what, ended)) == [], "too late"
        if known:
            self.driver.report(said.get(what, ended))

    @rule(event=st.sampled_from([{}, {"type": 5}, {"type": "x"}, "text", None, [1]]))
    def nonsense(self, event: object) -> None:
        out = self.driver.do(self.driver.session.receive(event, self.driver.now))
        assert error_of(out) == "invalid_event"

    def teardown(self) -> None:
        if not hasattr(self, "driver"):
            return
        self.suspect(Change.REFUTED)  # an ear does not leave it at a suspicion
        for _ in range(3):  # the active reply, one that is owed, and time for both
            if self.driver.of(actions.Reply):
                self.driver.report(Ended(self.driver.reply, Ending("completed"), USAGE))
            self.driver.wait(100.0)
        assert not self.driver.session.is_busy
        self.driver.seen.end()


AnyClient.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_the_promises_hold_for_any_client = AnyClient.TestCase
