"""A session with a clock, its orders written down, its messages checked."""

import base64
import itertools
from typing import Any

import torch

from tests.web.invariants import Invariants, Message
from voiceglm.history import Usage
from web import actions
from web.ear import EarEvent, Heard, Turned
from web.reports import Report
from web.session import Limits, Session
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
