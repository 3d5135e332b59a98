"""What is said, and by whom, to train and to test the nano models.

A user's line is spoken by a voice drawn at random, one for a whole conversation; the assistant
speaks with one voice, in the accent that was asked for. The ``test`` side of everything uses
held-out voices, held-out wordings and sentences of its own.
"""

import random
from collections.abc import Iterator, Sequence

from data_synth.speak import Line
from data_synth.tts import (
    ASSISTANT,
    ASSISTANTS,
    Voice,
    held_out_voices,
    in_accent,
    random_voice,
    training_voices,
)
from data_synth.world import (
    Language,
    Split,
    Turn,
    sample_conversation,
    sample_exchange,
    sample_sentence,
)
from data_synth.world.english import finish
from data_synth.world.orders import sample_order

DIALECTS: dict[Language, tuple[str, ...]] = {"en": ("british", "scottish"), "zh": ("cantonese",)}
"""Styles that are another accent or dialect of a language."""
_FIRST = next(iter(ASSISTANTS))  # the assistant whose voice is the default


def user_voice(rng: random.Random, split: Split, language: Language = "en") -> Voice:
    """Draw a user's voice: any accent, rate, pitch and liveliness."""
    names = training_voices(language) if split == "train" else held_out_voices(language)
    return random_voice(rng, names)


def question(rng: random.Random, split: Split, language: Language = "en") -> Line:
    """Draw a user's question; the right answer, skill and wording are kept beside it."""
    exchange = sample_exchange(rng, split, language=language)
    extra = {"answer": exchange.answer, "skill": exchange.skill, "wording": exchange.wording}
    return Line(exchange.question, user_voice(rng, split, language), extra, language)


def order(rng: random.Random, split: Split) -> Line:
    """Draw a user's order of coffee; what it means is kept in ``slots``."""
    drawn = sample_order(rng, split)
    extra = {
        "answer": drawn.reply,
        "skill": "orders",
        "wording": drawn.wording,
        "slots": dict(drawn.slots),
    }
    return Line(finish(drawn.question), user_voice(rng, split), extra)


def conversations(
    rng: random.Random, split: Split, language: Language, count: int, turns: int = 0
) -> Iterator[list[Line]]:
    """Draw the users' lines of conversations.

    Beside what :func:`question` keeps, a line says which ``dialogue`` and which ``turn`` of it it
    is, and the ``style`` of the reply.

    Args:
        rng: Of every draw.
        split: Whose voices and wordings.
        language: Of the first turn.
        count: How many conversations.
        turns: Of each; 0: one to six.
    """
    for number in range(count):
        drawn = sample_conversation(rng, split, language, turns)
        voices: dict[Language, Voice] = {}
        lines = []
        for place, turn in enumerate(drawn):
            spoken = turn.exchange.language
            voice = voices.setdefault(spoken, user_voice(rng, split, spoken))
            lines.append(_line(turn, voice, f"{language}/{number}", place))
        yield lines


def _line(turn: Turn, voice: Voice, dialogue: str, place: int) -> Line:
    exchange = turn.exchange
    extra = {
        "answer": exchange.answer,
        "skill": exchange.skill,
        "wording": exchange.wording,
        "dialogue": dialogue,
        "turn": place,
        "style": list(turn.style),
    }
    return Line(exchange.question, voice, extra, exchange.language)


def reading(rng: random.Random, split: Split, language: Language = "en") -> Line:
    """Draw something a user reads aloud: an answer or a plain sentence."""
    if rng.random() < 0.4:
        text = sample_exchange(rng, split, language=language).answer
    else:
        text = sentences(rng, rng.choice((1, 1, 2)), language)
    return Line(text, user_voice(rng, split, language), language=language)


def reply(rng: random.Random, language: Language = "en") -> Line:
    """Draw something the assistant says: an answer, a sentence, now and then both."""
    answer = sample_exchange(rng, "train", language=language).answer
    sentence = sample_sentence(rng, language)
    both = joined((answer, sentence), language)
    text = rng.choices((answer, sentence, both), weights=(6, 3, 1))[0]
    return Line(text, in_accent(ASSISTANT, language), language=language, speaker=_FIRST)


def answered(answer: str, language: Language, style: Sequence[str] = ()) -> Line:
    """Return what the assistant says, in the accent of a style; the rest of it is not spoken."""
    dialect = dialect_of(language, style)
    voice = in_accent(ASSISTANT, language, dialect)
    return Line(answer, voice, {"dialect": dialect}, language, speaker=_FIRST)


def dialect_of(language: Language, style: Sequence[str]) -> str:
    """Return the one of a style's names that changes how a language is read, or nothing."""
    return next((name for name in style if name in DIALECTS[language]), "")


def sentences(rng: random.Random, count: int, language: Language) -> str:
    """Draw plain sentences."""
    return joined([sample_sentence(rng, language) for _ in range(count)], language)


def joined(texts: Sequence[str], language: Language) -> str:
    """Write sentences one behind another."""
    return ("" if language == "zh" else " ").join(texts)
