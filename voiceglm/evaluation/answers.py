"""When a free reply holds an accepted answer.

The normalization is TriviaQA's (Joshi et al. 2017: lower case, no punctuation, no articles) after
Whisper's English normalizer, so that "nineteen eighty-four" heard is "1984" written. As published
for spoken question answering, a reply is right if it contains an answer, here as whole words; in
Chinese, which parts no words, as characters.
"""

import re
from collections.abc import Iterable

from voiceglm.error_rate import plain
from voiceglm.evaluation.clips import spoken_words

_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalized(text: str) -> str:
    """Return what answers are compared by."""
    return " ".join(_ARTICLES.sub(" ", plain(spoken_words(text))).split())


def holds_answer(reply: str, answers: Iterable[str], language: str = "en") -> bool:
    """Say whether a reply contains one of the answers, word for word."""
    if language == "zh":
        said = plain(reply, "zh")
        return any(answer in said for each in answers if (answer := plain(each, "zh")))
    words = f" {normalized(reply)} "
    wanted = (normalized(answer) for answer in answers)
    return any(f" {answer} " in words for answer in wanted if answer)
