"""A conversation: events in order, a history of ids."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.voiceglm.scripted import (
    NOISE,
    REPLY,
    STOP,
    TEXT,
    VOCABULARY,
    Brain,
    Ears,
    Mouth,
    chat,
    encode,
    speech,
    text_of,
)
from voiceglm.chat import VoiceChat
from voiceglm.errors import AudioError, ConfigError, EngineError
from voiceglm.events import AudioDelta, TextDelta, TurnEnd
from voiceglm.language_model import LanguageModelConfig, Sampling, VoiceLM
from voiceglm.style import Style


def test_events_come_in_order() -> None:
    conversation, _, mouth = chat(REPLY + STOP)
    events = list(conversation.reply(NOISE))
    assert text_of(events) == "It is four."
    kinds = [type(event) for event in events]
    first_audio = kinds.index(AudioDelta)
    assert set(kinds[:first_audio]) == {TextDelta}
    assert TextDelta in kinds[first_audio:], "it speaks while it writes"
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
    assert mouth.spoken == [[]]
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
    assert mouth.spoken == [[]]
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


def test_a_turn_that_was_heard_is_answered_like_a_recording() -> None:
    conversation, brain, _ = chat(REPLY + STOP, STOP)
    for chunk in (NOISE[:1_000], NOISE[:0], NOISE[:3_000], NOISE[:200]):
        conversation.hear(chunk)
    list(conversation.reply())
    writer = Brain.writer
    assert brain.prompts == [writer.opening("speech") + writer.speech_turn([0, 1, 2, 39])]
    begun = writer.opening("speech") + writer.begin_speech_turn([0, 1, 2])
    assert brain.prefilled == [begun], "read once, when there was something to read"
    assert brain.prompts[0][: len(begun)] == begun
    conversation.hear(NOISE[:1_500])
    assert brain.prefilled[1] == [*conversation.history, *writer.begin_speech_turn([0])]


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_an_engine_that_fails_while_the_user_speaks_loses_nothing(failures: int) -> None:
    conversation, brain, _ = chat(REPLY + STOP)
    brain.failures = failures
    for _ in range(3):
        conversation.hear(NOISE[:1_280])
    writer = Brain.writer
    begun = [writer.begin_speech_turn(range(n)) for n in (1, 2, 3)]
    assert brain.prefilled == [writer.opening("speech") + turn for turn in begun], "asked again"
    conversation.commit()
    assert text_of(list(conversation.respond())) == "It is four."
    assert brain.prompts == [writer.opening("speech") + writer.speech_turn([0, 1, 2, 39])]


def test_what_was_not_meant_for_us_is_forgotten() -> None:
    conversation, brain, _ = chat(STOP)
    conversation.hear(NOISE)
    conversation.unhear()
    conversation.hear(NOISE[:2_000])
    list(conversation.reply())
    assert brain.prompts[0][-len(Brain.writer.speech_turn([0, 39])) :] == (
        Brain.writer.speech_turn([0, 39])
    )


@pytest.mark.parametrize(
    ("heard", "complaint"),
    [([], "nothing was heard"), ([torch.zeros(16_000)], "silent"), ([NOISE[:900]], "too short")],
)
def test_a_turn_without_speech_is_refused(heard: list[Tensor], complaint: str) -> None:
    conversation, _, _ = chat(REPLY + STOP)
    for chunk in heard:
        conversation.hear(chunk)
    with pytest.raises(AudioError, match=complaint):
        next(conversation.reply())
    assert conversation.history == ()
    conversation.hear(NOISE)
    assert text_of(list(conversation.reply())) == "It is four."


@pytest.mark.parametrize(
    ("heard_ms", "kept"),
    [(0, 0), (79, 0), (80, -4), (160, -3), (239, -3), (240, None), (9_000, None)],
    ids=str,
)
def test_what_was_not_heard_is_unsaid(heard_ms: float, kept: int | None) -> None:
    """The reply ends in code 1, code 2, its last words, code 3; a code lasts 80 ms."""
    words = encode(" four.")
    reply = [*encode("It is"), *speech(1, 2), *words, *speech(3)]
    conversation, brain, _ = chat(reply + STOP, STOP)
    list(conversation.reply(NOISE))
    conversation.truncate(heard_ms)
    ends = {-4: len(encode("It is")) + 1, -3: len(encode("It is")) + 2, None: len(reply), 0: 0}
    expected = brain.prompts[0] + reply[: ends[kept]]
    assert list(conversation.history) == expected
    list(conversation.reply("And?"))
    assert brain.prompts[1] == expected + Brain.writer.text_turn("And?")


def test_time_does_not_run_backwards() -> None:
    conversation, _, _ = chat()
    conversation.truncate(5.0)  # nothing was said, so there is nothing to unsay
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ConfigError, match="heard_ms must be at least 0"):
            conversation.truncate(wrong)


def test_a_long_conversation_forgets_its_oldest_speech_first() -> None:
    conversation, brain, _ = chat(*[REPLY + STOP] * 12)
    brain.conversation_length = 2 * len(Brain.writer.opening("speech")) + 120
    opening = Brain.writer.opening("speech")
    shortened = False
    for _ in range(12):
        list(conversation.reply(NOISE))
        prompt = brain.prompts[-1]
        assert prompt[: len(opening)] == opening
        assert prompt[-len(Brain.writer.speech_turn([7, 8, 9])) :] == (
            Brain.writer.speech_turn([7, 8, 9])
        )
        assert len(prompt) + brain.conversation_length // 4 <= brain.conversation_length
        silent = Brain.writer.speech_turn([])
        shortened = shortened or prompt[len(opening) : len(opening) + len(silent)] == silent
    assert shortened, "a turn without its speech comes before no turn"


@pytest.mark.parametrize("heard_ms", [0, 80, 500, 1_333, 60_000])
def test_truncated_equals_fresh(heard_ms: float) -> None:
    """A real network: after a truncation nothing of what was cut is left in its cache."""
    model = VoiceLM.new(
        LanguageModelConfig(
            hidden_size=32,
            num_layers=2,
            num_heads=2,
            num_key_value_heads=1,
            intermediate_size=32,
            context_length=600,
        ),
        TEXT,
        num_codes=4_000,  # so many that a random reply seldom ends
    )
    sampling = Sampling(temperature=1.0, top_p=1.0, max_new_ids=120)
    used, fresh = (VoiceChat(Ears(), model, Mouth()) for _ in range(2))
    list(used.reply(NOISE, sampling=sampling, seed=1))
    before = used.history
    used.truncate(heard_ms)
    assert (len(used.history) < len(before)) == (heard_ms < 60_000)
    fresh._history = deepcopy(used._history)
    for conversation in (used, fresh):
        list(conversation.reply("And now?", sampling=sampling, seed=2))
    assert used.history == fresh.history
    assert used.history[len(used.history) - 20 :] != before[-20:]


class Failing(Brain):
    """Fails before it has written anything, the first time."""

    def generate(self, ids: Sequence[int], sampling: Sampling, **more: Any) -> Iterator[int]:
        written = super().generate(ids, sampling, **more)
        if len(self.prompts) == 1:
            return fail()
        return written


def fail() -> Iterator[int]:
    raise EngineError("the engine is away")
    yield


def test_a_reply_that_fails_may_be_asked_for_again() -> None:
    model = Failing([], [*TEXT.encode("yes").ids, VOCABULARY.user])
    chat = VoiceChat(Ears(), model, Mouth())
    chat.say("user", "well?")
    with pytest.raises(EngineError):
        list(chat.respond())
    list(chat.respond())
    assert model.prompts[1] == model.prompts[0], "nothing of the failure is left"


def test_what_was_heard_ends_once() -> None:
    model = Brain([VOCABULARY.user])
    chat = VoiceChat(Ears(), model, Mouth())
    chat.hear(torch.rand(16_000))
    model.context_length = 1
    with pytest.raises(ConfigError, match="too long"):
        list(chat.reply())
    with pytest.raises(ConfigError, match="too long"):
        list(chat.reply())
    model.context_length = 200
    list(chat.reply())
    alone = Brain([VOCABULARY.user])
    other = VoiceChat(Ears(), alone, Mouth())
    other.hear(torch.rand(16_000))
    list(other.reply())
    assert model.prompts == alone.prompts


def test_a_style_is_heard_and_not_read() -> None:
    style = [VOCABULARY.style_id("slow_3"), VOCABULARY.style_id("loud")]
    conversation, brain, mouth = chat(style + REPLY + STOP, REPLY + STOP)
    events = list(conversation.reply(NOISE))
    assert text_of(events) == "It is four."
    said = [event for event in events if isinstance(event, TextDelta)]
    assert not any(VOCABULARY.is_style(id_) for event in said for id_ in event.ids)
    assert {event.style for event in said} == {Style(rate="slow_3", volume="loud")}
    assert conversation.last_reply.ids == style + REPLY
    again = [event for event in conversation.reply(NOISE) if isinstance(event, TextDelta)]
    assert {event.style for event in again} == {Style()}
    assert mouth.styles == [["slow_3", "loud"], []]
    assert mouth.spoken == [[1, 2, 3]] * 2
    assert style[0] in brain.prompts[1], "the model sees how it spoke"


def test_a_style_changes_nothing_in_silence() -> None:
    conversation, _, mouth = chat([VOCABULARY.style_id("loud"), *REPLY, *STOP])
    conversation.say("user", "And?")
    assert text_of(list(conversation.respond(aloud=False))) == "It is four."
    assert mouth.styles == []


def test_a_silent_reply_is_the_same_but_for_its_sound() -> None:
    kept = []
    for aloud in (True, False):
        conversation, brain, mouth = chat(REPLY + STOP, REPLY + STOP)
        events = list(conversation.reply(NOISE, aloud=aloud))
        assert text_of(events) == "It is four."
        assert any(isinstance(event, AudioDelta) for event in events) == aloud
        assert bool(mouth.spoken) == aloud
        list(conversation.reply(NOISE))
        kept.append((conversation.last_reply.ids, brain.prompts))
    assert kept[0] == kept[1], "the conversation goes on alike"


@pytest.mark.parametrize(("style", "heard"), [("slow_3", 12), ("fast_3", 32), (None, 20)])
def test_what_was_heard_of_a_reply_depends_on_its_rate(style: str | None, heard: int) -> None:
    opening = [VOCABULARY.style_id(style)] if style else []
    conversation, _, _ = chat([*opening, *encode("It"), *speech(*[5] * 38), *STOP])
    list(conversation.reply(NOISE))
    conversation.truncate(1_600)  # 20 codes of a voice by itself
    assert conversation.last_reply.ids == [*opening, *encode("It"), *speech(*[5] * heard)]
