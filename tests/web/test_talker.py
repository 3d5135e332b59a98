"""Talkers share threads without starving one another, stop within a step, survive failures."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.web.conftest import run
from voiceglm.chat import VoiceChat
from voiceglm.errors import AudioError
from voiceglm.language_model import ReplyCache, Sampling
from voiceglm.prompt import PromptFormat, PromptWriter
from voiceglm.text_tokenizer import TextStream, train_text_tokenizer
from voiceglm.vocabulary import Vocabulary
from web import actions
from web.codec import PCM
from web.reports import Ended, Report, Sounded, Transcribed, Wrote
from web.talker import Talker

TEXT = train_text_tokenizer(["one two three four five six seven eight nine ten "] * 20, 300)
VOCABULARY = Vocabulary.compact(TEXT.get_vocab_size(), 40)
STEP = 0.01  # seconds that an id takes


class Model:
    """Hears, thinks slowly, speaks; counts what it was made to do."""

    frame_rate, sample_rate = 12.5, 24_000
    vocabulary, context_length, conversation_length = VOCABULARY, 2_000, 2_000
    writer = PromptWriter(VOCABULARY, lambda text: TEXT.encode(text).ids, PromptFormat())

    def __init__(self, ids: int = 40, *, fails: type[Exception] | None = None):
        self.ids, self.fails = ids, fails
        self.written = 0
        self.prompts: list[list[int]] = []

    def encode(self, samples: Tensor, sample_rate: int) -> list[int]:
        return [1, 2]

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        if not samples.any():
            raise AudioError("the recording is silent")
        return "words"

    def start(self, **_: Any) -> Any:
        return self

    def step(self, chunk: Tensor, state: Any) -> list[int]:
        return [3]

    def finish(self, state: Any = None) -> Any:
        return [4] if state is not None else torch.zeros(0)

    def text_stream(self) -> TextStream:
        return TextStream(TEXT)

    def prefill(self, ids: Sequence[int], cache: ReplyCache) -> None:
        pass

    def generate(self, ids: Sequence[int], sampling: Sampling, **_: Any) -> Iterator[int]:
        self.prompts.append(list(ids))
        if self.fails:
            raise self.fails("no memory")
        for n in range(self.ids):
            time.sleep(STEP)
            self.written += 1
            yield VOCABULARY.speech_id(5) if n % 2 else TEXT.encode(" two").ids[0]
        yield VOCABULARY.user

    def decode(self, ids: Sequence[int], **_: Any) -> Tensor:
        return torch.zeros(1_920 * len(ids))

    def push(self, ids: Sequence[int]) -> Tensor:
        return self.decode(ids)


def reply(name: str, **changes: Any) -> actions.Reply:
    order = actions.Reply(name, f"item of {name}", "", Sampling(max_new_ids=100), True, PCM)
    return actions.Reply(**{**order.__dict__, **changes})


Heard = list[tuple[int, Report]]  # with the number of the talker


@asynccontextmanager
async def talking(*models: Model) -> AsyncIterator[tuple[list[Talker], Heard]]:
    """Have talkers that share one thread do orders, and write down what they report."""
    heard: Heard = []
    with ThreadPoolExecutor(1) as pool:

        def make(n: int, model: Model) -> Talker:
            chat = VoiceChat(model, model, model)
            return Talker(chat, pool, lambda report: heard.append((n, report)))

        talkers = [make(n, model) for n, model in enumerate(models)]
        running = [asyncio.ensure_future(talker.run()) for talker in talkers]
        try:
            yield talkers, heard
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for talker in talkers:
                await talker.close()


async def until(heard: Heard, *kinds: type, count: int = 1) -> None:
    async def poll() -> None:
        while sum(isinstance(report, kinds) for _, report in heard) < count:
            await asyncio.sleep(STEP / 2)

    await asyncio.wait_for(poll(), 20)


def test_nobody_waits_for_another_reply_to_end() -> None:
    async def work() -> None:
        async with talking(Model(), Model(), Model()) as (talkers, heard):
            for n, talker in enumerate(talkers):
                talker.order(reply(f"r{n}"))
            await until(heard, Ended, count=3)
            order = [n for n, report in heard if isinstance(report, Wrote | Sounded)]
            shared = order[: len(order) // 2]
            runs = max(len(list(run)) for run in split(shared))
            assert runs <= 2, "one thread, and the three take turns"

    run(work)


def split(values: list[int]) -> Iterator[list[int]]:
    """Yield runs of the same value."""
    start = 0
    for n in range(1, len(values) + 1):
        if n == len(values) or values[n] != values[start]:
            yield values[start:n]
            start = n


def test_a_reply_that_is_stopped_stops_within_a_step() -> None:
    async def work() -> None:
        model = Model(ids=500)
        async with talking(model) as ((talker,), heard):
            talker.order(actions.Say("q", "user", "one"))
            talker.order(reply("first"))
            talker.order(reply("never"))
            await until(heard, Sounded, count=3)
            talker.stop("first")
            talker.stop("never")
            written = model.written
            talker.order(actions.Cut("item of first", 80.0))
            talker.order(actions.Say("q2", "user", "two"))
            talker.order(reply("second"))
            while len(model.prompts) < 2:
                await asyncio.sleep(STEP)
            assert model.written <= written + 2, "the step that was running"
            assert not [r for _, r in heard if isinstance(r, Ended)]
            assert all(r.response_id != "never" for _, r in heard if isinstance(r, Wrote))
            kept = model.prompts[1][len(model.prompts[0]) :]
            assert sum(map(VOCABULARY.is_speech, kept)) == 1, "80 ms were heard"

    run(work)


@pytest.mark.parametrize(
    ("error", "message"), [(AudioError, "no memory"), (RuntimeError, "the model failed")]
)
def test_a_failure_is_told_and_the_next_reply_is_made(error: type[Exception], message: str) -> None:
    async def work() -> None:
        model = Model(ids=4, fails=error)
        async with talking(model) as ((talker,), heard):
            talker.order(reply("first"))
            await until(heard, Ended)
            model.fails = None
            talker.order(reply("second"))
            await until(heard, Ended, count=2)
            endings = [r.ending for _, r in heard if isinstance(r, Ended)]
            assert (endings[0].status, endings[0].error) == ("failed", message)
            assert endings[1].status == "completed"

    run(work)


def test_a_silent_turn_is_no_turn_and_the_reply_to_it_says_why() -> None:
    async def work() -> None:
        model = Model(ids=4)
        async with talking(model) as ((talker,), heard):
            talker.order(actions.Hear(torch.zeros(16_000)))
            talker.order(actions.Commit("silent"))
            talker.order(reply("first"))
            talker.order(actions.Hear(torch.rand(16_000)))
            talker.order(actions.Commit("spoken"))
            talker.order(reply("second"))
            talker.transcribe(actions.Transcribe("silent", torch.zeros(16_000)))
            talker.transcribe(actions.Transcribe("spoken", torch.rand(16_000)))
            await until(heard, Ended, count=2)
            await until(heard, Transcribed, count=2)
            endings = [r.ending for _, r in heard if isinstance(r, Ended)]
            assert "silent" in (endings[0].error or "")
            assert endings[1].status == "completed"
            assert model.prompts == [
                Model.writer.opening("speech") + Model.writer.speech_turn([3, 4])
            ], "of the silence nothing is left"
            texts = {r.item_id: r.text for _, r in heard if isinstance(r, Transcribed)}
            assert texts == {"silent": None, "spoken": "words"}

    run(work)


def test_answers_outside_the_conversation_leave_it_alone() -> None:
    async def work() -> None:
        model = Model(ids=4)
        async with talking(model) as ((talker,), heard):
            talker.order(actions.Say("a", "user", "one"))
            only = (actions.Say("b", "user", "two"),)
            talker.order(reply("aside", only=only, beside=True, aloud=False))
            await until(heard, Ended)
            talker.order(reply("inside"))
            await until(heard, Ended, count=2)
            writer = Model.writer
            assert model.prompts[0] == writer.opening("text") + writer.text_turn("two")
            assert model.prompts[1] == writer.opening("text") + writer.text_turn("one")
            assert not [r for _, r in heard if isinstance(r, Sounded) and r.response_id == "aside"]

    run(work)


def test_an_answer_beside_is_made_while_another_is() -> None:
    async def work() -> None:
        async with talking(Model(ids=60)) as ((talker,), heard):
            talker.order(actions.Say("a", "user", "one"))
            talker.order(reply("inside"))
            await until(heard, Wrote)
            only = (actions.Say("b", "user", "two"),)
            talker.order(reply("beside", only=only, beside=True))
            talker.order(reply("left", only=only, beside=True))
            talker.stop("left")
            await until(heard, Ended, count=2)
            names = [r.response_id for _, r in heard if isinstance(r, Wrote)]
            assert names.index("beside") < len(names) - names[::-1].index("inside"), "side by side"
            assert "left" not in names

    run(work)


def test_an_answer_to_something_else_is_remembered() -> None:
    async def work() -> None:
        model = Model(ids=4)
        async with talking(model) as ((talker,), heard):
            talker.order(actions.Say("a", "user", "one"))
            talker.order(reply("other", only=(actions.Say("b", "user", "two"),)))
            talker.order(actions.Say("c", "user", "three"))
            talker.order(reply("next"))
            await until(heard, Ended, count=2)
            writer, said = Model.writer, model.prompts[1]
            assert model.prompts[0] == writer.opening("text") + writer.text_turn("two")
            opening = writer.opening("text") + writer.text_turn("one")
            assert said[: len(opening)] == opening, "what was asked instead is not"
            assert sum(map(VOCABULARY.is_speech, said)) == 2, "of the other answer"

    run(work)


def test_who_is_behind_says_so() -> None:
    async def work() -> None:
        async with talking(Model()) as ((talker,), _):
            for _ in range(130):
                talker.order(actions.Hear(torch.zeros(16_000)))
            assert talker.is_behind, "two minutes of sound"
            while talker.is_behind:
                await asyncio.sleep(STEP)

    run(work)


def test_what_is_put_before_something_unknown_keeps_its_place() -> None:
    async def work() -> None:
        model = Model(ids=4)
        async with talking(model) as ((talker,), heard):
            talker.order(actions.Say("last", "user", "three"))
            talker.order(actions.Say("first", "user", "one", ("silent", "last")))
            talker.order(reply("r"))
            await until(heard, Ended)
            writer = Model.writer
            said = writer.written("one") + writer.text_turn("three")
            assert model.prompts == [writer.opening("text") + said]

    run(work)


def test_each_reply_has_the_voice_that_is_asked_for() -> None:
    async def work() -> None:
        own, ben, heard = Model(4), Model(4), []
        spoken: list[str] = []
        for name, model in (("own", own), ("ben", ben)):
            model.start = lambda name=name, model=model, **_: spoken.append(name) or model  # type: ignore[method-assign]
        with ThreadPoolExecutor(1) as pool:
            talker = Talker(VoiceChat(own, own, own), pool, heard.append, {"ben": ben})
            running = asyncio.ensure_future(talker.run())
            talker.order(actions.Say("item", "user", "Hello."))
            for number, voice in enumerate(("", "ben", "nano")):
                talker.order(reply(f"r{number}", voice=voice))
                while sum(isinstance(one, Ended) for one in heard) <= number:
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await talker.close()
        assert spoken == ["own", "ben", "own"]

    run(work)
