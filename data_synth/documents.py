"""Written documents and dialogues of the nano world: what corpora can be made of offline."""

import json
import random
from collections.abc import Iterator
from typing import Any

from data_synth.world import sample_exchange, sample_sentence

PARAGRAPHS = (1, 6)
SENTENCES = (3, 9)  # of a paragraph
EXCHANGES = (1, 3)  # of a dialogue
STYLED = 1 / 3  # of the replies

_WISHES: tuple[tuple[str, dict[str, str]], ...] = (
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


def document(rng: random.Random, paragraphs: tuple[int, int] = PARAGRAPHS) -> str:
    """Draw one: paragraphs of plain sentences, facts, questions with their answers."""
    return "\n\n".join(_paragraph(rng) for _ in range(rng.randint(*paragraphs)))


def document_lines(
    num_documents: int, seed: int, paragraphs: tuple[int, int] = PARAGRAPHS
) -> Iterator[str]:
    """Yield JSON lines with ``id``, ``text`` and ``language``; each depends on its number alone."""
    for number in range(num_documents):
        text = document(random.Random(f"document/{seed}/{number}"), paragraphs)
        row = {"id": f"world-{seed}-{number:08d}", "text": text, "language": "en"}
        yield json.dumps(row, ensure_ascii=False)


def dialogue_lines(num_dialogues: int, seed: int) -> Iterator[str]:
    """Yield JSON lines as ``voiceglm synth dialogues`` reads; each depends on its number alone."""
    for number in range(num_dialogues):
        rng = random.Random(f"dialogue/{seed}/{number}")
        row = {"id": f"world-{seed}-{number:08d}", "language": "en", "turns": _turns(rng)}
        yield json.dumps(row, ensure_ascii=False)


def _turns(rng: random.Random) -> list[dict[str, Any]]:
    """Draw one to three exchanges; one reply in three is asked for in a style."""
    turns: list[dict[str, Any]] = []
    for _ in range(rng.randint(*EXCHANGES)):
        exchange = sample_exchange(rng, "train")
        question = {"role": "user", "text": exchange.question}
        reply: dict[str, Any] = {"role": "assistant", "text": exchange.answer}
        if rng.random() < STYLED:
            wish, style = rng.choice(_WISHES)
            question["text"] = f"{wish} {exchange.question}"
            reply["style"] = style
        turns += [question, reply]
    return turns


def _paragraph(rng: random.Random) -> str:
    return " ".join(_sentence(rng) for _ in range(rng.randint(*SENTENCES)))


def _sentence(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return sample_sentence(rng)
    exchange = sample_exchange(rng, "train")
    if kind < 0.8:
        return exchange.answer
    return f"{exchange.question} {exchange.answer}"
