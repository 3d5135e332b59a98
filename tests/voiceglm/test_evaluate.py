"""The measures: known errors give known rates, and a conversation is marked by its text."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from voiceglm.error_rate import character_errors, plain, word_errors
from voiceglm.evaluate import conversations, is_right
from voiceglm.events import AudioDelta, Event, TextDelta, TurnEnd
from voiceglm.manifest import Utterance


def test_texts_are_compared_without_case_and_punctuation() -> None:
    assert plain("What's up, Doc?  A, B.") == "what's up doc a b"


@pytest.mark.parametrize(
    ("said", "heard", "words", "characters"),
    [
        ("One two three.", "one two three", 0, 0),
        ("One two three.", "one too three", 1, 1),
        ("One two three.", "", 3, 13),
        ("One.", "one two", 1, 4),
    ],
)
def test_errors_are_counted(said: str, heard: str, words: int, characters: int) -> None:
    rows = [{"said": said, "heard": heard}]
    assert word_errors(rows).edits == words
    assert character_errors(rows).edits == characters
    assert word_errors(rows).length == len(plain(said).split())


def test_rates_are_over_all_rows_not_a_mean_of_rates() -> None:
    rows = [{"said": "a", "heard": "b"}, {"said": "one two three", "heard": "one two three"}]
    assert word_errors(rows).percent == pytest.approx(25.0)


class Ear:
    """Always hears the same."""

    def __init__(self, text: str):
        self._text = text

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        assert sample_rate == 16_000
        return self._text


class Parrot:
    """Always answers the same, and says it for two seconds."""

    def reply(self, question: Tensor, *, seed: int = 0) -> Iterator[Event]:
        yield TextDelta("The sky ", (1,))
        yield TextDelta("is blue.", (2,))
        yield AudioDelta(torch.full((44_100,), 0.1), 22_050)
        yield TurnEnd("finished")


@pytest.fixture
def question(tmp_path: Path) -> Utterance:
    path = tmp_path / "q.wav"
    soundfile.write(path, 0.1 * torch.randn(16_000).numpy(), 16_000)
    extra = {"answer": "The sky is blue.", "skill": "colours"}
    return Utterance(path=path, text="What colour is the sky?", extra=extra)


def test_a_conversation_is_marked_by_its_text(question: Utterance) -> None:
    wrong = Utterance(
        path=question.path, text="?", extra={"answer": "The sky is red.", "skill": "days"}
    )
    rows = conversations(Parrot, Ear("the sky is blue"), [question, wrong])  # type: ignore[arg-type]
    assert [row["right"] for row in rows] == [True, False]
    assert [row["skill"] for row in rows] == ["colours", "days"]
    assert rows[0]["heard"] == "the sky is blue"
    assert rows[0]["audio_seconds"] == 2.0


@pytest.mark.parametrize(
    ("language", "reply", "right"),
    [
        ("zh", "七 乘三，等于二十一", True),
        ("zh", "七乘三等于二十二。", False),
        ("zh", "", False),
        ("en", "seven times THREE is twenty-one!", True),
        ("en", "seven times three is twenty", False),
        ("en", "七乘三等于二十一。", False),
    ],
)
def test_a_right_reply_has_the_letters_of_its_language(
    language: str, reply: str, right: bool
) -> None:
    answers = {"zh": "七乘三等于二十一。", "en": "Seven times three is twenty one."}
    asked = Utterance(None, "?", language=language, extra={"answer": answers[language]})
    assert is_right(reply, asked) is right
