"""A session step by step: what comes of what a client, an ear and a talker do."""

import base64
from typing import Any

import pytest
import torch

from tests.web.driver import SECOND, USAGE, Driver, error_of, kinds
from voiceglm.events import TextDelta
from voiceglm.style import Style
from web import actions
from web.ear import Heard, Turned
from web.reports import Ended, Sounded, Transcribed, Wrote
from web.response import LEAD_MS, Ending
from web.session import Limits
from web.turns import Change


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


@pytest.mark.parametrize("kind", ["clear", "update", "silence"])
def test_a_suspicion_that_is_dropped_lets_the_reply_go_on(kind: str) -> None:
    driver = Driver()
    driver.turn()
    driver.report(Sounded(driver.reply, bytes(48_000 * 10), USAGE))
    driver.hear(Turned(Change.SUSPECTED, 5_000))
    assert driver.wait(0.3) == []
    if kind == "update":
        manual = {"input": {"turn_detection": None}}
        out = driver.send("session.update", session={"type": "realtime", "audio": manual})
    elif kind == "clear":
        out = driver.send("input_audio_buffer.clear")
    else:
        out = driver.wait(1.0)  # the client has stopped sending
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


def test_a_client_may_end_a_turn_that_the_ear_began() -> None:
    driver = Driver()
    driver.send("input_audio_buffer.append", audio=SECOND)
    driver.hear(Turned(Change.STARTED, 100))
    driver.hear(Heard(torch.zeros(16_000)))
    out = kinds(driver.send("input_audio_buffer.commit"))
    assert out[:2] == ["input_audio_buffer.speech_stopped", "input_audio_buffer.committed"]
    assert "response.created" not in out, "whoever commits asks for the reply"
    assert kinds(driver.send("response.create"))[0] == "response.created"


def test_what_was_sent_by_hand_is_dropped_when_the_ear_takes_over() -> None:
    driver = Driver()
    for detection in (None, {"type": "server_vad"}):
        if detection:
            driver.hear(Heard(torch.zeros(8_000)))
        heard = {"input": {"turn_detection": detection}}
        driver.send("session.update", session={"type": "realtime", "audio": heard})
    assert driver.of(actions.Unhear), "by the model"
    driver.turn(1.0)
    assert [len(item.heard) for item in driver.session.items if item.heard is not None] == [16_000]


def test_a_truncation_at_the_end_or_of_a_text_cuts_nothing() -> None:
    driver = Driver()
    driver.turn()
    driver.report(Wrote(driver.reply, TextDelta("Yes.", (1,), 0), USAGE))
    driver.report(Sounded(driver.reply, bytes(48_000), USAGE))
    driver.report(Ended(driver.reply, Ending("completed"), USAGE))
    item = driver.of(actions.Reply)[-1].item_id
    asked = {"item_id": item, "content_index": 0, "audio_end_ms": 1_000}
    assert kinds(driver.send("conversation.item.truncate", **asked)) == [
        "conversation.item.truncated"
    ]
    assert driver.of(actions.Cut) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "conversation.item.create", "item": {"type": "message", "role": []}},
        {"type": "session.update", "session": {"max_output_tokens": 10**400}},
        {
            "type": "session.update",
            "session": {"audio": {"input": {"turn_detection": {"eagerness": []}}}},
        },
    ],
)
def test_values_of_odd_types_are_refused_and_survived(bad: dict[str, Any]) -> None:
    driver = Driver()
    code = error_of(driver.do(driver.session.receive(bad, driver.now)))
    assert code in ("invalid_value", "invalid_type")


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
    assert [(say.item_id, say.before) for say in says] == [
        ("b", ()),
        ("a", ("b",)),
        ("c", ("b",)),
    ]


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


