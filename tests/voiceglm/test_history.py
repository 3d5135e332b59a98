"""A conversation keeps its order, whatever of it is forgotten."""

import pytest

from voiceglm.history import History, Utterance
from voiceglm.prompt import PromptFormat, PromptWriter
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
