"""Written documents of the nano world: what an interleaved corpus can be made of offline."""

import json
import random
from collections.abc import Iterator

from data_synth.world import sample_exchange, sample_sentence

PARAGRAPHS = (1, 6)
SENTENCES = (3, 9)  # of a paragraph


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