def test_answers_outside_do_not_wait_and_are_not_interrupted() -> None:
    driver = Driver()
    driver.turn()
    inside = driver.reply
    wanted = {"conversation": "none", "output_modalities": ["text"]}
    names = []
    for _ in range(4):
        out = driver.send("response.create", response=wanted)
        assert out[0]["type"] == "response.created"
        names.append(driver.reply)
    assert error_of(driver.send("response.create", response=wanted)) == "rate_limit_exceeded"
    assert all(order.beside for order in driver.of(actions.Reply)[1:])
    driver.hear(Turned(Change.SUSPECTED, 3_000))
    driver.hear(Turned(Change.STARTED, 3_000))
    ended = driver.seen.of("response.done")
    assert [message["response"]["id"] for message in ended] == [inside]
    driver.send("response.cancel", response_id=names[0])
    assert error_of(driver.send("response.cancel")) == "response_cancel_not_active"
    for name in names[1:]:
        driver.report(Wrote(name, TextDelta("Yes.", (1,)), USAGE))
        driver.report(Ended(name, Ending("completed"), USAGE))
    statuses = [m["response"]["status"] for m in driver.seen.of("response.done")]
    assert statuses == ["cancelled", "cancelled", "completed", "completed", "completed"]
    assert driver.send("response.create", response=wanted)[0]["type"] == "response.created"


def test_an_answer_to_input_alone_belongs_to_the_conversation_unless_told_otherwise() -> None:
    driver = Driver()
    part = {"type": "input_text", "text": "Say hello."}
    asked = {"type": "message", "role": "user", "content": [part]}
    out = driver.send("response.create", response={"input": [asked]})
    assert out[0]["response"]["conversation_id"]
    order = driver.of(actions.Reply)[-1]
    assert [say.said for say in order.only] == ["Say hello."]
    assert not order.beside
    assert driver.seen.items == {order.item_id}
    unknown = {"type": "item_reference", "id": "nobody"}
    driver.report(Ended(driver.reply, Ending("completed"), USAGE))
    refused = driver.send("response.create", response={"input": [unknown]})
    assert error_of(refused) == "invalid_value"


def test_silence_is_answered_when_a_client_wants_that() -> None:
    driver = Driver()
    detection = {"type": "server_vad", "idle_timeout_ms": 6_000}
    session = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
    driver.send("session.update", session=session)
    assert kinds(driver.wait(20.0)) == [], "nothing was said yet"
    driver.turn()
    driver.report(Sounded(driver.reply, bytes(48_000), USAGE))
    driver.report(Ended(driver.reply, Ending("completed"), USAGE))
    assert kinds(driver.wait(6.9)) == [], "a second of it is audio that is being played"
    out = driver.wait(0.2)
    assert kinds(out)[:2] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
    ]
    assert "response.created" in kinds(out)
    assert out[0]["item_id"] == out[1]["item_id"]
    assert len(driver.of(actions.Reply)) == 2
    driver.report(Ended(driver.reply, Ending("completed"), USAGE))
    driver.wait(3.0)
    driver.hear(Turned(Change.SUSPECTED, 3_000))
    driver.hear(Turned(Change.STARTED, 3_000))
    assert kinds(driver.wait(20.0)) == [], "the user is saying something"


def test_much_audio_at_once_is_heard_in_pieces() -> None:
    driver = Driver()
    driver.send("input_audio_buffer.append", audio=SECOND)
    listened = driver.of(actions.Listen)
    assert b"".join(piece.data for piece in listened) == bytes(48_000)
    assert max(len(piece.data) for piece in listened) == 9_600, "200 ms"


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


@pytest.mark.parametrize(("rate", "left"), [("slow_3", "One "), ("fast_3", "One two ")])
def test_truncation_knows_how_fast_a_reply_is(rate: str, left: str) -> None:
    driver = Driver()
    driver.turn()
    reply = driver.reply
    for words, after in (("One ", 0), ("two ", 10), ("three.", 26)):
        delta = TextDelta(words, (1,), after, Style(rate=rate))
        driver.report(Wrote(reply, delta, USAGE))
    driver.report(Sounded(reply, bytes(48_000 * 2), USAGE))
    driver.report(Ended(reply, Ending("completed"), USAGE))
    item = driver.of(actions.Reply)[-1].item_id
    driver.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=900)
    found = driver.send("conversation.item.retrieve", item_id=item)[0]["item"]["content"][0]
    assert found["transcript"] == left, "11 codes of a voice by itself are 6 or 18 of this reply"
