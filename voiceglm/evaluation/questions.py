"""Sets of spoken questions with their accepted answers, in the layouts they are published in.

OpenAudioBench (Baichuan, 2025)
    ``eval_datas/NAME/NAME.csv`` and ``audios/``: speech given. Columns ``audio_filename`` and
    ``Questions``, ``Answer`` (llama_questions); ``question``, ``answers`` (web_questions, answers
    split by ``;`` or ``,``); ``question``, ``answer_normalized_value``,
    ``answer_normalized_aliases`` (trivia_qa, split likewise).
WebQuestions (Berant et al. 2013)
    ``webquestions.examples.test.json``: ``utterance`` and ``targetValue``, a list in Lisp.
TriviaQA (Joshi et al. 2017)
    ``unfiltered-web-dev.json`` or ``web-dev.json``: ``Data``, each with ``Question`` and
    ``Answer``'s ``Value`` and ``Aliases``.

The last two are text: espeak-ng speaks them, and results depend on who speaks.
"""

import ast
import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_synth.intake import is_inside
from data_synth.speakable import speakable
from data_synth.world import Language
from voiceglm.errors import ConfigError, DependencyError
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.clips import absent
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Skipped, slug
from voiceglm.manifest import Utterance


@dataclass(frozen=True)
class Question:
    """A question and what counts as its answer."""

    text: str
    answers: Sequence[str]
    audio: Utterance | None = None  # None: nobody spoke it yet


@dataclass(frozen=True)
class QuestionSet:
    """Questions that are measured together."""

    name: str
    questions: Sequence[Question]
    column: str = ""  # of the published table
    spoken_by: str = "the set's own recordings"
    language: str = "en"


_BENCH = ("OpenAudioBench/eval_datas", "eval_datas")
_PUBLISHED = {  # name: (of OpenAudioBench, files of text alone)
    "Llama Questions": ("llama_questions", ()),
    "Web Questions": (
        "web_questions",
        ("webquestions.examples.test.json", "WebQuestions/webquestions.examples.test.json"),
    ),
    "TriviaQA": (
        "trivia_qa",
        (
            "unfiltered-web-dev.json",
            "triviaqa-unfiltered/unfiltered-web-dev.json",
            "triviaqa/unfiltered-web-dev.json",
            "triviaqa-rc/qa/web-dev.json",
        ),
    ),
}


def question_sets(subject: Subject) -> tuple[list[QuestionSet], list[Skipped]]:
    """Return every set that is there, a draw of each with its speech, and what is not.

    Raises:
        ConfigError: If a list of questions is damaged.
        DependencyError: If questions are to be spoken and the synthesizer is not installed.
        OutputError: If their recordings cannot be written.
    """
    sets, skipped = [], []
    for language, name in nano_world.QUESTIONS.items():
        try:
            sets.append(_of_the_world(nano_world.questions(subject, language), language))
        except DependencyError as error:
            skipped.append(Skipped(name, str(error)))
    data = subject.settings.data
    for name, (bench, texts) in _PUBLISHED.items():
        tables = tuple(f"{place}/{bench}/{bench}.csv" for place in _BENCH)
        found = _first_file(data, (*tables, *texts))
        if found is None:
            skipped.append(Skipped(name, absent(data, (*tables, *texts))))
            continue
        asked = subject.chosen(read_questions(found), subject.settings.num_questions)
        given = any(question.audio for question in asked)
        if not asked:
            skipped.append(Skipped(name, f"{found} holds no question that can be asked"))
        elif given:
            sets.append(QuestionSet(name, asked, name))
        else:
            spoken = speak_questions(subject, name, asked)
            sets.append(QuestionSet(name, spoken, name, "espeak-ng, held-out voices"))
    return sets, skipped


def _of_the_world(clips: Sequence[Utterance], language: Language) -> QuestionSet:
    world = [Question(clip.text or "", (clip.extra["answer"],), clip) for clip in clips]
    name = nano_world.QUESTIONS[language]
    return QuestionSet(name, world, spoken_by="espeak-ng", language=language)


def speak_questions(subject: Subject, name: str, asked: Sequence[Question]) -> list[Question]:
    """Have written questions spoken, each in a held-out voice that the seed decides.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If the recordings cannot be written.
    """
    lines = [
        nano_world.voiced(subject, speakable(question.text, "en"), f"{name}/{number}")
        for number, question in enumerate(asked)
    ]
    clips = nano_world.spoken(subject, slug(name), lines)
    return [Question(q.text, q.answers, clip) for q, clip in zip(asked, clips, strict=True)]


def read_questions(path: Path) -> Iterator[Question]:
    """Read a list of questions; those without an answer, or whose recording is missing, are left.

    Raises:
        ConfigError: If the file is not what its name says.
    """
    try:
        yield from _of_bench(path) if path.suffix == ".csv" else _of_json(path)
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise ConfigError(f"{path} is no list of questions as published: {error!r}") from None


def _of_bench(path: Path) -> Iterator[Question]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            text = row.get("Questions") or row.get("question") or ""
            answers = _answers_of_bench(row)
            name = row["audio_filename"]
            audio = path.parent / "audios" / name
            if text and answers and is_inside(name) and audio.is_file():
                yield Question(text, answers, Utterance(audio, text))


def _answers_of_bench(row: Mapping[str, str]) -> list[str]:
    if row.get("Answer"):
        return [row["Answer"]]
    if row.get("answers"):
        return _listed(row["answers"])
    value, aliases = row.get("answer_normalized_value"), row.get("answer_normalized_aliases")
    return [answer for answer in (value, *_listed(aliases or "")) if answer]


def _listed(cell: str) -> list[str]:
    """Read several answers in one cell: a Python list, or parted by ``;``, or by ``,``."""
    if cell.startswith("["):
        return [str(answer) for answer in ast.literal_eval(cell)]
    parts = cell.split(";" if ";" in cell else ",")
    return [part.strip() for part in parts if part.strip()]


def _of_json(path: Path) -> Iterator[Question]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(rows, list):  # WebQuestions
        for row in rows:
            yield Question(row["utterance"], described(row["targetValue"]))
        return
    for row in rows["Data"]:  # TriviaQA
        answer: Mapping[str, Any] = row["Answer"]
        answers = list(dict.fromkeys([answer["Value"], *answer.get("Aliases", [])]))
        yield Question(row["Question"], answers)


def described(target: str) -> list[str]:
    """Read WebQuestions' answers.

    >>> described('(list (description "Jazmyn Bieber") (description Vermont))')
    ['Jazmyn Bieber', 'Vermont']
    """
    found = re.findall(r'\(description (?:"((?:[^"\\]|\\.)*)"|([^()]*))\)', target)
    return [(quoted or bare).replace('\\"', '"').strip() for quoted, bare in found]


def _first_file(data: Path | None, names: Sequence[str]) -> Path | None:
    if data is None:
        return None
    return next((data / name for name in names if (data / name).is_file()), None)
