"""A conversation: events in order, a history of ids, three fakes for three models."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from voiceglm.chat import VoiceChat
from voiceglm.errors import AudioError, ConfigError
from voiceglm.events import AudioDelta, Event, TextDelta, TurnEnd
from voiceglm.language_model import ReplyCache, Sampling
from voiceglm.prompt import PromptFormat, PromptWriter
from voiceglm.text_tokenizer import TextStream, train_text_tokenizer
from voiceglm.vocabulary import Vocabulary

TEXT = train_text_tokenizer([*PromptFormat().texts(), "It is four."] * 20, 320)
VOCABULARY = Vocabulary.compact(TEXT.get_vocab_size(), 40)
NOISE = torch.ones(16_000)


def encode(text: str) -> list[int]:
    return TEXT.encode(text).ids


class Ears:
    """Hears three codes, or nothing at all."""

    def encode(self, samples: Tensor, sample_rate: int) -> list[int]:
        assert sample_rate == 16_000
        if not samples.any():
            raise AudioError("the recording is silent")
        return [7, 8, 9]

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        return "seven eight nine"


class Brain:
    """Says what it is told to say."""

    vocabulary = VOCABULARY
    writer = PromptWriter(VOCABULARY, encode, PromptFormat())

    def __init__(self, *replies: list[int]):
        self.replies = list(replies)
        self.prompts: list[list[int]] = []
        self.caches: list[ReplyCache | None] = []
        self.samplings: list[Sampling] = []

    def text_stream(self) -> TextStream:
        return TextStream(TEXT)

    def generate(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        *,
        cache: ReplyCache | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[int]:
        if len(ids) > 200:
            raise ConfigError("the conversation is too long")
        self.prompts.append(list(ids))
        self.caches.append(cache)
        self.samplings.append(sampling)
        return iter(self.replies.pop(0))


class Mouth:
    """Speaks one sample per code, with noise from the generator."""

    sample_rate = 22_050

    def __init__(self) -> None:
        self.spoken: list[list[int]] = []

    def decode(self, ids: Sequence[int], *, generator: torch.Generator | None = None) -> Tensor:
        self.spoken.append(list(ids))
        return torch.tensor(ids) + torch.rand(len(ids), generator=generator)


def speech(*codes: int) -> list[int]:
    return [VOCABULARY.speech_id(code) for code in codes]


STOP = [VOCABULARY.user]
REPLY = [*encode("It is"), *speech(1, 2), *encode(" four."), *speech(3)]


def chat(*replies: list[int]) -> tuple[VoiceChat, Brain, Mouth]:
    brain, mouth = Brain(*replies), Mouth()
    return VoiceChat(Ears(), brain, mouth), brain, mouth


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def test_events_come_in_order() -> None:
    conversation, _, mouth = chat(REPLY + STOP)
    events = list(conversation.reply(NOISE))
    assert text_of(events) == "It is four."
    kinds = [type(event) for event in events]
    first_audio = kinds.index(AudioDelta)
    assert set(kinds[:first_audio]) == {TextDelta}
    assert set(kinds[first_audio:-1]) == {AudioDelta}
    assert events[-1] == TurnEnd("finished")
    assert kinds.count(TurnEnd) == 1
    audio = [event for event in events if isinstance(event, AudioDelta)]
    assert {event.sample_rate for event in audio} == {22_050}
    assert torch.equal(torch.cat([event.samples for event in audio]).long(), torch.arange(1, 4))
    assert mouth.spoken == [[1, 2, 3]]


def test_a_spoken_question_becomes_a_prompt() -> None:
    conversation, brain, _ = chat(STOP)
    list(conversation.reply(NOISE))
    writer = Brain.writer
    assert brain.prompts == [writer.opening("speech") + writer.speech_turn([7, 8, 9])]


def test_a_written_question_becomes_a_prompt() -> None:
    conversation, brain, _ = chat(STOP)
    list(conversation.reply("What is two plus two?"))
    writer = Brain.writer
    expected = writer.opening("text") + writer.text_turn("What is two plus two?")
    assert brain.prompts == [expected]


def test_the_history_is_ids_and_grows() -> None:
    conversation, brain, _ = chat(REPLY + STOP, STOP, STOP)
    assert conversation.history == ()
    list(conversation.reply(NOISE))
    first = brain.prompts[0] + REPLY  # the id that ended it opens the next turn
    assert list(conversation.history) == first
    list(conversation.reply("And now?"))
    assert brain.prompts[1] == first + Brain.writer.text_turn("And now?"), "one opening only"
    list(conversation.reply(NOISE))
    assert brain.prompts[2] == brain.prompts[1] + Brain.writer.speech_turn([7, 8, 9])
    assert brain.caches[0] is brain.caches[1] is brain.caches[2] is not None


def test_what_was_said_is_kept_when_the_listener_leaves() -> None:
    conversation, brain, mouth = chat(REPLY + STOP, STOP)
    events = conversation.reply(NOISE)
    said = next(events)
    assert isinstance(said, TextDelta)
    events.close()
    assert list(conversation.history) == brain.prompts[0] + list(said.ids)
    assert not mouth.spoken
    list(conversation.reply("Go on."))
    assert brain.prompts[1] == [*brain.prompts[0], *said.ids, *Brain.writer.text_turn("Go on.")]


def test_nothing_happens_before_the_first_event() -> None:
    conversation, brain, _ = chat(REPLY + STOP)
    conversation.reply(NOISE)
    assert not brain.prompts
    assert conversation.history == ()


def test_a_seed_decides_every_choice() -> None:
    def heard(seed: int) -> Tensor:
        conversation, _, _ = chat(REPLY + STOP)
        events = conversation.reply(NOISE, seed=seed)
        return torch.cat([event.samples for event in events if isinstance(event, AudioDelta)])

    before = torch.random.get_rng_state()
    assert torch.equal(heard(1), heard(1))
    assert not torch.equal(heard(1), heard(2))
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator was used"


def test_sampling_is_passed_on() -> None:
    conversation, brain, _ = chat(STOP, STOP)
    list(conversation.reply(NOISE))
    assert brain.samplings[0].temperature == 0, "the likeliest by default"
    wild = Sampling(temperature=2.0)
    list(conversation.reply(NOISE, sampling=wild))
    assert brain.samplings[1] is wild


def test_a_reply_cut_short_says_so() -> None:
    conversation, _, _ = chat(REPLY)
    assert list(conversation.reply(NOISE))[-1] == TurnEnd("length")


def test_a_silent_reply_has_no_audio() -> None:
    conversation, _, mouth = chat(encode("It is four.") + STOP)
    events = list(conversation.reply(NOISE))
    assert not any(isinstance(event, AudioDelta) for event in events)
    assert not mouth.spoken
    assert text_of(events) == "It is four."


@pytest.mark.parametrize("text", ["naïve café", "你好，世界", "fine 🙂 thanks", "🙂"])
def test_characters_of_many_bytes_are_never_cut(text: str) -> None:
    ids = encode(text)
    assert len(ids) > len(text.split())
    reply = [id_ for pair in zip(ids, speech(*[1] * len(ids)), strict=True) for id_ in pair]
    conversation, _, _ = chat(reply + STOP)
    events = [e for e in conversation.reply(NOISE) if isinstance(e, TextDelta)]
    assert text_of(events) == text
    assert all("\ufffd" not in event.text for event in events)
    assert [id_ for event in events for id_ in event.ids] == ids, "no id is lost"
    for event in events:
        assert TEXT.decode(list(event.ids)) == event.text


def test_a_character_that_is_never_finished() -> None:
    ids = encode("🙂")[:-1]
    conversation, _, _ = chat(ids + STOP)
    events = list(conversation.reply(NOISE))
    assert events == [TextDelta("\ufffd", tuple(ids)), TurnEnd("finished")]


@pytest.mark.parametrize(
    ("question", "error"), [(torch.zeros(16_000), AudioError), ("so " * 300, ConfigError)]
)
def test_a_question_that_fails_changes_nothing(
    question: Tensor | str, error: type[Exception]
) -> None:
    conversation, _, _ = chat(REPLY + STOP, STOP)
    list(conversation.reply(NOISE))
    before = conversation.history
    with pytest.raises(error):
        next(conversation.reply(question))
    assert conversation.history == before
    assert list(conversation.reply(NOISE)) == [TurnEnd("finished")]


def test_two_conversations_share_models_and_nothing_else() -> None:
    brain, mouth = Brain(REPLY + STOP, STOP), Mouth()
    one, other = (VoiceChat(Ears(), brain, mouth) for _ in range(2))
    list(one.reply(NOISE))
    list(other.reply(NOISE))
    assert brain.prompts[0] == brain.prompts[1]
    assert brain.caches[0] is not brain.caches[1]
