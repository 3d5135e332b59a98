"""Written documents and dialogues of the nano world: what corpora can be made of offline."""

import json
import random
from collections.abc import Iterator
from typing import Any

from data_synth.corpus import joined
from data_synth.world import Language, sample_exchange, sample_sentence

PARAGRAPHS = (1, 6)
SENTENCES = (3, 9)  # of a paragraph
EXCHANGES = (1, 3)  # of a dialogue
STYLED = 1 / 3  # of the replies

_Wish = tuple[str, dict[str, str]]
_ENGLISH: tuple[_Wish, ...] = (
    ("Speak slowly, please.", {"rate": "slow"}),
    ("Speak fast, please.", {"rate": "fast"}),
    ("Use a high voice.", {"pitch": "high"}),
    ("Use a low voice.", {"pitch": "low"}),
    ("Speak softly.", {"volume": "soft"}),
    ("Speak up, please.", {"volume": "loud"}),
    ("Sound cheerful.", {"emotion": "cheerful"}),
    ("Sound sad.", {"emotion": "sad"}),
    ("Whisper, please.", {"emotion": "whisper"}),
)
_CHINESE: tuple[_Wish, ...] = (
    ("请说慢一点。", {"rate": "slow"}),
    ("请说快一点。", {"rate": "fast"}),
    ("请用高一点的声音。", {"pitch": "high"}),
    ("请用低一点的声音。", {"pitch": "low"}),
    ("请小声一点。", {"volume": "soft"}),
    ("请大声一点。", {"volume": "loud"}),
    ("请高兴地说。", {"emotion": "cheerful"}),
    ("请难过地说。", {"emotion": "sad"}),
    ("请悄悄地说。", {"emotion": "whisper"}),
)
_WISHES: dict[Language, tuple[_Wish, ...]] = {"en": _ENGLISH, "zh": _CHINESE}


def document(
    rng: random.Random,
    paragraphs: tuple[int, int] = PARAGRAPHS,
    language: Language = "en",
) -> str:
    """Draw one: paragraphs of plain sentences, facts, questions with their answers."""
    return "\n\n".join(_paragraph(rng, language) for _ in range(rng.randint(*paragraphs)))


def document_lines(
    num_documents: int,
    seed: int,
    paragraphs: tuple[int, int] = PARAGRAPHS,
    language: Language = "en",
) -> Iterator[str]:
    """Yield JSON lines with ``id``, ``text`` and ``language``; each depends on its number alone."""
    for number in range(num_documents):
        rng = random.Random(f"document/{seed}/{number}")
        name = f"world-{seed}-{number:08d}"
        row = {"id": name, "text": document(rng, paragraphs, language), "language": language}
        yield json.dumps(row, ensure_ascii=False)


def dialogue_lines(num_dialogues: int, seed: int, language: Language = "en") -> Iterator[str]:
    """Yield JSON lines as ``voiceglm synth dialogues`` reads; each depends on its number alone."""
    for number in range(num_dialogues):
        rng = random.Random(f"dialogue/{seed}/{number}")
        name = f"world-{seed}-{number:08d}"
        row = {"id": name, "language": language, "turns": _turns(rng, language)}
        yield json.dumps(row, ensure_ascii=False)


def _turns(rng: random.Random, language: Language) -> list[dict[str, Any]]:
    """Draw one to three exchanges; one reply in three is asked for in a style."""
    turns: list[dict[str, Any]] = []
    for _ in range(rng.randint(*EXCHANGES)):
        exchange = sample_exchange(rng, "train", language=language)
        question = {"role": "user", "text": exchange.question}
        reply: dict[str, Any] = {"role": "assistant", "text": exchange.answer}
        if rng.random() < STYLED:
            wish, style = rng.choice(_WISHES[language])
            question["text"] = joined((wish, exchange.question), language)
            reply["style"] = style
        turns += [question, reply]
    return turns


def _paragraph(rng: random.Random, language: Language) -> str:
    count = rng.randint(*SENTENCES)
    return joined([_sentence(rng, language) for _ in range(count)], language)


def _sentence(rng: random.Random, language: Language) -> str:
    kind = rng.random()
    if kind < 0.5:
        return sample_sentence(rng, language)
    exchange = sample_exchange(rng, "train", language=language)
    if kind < 0.8:
        return exchange.answer
    return joined((exchange.question, exchange.answer), language)
