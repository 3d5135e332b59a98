"""Random clients, ears and talkers, and the promises that hold for all of them."""

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.web.driver import SECOND, USAGE, Driver, error_of
from voiceglm.events import TextDelta
from web import actions
from web.ear import Heard, Turned
from web.reports import Ended, Sounded, Wrote
from web.response import Ending
from web.session import Limits
from web.turns import Change


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
            [
                None,
                {},
                {"interrupt_response": False},
                {"create_response": False},
                {"idle_timeout_ms": 5_000},
                {"type": "odd"},
            ]
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

    @rule(named=st.booleans())
    def cancel(self, named: bool) -> None:
        replies = self.driver.of(actions.Reply) if named else []
        which = {"response_id": replies[-1].response_id} if replies else {}
        self.driver.send("response.cancel", **which)

    @precondition(lambda self: self.driver.of(actions.Reply))
    @rule(
        number=st.integers(0, 3),
        what=st.sampled_from(["text", "audio", "end", "length", "failure"]),
    )
    def report(self, number: int, what: str) -> None:
        reply = self.driver.of(actions.Reply)[-number:][0].response_id
        endings = {
            "end": Ending("completed"),
            "length": Ending("incomplete", "max_output_tokens"),
            "failure": Ending("failed", error="no memory"),
        }
        said = {
            "text": Wrote(reply, TextDelta("words ", (1,), 3), USAGE),
            "audio": Sounded(reply, bytes(24_000), USAGE),
        }
        known = self.driver.session.replies.find(reply) is not None
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
        silent = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        self.driver.send("session.update", session=silent)  # else silence is answered for ever
        for _ in range(3):  # the active reply, one that is owed, and time for both
            for reply in self.driver.session.replies.under_way:
                self.driver.report(Ended(reply.id, Ending("completed"), USAGE))
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
