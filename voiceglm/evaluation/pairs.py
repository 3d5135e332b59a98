"""Pairs of which a model should find the right one likelier, in the layouts they are published in.

StoryCloze (Hassid et al. 2023; with texts as SIMS reads it, Maimon et al. 2025)
    ``N_correct.wav`` and ``N_incorrect.wav``: the whole story with its ending. With
    ``N_mutual.wav`` they hold the ending alone; ``.txt`` beside each is what is said.
ZeroSpeech 2021 (Nguyen et al. 2020)
    ``lexical/dev`` (sWUGGY) and ``syntactic/dev`` (sBLIMP): recordings and ``gold.csv``, in which
    two rows of one ``id`` and ``voice`` (``type``, ``subtype``) are a pair, ``correct`` 1 and 0.
"""

import csv
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from data_synth.ending_pairs import Kind, sample_pair
from data_synth.intake import is_inside
from data_synth.world import LANGUAGES, Language
from voiceglm.errors import ConfigError, DependencyError
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.clips import absent, find_folder
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Skipped
from voiceglm.manifest import Utterance


@dataclass(frozen=True)
class Side:
    """One of the things that may be said, spoken or written or both."""

    audio: Utterance | None = None
    text: str | None = None


@dataclass(frozen=True)
class Pair:
    """A right and a wrong one, and what comes before both."""

    id: str  # pairs of one id are one item, spoken by several voices
    right: Side
    wrong: Side
    before: Side | None = None  # None: the sides are whole


@dataclass(frozen=True)
class PairSet:
    """Pairs that are measured together."""

    name: str
    pairs: Sequence[Pair]
    column: str = ""  # of the published table


_STORIES = {
    "StoryCloze": ("sSC", "spoken_storycloze", "StoryCloze"),
    "Topic-StoryCloze": ("tSC", "topic_storycloze", "tStoryCloze"),
}
_GOLD = {
    "sWUGGY": ("lexical/dev", "zerospeech2021/lexical/dev", "sLM21-dataset/lexical/dev"),
    "sBLIMP": ("syntactic/dev", "zerospeech2021/syntactic/dev", "sLM21-dataset/syntactic/dev"),
}
_WORLD: Mapping[Kind, str] = {
    "fact": "nano world, another fact,",
    "topic": "nano world, another topic,",
}


def pair_sets(subject: Subject) -> tuple[list[PairSet], list[Skipped]]:
    """Return every set that is there, a draw of each, and what is not.

    Raises:
        ConfigError: If a ``gold.csv`` is not one.
        OutputError: If its recordings cannot be written.
    """
    data = subject.settings.data
    sets, skipped = [], []
    for (kind, start), language in product(_WORLD.items(), LANGUAGES):
        name = f"{start} {language}"
        try:
            sets.append(PairSet(name, nano_pairs(subject, kind, language)))
        except DependencyError as error:
            skipped.append(Skipped(name, str(error)))
    for names, read, is_story in ((_STORIES, read_stories, True), (_GOLD, read_gold, False)):
        for name, folders in names.items():
            folder = find_folder(data, folders)
            if folder is None:
                skipped.append(Skipped(name, absent(data, folders)))
                continue
            pairs = _draw(subject, read(folder))
            if pairs:
                sets.append(PairSet(name, pairs, name if is_story else ""))
            else:
                skipped.append(Skipped(name, f"{folder} holds no pair"))
    return sets, skipped


def nano_pairs(subject: Subject, kind: Kind, language: Language = "en") -> list[Pair]:
    """Return pairs of the nano world: a spoken question, and two answers in one other voice.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If the recordings cannot be written.
    """
    settings = subject.settings
    rng = random.Random(f"pairs/{kind}/{language}/{settings.seed}")
    drawn = [sample_pair(rng, kind, language=language) for _ in range(settings.num_pairs)]
    lines = []
    for number, pair in enumerate(drawn):
        name = f"{kind}/{number}"
        asking = nano_world.voiced(subject, pair.question, f"{name}/question", language)
        answering = nano_world.voiced(subject, pair.right, f"{name}/answer", language)
        lines += [asking, answering, replace(answering, text=pair.wrong)]
    clips = nano_world.spoken(subject, f"pairs_{kind}_{language}", lines)
    sides = [Side(clip, clip.text) for clip in clips]
    return [
        Pair(str(number), right, wrong, before)
        for number, (before, right, wrong) in enumerate(
            zip(sides[::3], sides[1::3], sides[2::3], strict=True)
        )
    ]


def read_stories(folder: Path) -> Iterator[Pair]:
    """Read StoryCloze in the order of its numbers; without its other ending a story is left out."""
    stems = (path.name.removesuffix("_correct.wav") for path in folder.rglob("*_correct.wav"))
    for stem in sorted(set(stems), key=_by_number):
        right, wrong = (_side(folder, stem, end) for end in ("correct", "incorrect"))
        before = _side(folder, stem, "mutual")
        if right and wrong:
            yield Pair(stem, right, wrong, before)


def read_gold(folder: Path) -> Iterator[Pair]:
    """Read ``lexical`` or ``syntactic`` of ZeroSpeech 2021; rows without their other are left out.

    Raises:
        ConfigError: If there is no ``gold.csv``, or it lacks a column.
    """
    halves: dict[tuple[str, ...], dict[str, Side]] = {}
    for row in _gold_rows(folder / "gold.csv"):
        key = tuple(row.get(name) or "" for name in ("type", "subtype", "id", "voice"))
        name = row["filename"].removesuffix(".wav")
        path = folder / f"{name}.wav"
        if is_inside(name) and path.is_file():
            text = row.get("transcription") or row.get("word") or None
            halves.setdefault(key, {})[row["correct"]] = Side(Utterance(path, text), text)
    for key, sides in halves.items():
        if {"0", "1"} <= sides.keys():
            yield Pair("/".join(filter(None, key[:3])), sides["1"], sides["0"])


def _gold_rows(path: Path) -> Iterable[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    missing = {"id", "filename", "voice", "correct"} - set(rows[0] if rows else ())
    if rows and missing:
        raise ConfigError(f"{path} lacks the column {sorted(missing)[0]!r} of ZeroSpeech 2021")
    return rows


def _draw(subject: Subject, pairs: Iterable[Pair]) -> list[Pair]:
    """Draw whole items: every voice of as many ids as were asked for."""
    pairs = list(pairs)
    ids = set(subject.chosen(dict.fromkeys(p.id for p in pairs), subject.settings.num_pairs))
    return [pair for pair in pairs if pair.id in ids]


def _side(folder: Path, stem: str, end: str) -> Side | None:
    """Return a recording and its text; nothing if there is no recording."""
    path = next(folder.rglob(f"{stem}_{end}.wav"), None)
    if path is None:
        return None
    beside = path.with_suffix(".txt")
    text = beside.read_text(encoding="utf-8", errors="replace").strip() if beside.is_file() else ""
    return Side(Utterance(path, text or None), text or None)


def _by_number(stem: str) -> tuple[int, str]:
    number = stem.partition("_")[0]
    return (int(number) if number.isdigit() else 0, stem)
