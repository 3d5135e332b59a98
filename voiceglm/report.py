"""The figures of docs/nano.md, and what they must reach: ``voiceglm evaluate nano``."""

import json
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from data_synth.people import LANGUAGES, people
from decoder.voice import DEFAULT
from tokenizer.model import SpeechTokenizer
from voiceglm import evaluate
from voiceglm.chat import VoiceChat
from voiceglm.error_rate import character_errors, word_errors
from voiceglm.errors import CheckpointError
from voiceglm.evaluation.nano_world import held_out
from voiceglm.evaluation.subject import recognizer_folder
from voiceglm.files import write_file, write_json_lines
from voiceglm.manifest import Utterance, read_samples
from voiceglm.pretrained import load_chat


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is measured."""

    model: str
    run: Path
    output: Path
    num_questions: int
    num_readings: int
    recordings: tuple[Path, ...] = ()
    command: str = "voiceglm evaluate nano"
    device: str = "cpu"
    voice: str = DEFAULT
    voices: Path | None = None  # folder of the user's voices, where it is not the standard one


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str
    bar: str = ""  # what it must reach


@dataclass(frozen=True, kw_only=True)
class Report:
    """All lines, and where they come from."""

    figures: tuple[Figure, ...]
    by_skill: dict[str, float]
    date: str
    machine: str
    commit: str
    command: str


def measure(what: Measurement) -> Report:
    """Measure a model and keep the raw rows under ``what.output``.

    Raises:
        CheckpointError: If the model or the recognizer of the run is missing.
        ConfigError: If the run has no test recordings.
        OutputError: If the rows cannot be written.
    """
    chat = load_chat(what.model, device=what.device, voice=what.voice, voices=what.voices)
    recognizer = _recognizer(what.run)
    what.output.mkdir(parents=True, exist_ok=True)
    readings, questions = _test_sets(what, "readings", "questions")
    figures = [*_listening(what, chat, recognizer, readings, questions)]
    rows = evaluate.conversations(
        lambda: VoiceChat(chat.tokenizer, chat.model, chat.decoder),
        recognizer,
        questions[: what.num_questions],
    )
    _keep(what, "chat", rows)
    spoken = [row for row in rows if row["reply"]]
    figures += [
        Figure(what="right replies", value=evaluate.accuracy(rows), unit="%", bar="at least 92"),
        Figure(
            what="word error of the spoken reply against its own text",
            value=word_errors(spoken, "reply", "heard").percent,
            unit="%",
            bar="at most 15",
        ),
    ]
    figures += _speed(chat, questions[0])
    report = Report(
        figures=tuple(figures),
        by_skill=evaluate.accuracy_by_skill(rows),
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} thread",
        commit=commit(),
        command=what.command,
    )
    write_file(what.output / "summary.json", json.dumps(asdict(report), indent=1).encode())
    return report


def _listening(
    what: Measurement,
    chat: VoiceChat,
    recognizer: SpeechTokenizer,
    readings: list[Utterance],
    questions: list[Utterance],
) -> Iterable[Figure]:
    tokenizer = chat.tokenizer
    assert isinstance(tokenizer, SpeechTokenizer), "load_chat gives a SpeechTokenizer"
    readings = readings[: what.num_readings]
    readers = {
        "characters read off the codes by the tokenizer's own head": tokenizer,
        "characters read off the codes by the language model": evaluate.CodeReader(chat),
        "characters read by the independent recognizer, without codes": recognizer,
    }
    for number, (title, reader) in enumerate(readers.items()):
        rows = evaluate.transcripts(reader, readings, title=f"read {number + 1} of {len(readers)}")
        _keep(what, f"readings_{number + 1}", rows)
        bar = "at most 10" if number < 2 else ""
        error = character_errors(rows)
        yield Figure(what=f"wrong {title}", value=error.percent, unit="%", bar=bar)
    used = evaluate.codes_used(tokenizer, readings + questions)
    yield Figure(what="codebook in use", value=used, unit="%", bar="at least 60")
    for language in LANGUAGES:
        clips = people(what.recordings, held_out=True, languages=[language])
        if clips:
            rows = evaluate.transcripts(tokenizer, clips, title=f"people, {language}")
            _keep(what, f"people_{language}", rows)
            error = character_errors(rows, language=language)
            title = f"wrong characters, people never trained on, {language}"
            yield Figure(what=title, value=error.percent, unit="%")


def _speed(chat: VoiceChat, question: Utterance) -> Iterable[Figure]:
    times = evaluate.speed(chat, read_samples(question, evaluate.RATE))
    yield Figure(
        what="language model", value=times["language_model"], unit="ids/s", bar="at least 60"
    )
    yield Figure(
        what="decoder, real-time factor", value=times["decoder"], unit="", bar="at most 0.4"
    )
    yield Figure(
        what="whole reply, real-time factor", value=times["whole_reply"], unit="", bar="under 1"
    )


def _recognizer(run: Path) -> SpeechTokenizer:
    folder = recognizer_folder(run)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is missing: run voiceglm recipe nano --only speech --only recognizer"
        )
    return SpeechTokenizer.from_pretrained(folder)


def _test_sets(what: Measurement, *names: str) -> list[list[Utterance]]:
    """Return the held-out recordings of a run, set by set.

    Raises:
        CheckpointError: If a set is missing.
    """
    sets = []
    for name in names:
        found = held_out(what.run, name)
        if found is None:
            raise CheckpointError(f"{what.run} has no test {name}: see --run")
        sets.append(found)
    return sets


def _keep(what: Measurement, name: str, rows: Iterable[Any]) -> None:
    write_json_lines(what.output / f"{name}.jsonl", rows)


def commit() -> str:
    """Return the commit of the checkout that is worked in, if it is one."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def table(report: Report) -> str:
    """Return a report as Markdown."""
    lines = ["| what | measured | must reach |", "|---|---|---|"]
    lines += [
        f"| {figure.what} | {figure.value:.2f} {figure.unit} | {figure.bar} |".replace("  ", " ")
        for figure in report.figures
    ]
    lines += ["", "| skill | right replies, % |", "|---|---|"]
    lines += [f"| {skill} | {share:.1f} |" for skill, share in report.by_skill.items()]
    lines += ["", f"{report.date}, {report.machine}, commit {report.commit}, `{report.command}`."]
    return "\n".join(lines) + "\n"
