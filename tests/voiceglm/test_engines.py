"""A language model elsewhere says what it says here; what goes wrong there has one clear line."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vllm_like import Engine, serving
from voiceglm.engines import RemoteLM
from voiceglm.errors import ConfigError, EngineError
from voiceglm.events import AudioDelta, TextDelta
from voiceglm.language_model import LanguageModelConfig, ReplyCache, Sampling, VoiceLM
from voiceglm.pretrained import load_chat
from voiceglm.prompt import PromptFormat
from voiceglm.text_tokenizer import train_text_tokenizer

QUESTIONS = ("What is the capital of France?", "And what is the opposite of hot?")


@pytest.fixture(scope="module")
def local() -> VoiceLM:
    return VoiceLM.from_pretrained("nano")


@pytest.fixture
def engine(local: VoiceLM) -> Engine:
    return Engine(local)


@pytest.fixture
def url(engine: Engine) -> Iterator[str]:
    with serving(engine) as address:
        yield address


def test_the_same_ids_as_in_process(nano: Path, local: VoiceLM, url: str) -> None:
    remote = RemoteLM.from_pretrained("nano", url)
    ids: list[int] = []
    for text in QUESTIONS:
        ids = remote.writer.opening("text") + remote.writer.text_turn(text)
        sampling = Sampling(temperature=0.0, max_new_ids=200)
        assert list(remote.generate(ids, sampling)) == list(local.generate(ids, sampling))
    warm = Sampling(temperature=2.0, top_p=1.0, max_new_ids=60)
    seeds = [torch.Generator().manual_seed(n) for n in (1, 1, 2)]
    replies = [list(remote.generate(ids, warm, generator=seed)) for seed in seeds]
    assert replies[0] == replies[1] != replies[2], "the seed decides"


def test_a_whole_conversation(nano: Path, engine: Engine, url: str) -> None:
    here, there = load_chat("nano"), load_chat("nano", engine_url=url)
    for text in QUESTIONS:
        local, remote = list(here.reply(text)), list(there.reply(text))
        assert [e.text for e in remote if isinstance(e, TextDelta)] == [
            e.text for e in local if isinstance(e, TextDelta)
        ]
        sounds = [
            torch.cat([e.samples for e in each if isinstance(e, AudioDelta)])
            for each in (local, remote)
        ]
        torch.testing.assert_close(*sounds)
        there.truncate(400)
        here.truncate(400)
    assert here.history == there.history
    assert (
        engine.requests[-1]["prompt"][: len(engine.requests[0]["prompt"])]
        == (engine.requests[0]["prompt"])
    ), "so that the server's cache of prefixes helps"


def test_hanging_up_stops_the_server(nano: Path, engine: Engine, url: str) -> None:
    remote = RemoteLM.from_pretrained("nano", url)
    ids = remote.writer.opening("text") + remote.writer.text_turn("Count from one to ten.")
    reply = remote.generate(ids, Sampling(temperature=0.0, max_new_ids=400))
    for _ in range(5):
        next(reply)
    reply.close()
    deadline = time.monotonic() + 10
    while not engine.cancelled and time.monotonic() < deadline:
        time.sleep(0.02)
    assert engine.cancelled == 1
    whole = len(list(engine.model.generate(ids, Sampling(temperature=0.0, max_new_ids=400))))
    assert engine.written < whole


def test_reading_ahead(nano: Path, engine: Engine, url: str) -> None:
    remote = RemoteLM.from_pretrained("nano", url)
    remote.prefill(remote.writer.opening("speech"), ReplyCache())
    assert engine.requests[-1]["max_tokens"] == 1
    assert engine.requests[-1]["prompt"] == remote.writer.opening("speech")


def test_what_goes_wrong_is_told(nano: Path, engine: Engine, url: str) -> None:
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9 failed"):
        RemoteLM.from_pretrained("nano", "http://127.0.0.1:9")
    sampling = Sampling(temperature=0.0, max_new_ids=200)
    stranger = RemoteLM.from_pretrained("nano", url, name="other")
    ids = stranger.writer.opening("text") + stranger.writer.text_turn("Hello.")
    with pytest.raises(EngineError, match=r"404.*no such model"):
        list(stranger.generate(ids, sampling))
    remote = RemoteLM.from_pretrained("nano", url)
    engine.breaks_after = engine.written + 3
    cut = list(remote.generate(ids, sampling))
    assert len(cut) == 3, "a stream that ends early is a reply that was cut"
    for bad, complaint in (([], "no ids"), ([10**9], "outside"), ([1] * 10**5, "reads at most")):
        with pytest.raises(ConfigError, match=complaint):
            remote.generate(bad, sampling)
    with pytest.raises(ConfigError, match="one temperature"):
        remote.generate(ids, Sampling(temperature=1.0, max_new_ids=5, speech_temperature=0.5))


def test_styles_come_through_where_they_come_first() -> None:
    texts = train_text_tokenizer([*PromptFormat().texts(), "It is four."] * 20, 320)
    sizes = LanguageModelConfig(
        hidden_size=16, num_layers=1, num_heads=2, num_key_value_heads=1, intermediate_size=16
    )
    model = VoiceLM.new(sizes, texts, num_codes=40, styles=("slow_1", "loud"))
    slow, loud = model.vocabulary.style_ids
    written, code = texts.encode("It").ids, model.vocabulary.speech_id(3)
    said = [slow, loud, *written, loud, code, slow, code, model.vocabulary.user]

    class Loose(VoiceLM):
        """Writes a style anywhere, as a server may."""

        def generate(self, *_: Any, **__: Any) -> Any:
            yield from said

    model.__class__ = Loose
    with serving(Engine(model)) as address:
        remote = RemoteLM(
            address, "served", model.vocabulary, texts, PromptFormat(), context_length=100
        )
        found = list(remote.generate([1, 2], Sampling(max_new_ids=50)))
    assert found == [slow, loud, *written, code, code, model.vocabulary.user]
