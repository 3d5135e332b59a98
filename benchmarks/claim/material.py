"""All that is written and spoken for a measurement, as text and codes; made once for all runs.

Every set is a file of JSON lines, whole or absent, so that a stopped run goes on behind the last.
"""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from benchmarks.claim.settings import Sizes
from benchmarks.claim.world import (
    PLACES,
    Ending,
    Fact,
    World,
    document,
    ending,
    story,
    story_sentence,
)
from data_synth.spans import SpanConfig, segments
from data_synth.tts import (
    ASSISTANT,
    SAMPLE_RATE,
    Espeak,
    Voice,
    held_out_voices,
    random_voice,
    training_voices,
)
from tokenizer.model import SpeechTokenizer
from voiceglm.files import write_json_lines

Row = dict[str, Any]
Draw = Callable[[World, int, random.Random], list[Row]]
"""Gives rows of text; every mapping with a ``voice`` in them gets the ``codes`` of its ``text``."""

_AT_ONCE = 64  # recordings that are made into codes together
_SPANS = SpanConfig(mean_length=4.0, share=0.5, gap=2)


@dataclass(frozen=True)
class Material:
    """Rows of every set.

    Attributes:
        texts: ``text``, about all places.
        documents: ``spans``, each with ``text`` and ``codes``; stories, and what may be heard.
        paired: ``kind`` (``asr`` or ``tts``), ``text``, ``codes``.
        questions: About facts that may be heard: ``text``, ``codes``, ``answer``.
        answers: ``text``, ``codes`` of every answer, in the voice of the assistant.
        asked: Questions of the test: ``text``, ``codes``, ``place``, ``relation``, ``value``,
            ``taught``.
        endings: ``before``, and with it ``right`` and ``wrong``, each ``text`` and ``codes``.
        names: ``place``, ``text``, ``codes``.
    """

    texts: Sequence[Row]
    documents: Sequence[Row]
    paired: Sequence[Row]
    questions: Sequence[Row]
    answers: Sequence[Row]
    asked: Sequence[Row]
    endings: Sequence[Row]
    names: Sequence[Row]


class Speaker:
    """Speaks rows with espeak-ng and keeps the codes alone.

    Args:
        tokenizer: Makes the codes.
    """

    def __init__(self, tokenizer: SpeechTokenizer):
        self._tokenizer = tokenizer
        self._engine: Espeak | None = None

    def speak(self, rows: Sequence[Row], title: str) -> None:
        """Give everything in the rows that has a ``voice`` its ``codes`` instead."""
        lines = [line for row in rows for line in spoken_parts(row)]
        for start in tqdm(range(0, len(lines), _AT_ONCE), desc=f"speak {title}", unit="batch"):
            batch = lines[start : start + _AT_ONCE]
            samples = [self._say(line["text"], line["voice"]) for line in batch]
            coded = self._tokenizer.encode_batch(samples, SAMPLE_RATE)
            for line, codes in zip(batch, coded, strict=True):
                del line["voice"]
                line["codes"] = codes

    def _say(self, text: str, voice: Voice) -> Tensor:
        self._engine = self._engine or Espeak()
        return self._engine.speak(text.strip(), voice)


def spoken_parts(row: Row) -> list[Row]:
    """Return what is spoken of a row: itself, its spans, or the parts of an ending."""
    if "spans" in row:
        return list(row["spans"])
    if "right" in row:
        return [row["before"], row["right"], row["wrong"]]
    return [row]


