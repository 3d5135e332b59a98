"""A conversation keeps its order, whatever of it is forgotten."""

import pytest

from voiceglm.history import History, Utterance
from voiceglm.prompt import PromptFormat, PromptWriter
from voiceglm.style import Style
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.vocabulary import Vocabulary

TEXT = train_text_tokenizer([*PromptFormat().texts(), "one two three four five six"] * 20, 320)
VOCABULARY = Vocabulary.compact(TEXT.get_vocab_size(), 40)
WRITER = PromptWriter(VOCABULARY, lambda text: TEXT.encode(text).ids, PromptFormat())


def written(text: str) -> Utterance:
    return Utterance("user", WRITER.written(text))


@pytest.fixture
def history() -> History:
    return History(VOCABULARY, WRITER)


def test_what_precedes_something_forgotten_precedes_what_is_left(history: History) -> None:
    old = [written(text) for text in ("one", "two", "three", "four")]
    for utterance in old:
        history.add(utterance, "text")
    history.keep([(one, one.ids) for one in old[2:]])
    first, second = written("five"), written("six")
    history.add(first, "text", before=old[0])
    history.add(second, "text", before=old[0])
    assert history.utterances == [first, second, *old[2:]]
    spoken = [id_ for one in (first, second, *old[2:]) for id_ in one.ids]
    assert history.ids() == WRITER.opening("text") + spoken, "nothing forgotten comes back"


def test_what_was_removed_has_no_place(history: History) -> None:
    one, two = written("one"), written("two")
    for utterance in (one, two):
        history.add(utterance, "text")
    history.remove(one)
    new = written("three")
    history.add(new, "text", before=one)
    assert history.utterances == [two, new]


def test_a_reply_knows_its_style() -> None:
    vocabulary = Vocabulary.compact(TEXT.get_vocab_size(), 40, styles=("fast_2", "whisper"))
    writer = PromptWriter(vocabulary, lambda text: TEXT.encode(text).ids, PromptFormat())
    said = Utterance("assistant", writer.reply("one two", [1, 2, 3], ["fast_2", "whisper"]))
    assert said.style(vocabulary) == Style(rate="fast_2", tone="whisper")
    said.cut(1, vocabulary)
    assert said.style(vocabulary) == Style(rate="fast_2", tone="whisper"), "what was heard had it"
    assert Utterance("assistant", writer.reply("one", [1])).style(vocabulary) == Style()


def test_a_style_survives_a_shortened_history() -> None:
    vocabulary = Vocabulary.compact(TEXT.get_vocab_size(), 40, styles=("loud",))
    writer = PromptWriter(vocabulary, lambda text: TEXT.encode(text).ids, PromptFormat())
    history = History(vocabulary, writer)
    history.add(Utterance("user", writer.spoken([1] * 20)), "speech")
    history.add(Utterance("assistant", writer.reply("one", [1] * 60, ["loud"])), "speech")
    new = Utterance("user", writer.spoken([1] * 20))
    kept = history.shortened([new], context_length=140, max_new_ids=100)
    ((_, ids),) = [pair for pair in kept if pair[0].speaker == "assistant"]
    assert ids == writer.reply("one", [], ["loud"])
