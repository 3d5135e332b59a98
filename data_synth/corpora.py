"""Readers of well-known corpora of short recordings: each gives its utterances, one by one.

What a reader cannot use it leaves to its :class:`Intake` to count. Lists are read in their own
order, folders in sorted order, so the same files give the same manifest.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from data_synth.intake import Intake, find_recording, is_inside, recordings
from data_synth.lhotse_cuts import read_cut
from data_synth.sources import BLANK, count_rows, json_rows
from voiceglm.lines import Line
from voiceglm.manifest import Utterance
from voiceglm.scripts import HAN, WIDE

LHOTSE = (".jsonl", ".jsonl.gz")
"""Ends of Lhotse's lists of cuts."""

_BLANK_BESIDE_CHINESE = re.compile(rf"(?<=[{HAN}{WIDE}])\s+|\s+(?=[{HAN}{WIDE}])")


def read_ljspeech(source: Path, intake: Intake) -> Iterator[Utterance]:
    """Read ``metadata.csv`` (``id|raw|normalized``) and ``wavs/``: one speaker.

    The normalized text is taken, because it is what is said; the raw one where there is no other.
    """
    speaker = source.resolve().name
    for line in intake.lines(source / "metadata.csv"):
        where = intake.place(source / "metadata.csv", line.number)
        name, *texts = line.text.split("|")
        if not texts:
            intake.reject("no transcript: expected id|raw|normalized", where)
        elif not is_inside(name):
            intake.reject("name leads out of the corpus", where)
        else:
            text = next((t for t in reversed(texts[:2]) if t.strip()), "")
            path = find_recording(source / "wavs", name)
            yield from intake.clip(path, text, where, speaker=speaker)


def read_librispeech(source: Path, intake: Intake) -> Iterator[Utterance]:
    """Read ``speaker/chapter/*.flac`` with one ``*.trans.txt`` (``id TEXT``) a chapter.

    Any folder above the chapters will do, a speaker's or that of all parts.
    """
    for folder, names in intake.folders(source):
        unwritten = {Path(name).stem: name for name in recordings(names)}
        for name in (name for name in names if name.endswith(".trans.txt")):
            yield from _chapter(folder / name, unwritten, intake)
        for name in unwritten.values():
            intake.reject("recording without a transcript", intake.place(folder / name))


def read_common_voice(source: Path, intake: Intake) -> Iterator[Utterance]:
    """Read Common Voice: a ``.tsv`` whose columns are found by name, and ``clips/``.

    ``source`` may be one ``.tsv``. Of a folder ``validated.tsv`` is read if there is one, else
    ``train.tsv``, ``dev.tsv`` and ``test.tsv``, which are parts of it.
    """
    for table in [source] if source.is_file() else common_voice_tables(source):
        columns: dict[str, int] = {}
        for line in intake.lines(table):
            cells = line.text.split("\t")
            if columns:
                yield from _common_voice_row(table, line, columns, intake)
                continue
            columns = {name.strip(): number for number, name in enumerate(cells)}
            missing = [name for name in ("path", "sentence") if name not in columns]
            if missing:
                intake.reject(f"table without the column {missing[0]}", intake.place(table))
                break


def common_voice_tables(source: Path) -> list[Path]:
    """Return the tables of a Common Voice folder that are read."""
    whole = source / "validated.tsv"
    parts = [source / f"{name}.tsv" for name in ("train", "dev", "test")]
    return [whole] if whole.is_file() else [part for part in parts if part.is_file()]


def read_aishell(source: Path, intake: Intake) -> Iterator[Utterance]:
    """Read AISHELL-1: ``transcript/aishell_transcript_*.txt`` and ``wav/train/S0002/*.wav``.

    Blanks between Chinese words, which only its segmentation put there, are removed. ``source`` may
    be the folder above ``data_aishell``.
    """
    root = _aishell_root(source)
    texts: dict[str, tuple[str, str]] = {}  # of each recording: its text, and where that stands
    for path in aishell_lists(source):
        for line in intake.lines(path):
            name, text = _name_and_text(line)
            texts[name] = _BLANK_BESIDE_CHINESE.sub("", text), intake.place(path, line.number)
    for folder, names in intake.folders(root / "wav"):
        for name in recordings(names):
            path = folder / name
            if path.stem not in texts:
                intake.reject("recording without a transcript", intake.place(path))
                continue
            text, where = texts.pop(path.stem)
            part = path.relative_to(root / "wav").parts[0]
            about = {"speaker": folder.name, "language": "zh", "extra": {"part": part}}
            yield from intake.clip(path, text, where, **about)
    for name, (_, where) in texts.items():
        intake.reject("recording is missing", f"{where} ({name})")