def make_material(
    folder: Path, world: World, seed: int, sizes: Sizes, speaker: Speaker
) -> Material:
    """Make every set that is not there yet, and return all.

    Args:
        folder: Where the sets are kept.
        world: What is true.
        seed: Of sentences and voices.
        sizes: How much of each.
        speaker: Speaks.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If a set cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def made(name: str, draw: Draw, count: int, *, aloud: bool = True) -> list[Row]:
        path = folder / f"{name}.jsonl"
        if not path.exists():
            rows = draw(world, count, random.Random(f"claim/{name}/{seed}"))
            if aloud:
                speaker.speak(rows, name)
            write_json_lines(path, rows)
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    return Material(
        texts=made("texts", _texts, sizes.texts, aloud=False),
        documents=[
            *made("stories", _stories, sizes.stories),
            *made("told", _told, sizes.told),
        ],
        paired=made("paired", _paired, sizes.paired),
        questions=made("questions", _questions, sizes.questions_per_fact),
        answers=made("answers", _answers, 1),
        asked=made("asked", _asked, sizes.asked),
        endings=made("endings", _endings, sizes.pairs),
        names=made("names", _names, sizes.names),
    )


def _texts(world: World, count: int, rng: random.Random) -> list[Row]:
    facts = [world.facts[PLACES[n % len(PLACES)]] for n in range(count)]
    return [{"text": document(known, rng)} for known in facts]


def _stories(world: World, count: int, rng: random.Random) -> list[Row]:
    del world
    return [_in_spans(story(rng), rng, n) for n in range(count)]


def _told(world: World, count: int, rng: random.Random) -> list[Row]:
    facts = [world.audible(PLACES[n % len(PLACES)]) for n in range(count)]
    return [_in_spans(document(known, rng), rng, n) for n, known in enumerate(facts)]


def _in_spans(text: str, rng: random.Random, number: int) -> Row:
    """Cut a document into spans of words, in one voice; a blank goes with what follows it."""
    voice = random_voice(rng, training_voices())
    found = [segment.text.strip() for segment in segments(text, replace(_SPANS, seed=number))]
    return {
        "spans": [
            {"text": piece if n == 0 else f" {piece}", "voice": voice}
            for n, piece in enumerate(found)
        ]
    }


def _paired(world: World, count: int, rng: random.Random) -> list[Row]:
    rows = []
    for number in range(count):
        place = PLACES[number // 8 % len(PLACES)]
        if number % 2:
            fact = rng.choice(world.audible(place))
            text = fact.said(rng, named=rng.random() < 0.7)
        else:
            text = story_sentence(place, rng)
        kind = ("asr", "asr", "asr", "tts")[number // 2 % 4]
        voice = random_voice(rng, training_voices()) if kind == "asr" else ASSISTANT
        rows.append({"kind": kind, "text": text, "voice": voice})
    return rows


def _questions(world: World, count: int, rng: random.Random) -> list[Row]:
    return [
        {
            "text": fact.questions()[n % len(fact.questions())],
            "answer": fact.answer,
            "voice": random_voice(rng, training_voices()),
        }
        for place in PLACES
        for fact in world.audible(place)
        for n in range(count)
    ]


def _answers(world: World, count: int, rng: random.Random) -> list[Row]:
    del count, rng
    answers = sorted({fact.answer for facts in world.facts.values() for fact in facts})
    return [{"text": answer, "voice": ASSISTANT} for answer in answers]


def _asked(world: World, count: int, rng: random.Random) -> list[Row]:
    return [
        {
            "text": rng.choice(fact.questions()),
            "voice": random_voice(rng, held_out_voices()),
            "place": fact.place,
            "relation": fact.relation,
            "value": fact.value,
            "taught": taught,
        }
        for places, number, taught in (
            (world.only_read, count, False),
            (world.taught, count // 2, True),
        )
        for fact in _some(world.tested_facts(places), number, rng)
    ]


def _endings(world: World, count: int, rng: random.Random) -> list[Row]:
    facts = _some(world.tested_facts(world.only_read), count, rng)
    return [_ending_row(ending(fact, rng), random_voice(rng, held_out_voices())) for fact in facts]


def _ending_row(pair: Ending, voice: Voice) -> Row:
    texts = {"before": pair.before, "right": pair.right, "wrong": pair.wrong}
    return {name: {"text": text, "voice": voice} for name, text in texts.items()}


def _names(world: World, count: int, rng: random.Random) -> list[Row]:
    places = sorted(world.only_read)
    return [
        {
            "place": places[n % len(places)],
            "text": story_sentence(places[n % len(places)], rng),
            "voice": random_voice(rng, held_out_voices()),
        }
        for n in range(count)
    ]


def _some(facts: Sequence[Fact], count: int, rng: random.Random) -> list[Fact]:
    return rng.sample(facts, min(count, len(facts)))


def heard_texts(material: Material) -> Iterable[str]:
    """Yield the text of everything whose speech is trained on, whole documents at a time."""
    yield from ("".join(span["text"] for span in row["spans"]) for row in material.documents)
    yield from (row["text"] for row in (*material.paired, *material.questions, *material.answers))