def aishell_lists(source: Path) -> list[Path]:
    """Return the transcripts of an AISHELL folder."""
    return sorted((_aishell_root(source) / "transcript").glob("aishell_transcript*.txt"))


def read_folder(source: Path, intake: Intake) -> Iterator[Utterance]:
    """Read any folder of recordings; ``x.txt`` beside ``x.wav`` is what is said, if it is there."""
    for folder, names in intake.folders(source):
        for name in recordings(names):
            path = folder / name
            beside = path.with_suffix(".txt")
            if beside.name not in names:
                yield from intake.clip(path, None, intake.place(path))
                continue
            if (text := intake.text(beside)) is not None:
                yield from intake.clip(path, text, intake.place(beside))


def read_lhotse(source: Path, intake: Intake) -> Iterator[Utterance]:
    """Read Lhotse's cuts whose recordings are files: one list, or all lists of a folder."""
    for path in lhotse_lists(source):
        for number, row in json_rows(path, 0, count_rows(path, 1 << 30)[0]):
            if row == BLANK:
                continue
            where = intake.place(path, number + 1)
            found = row if isinstance(row, str) else read_cut(row, path.parent)
            if isinstance(found, str):
                intake.reject(found, where)
            elif intake.accepts_text(found.text, where):
                yield found


def lhotse_lists(source: Path) -> list[Path]:
    """Return the lists of cuts in a folder, or the one that is named."""
    if source.is_file():
        return [source]
    return sorted(path for path in source.glob("*cuts*") if path.name.endswith(LHOTSE))


def _aishell_root(source: Path) -> Path:
    return source / "data_aishell" if (source / "data_aishell").is_dir() else source


def _name_and_text(line: Line) -> tuple[str, str]:
    name, *rest = line.text.split(maxsplit=1)
    return name, rest[0] if rest else ""


def _chapter(transcript: Path, unwritten: dict[str, str], intake: Intake) -> Iterator[Utterance]:
    """Read one chapter of LibriSpeech and strike its recordings off those without a transcript."""
    for line in intake.lines(transcript):
        stem, text = _name_and_text(line)
        where = intake.place(transcript, line.number)
        name = unwritten.pop(stem, f"{stem}.flac")
        if is_inside(name):
            path = transcript.parent / name
            yield from intake.clip(path, text, where, speaker=stem.partition("-")[0])
        else:
            intake.reject("name leads out of the corpus", where)


def _common_voice_row(
    table: Path, line: Line, columns: dict[str, int], intake: Intake
) -> Iterator[Utterance]:
    where = intake.place(table, line.number)
    cells = line.text.split("\t")
    row = {name: cells[n].strip() for name, n in columns.items() if n < len(cells)}
    if not (row.get("path") and "sentence" in row):
        intake.reject("row without a path or a sentence", where)
    elif not is_inside(row["path"]):
        intake.reject("name leads out of the corpus", where)
    else:
        locale = row.get("locale", "")
        known = {name: row[name] for name in ("gender", "age", "accents") if row.get(name)}
        about = {"language": locale.partition("-")[0] or "en", "speaker": row.get("client_id", "")}
        extra = {**known, **({"locale": locale} if "-" in locale else {})}
        path = find_recording(table.parent / "clips", row["path"])
        yield from intake.clip(path, _unquoted(row["sentence"]), where, **about, extra=extra)


def _unquoted(sentence: str) -> str:
    """Undo the quoting of those releases that were written as CSV: ``"He said ""no""."``."""
    inner = sentence[1:-1]
    quoted = len(sentence) > 1 and sentence[0] == sentence[-1] == '"'
    return inner.replace('""', '"') if quoted and '"' not in inner.replace('""', "") else sentence
