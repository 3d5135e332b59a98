"""Table ``people``: digits said by people never trained on, repeated and read off the codes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from tqdm import tqdm

from data_synth.joined import digit_sequences
from data_synth.people import digit_clips
from voiceglm.error_rate import plain, word_errors
from voiceglm.errors import AudioError, ConfigError
from voiceglm.evaluate import RATE, written_reply
from voiceglm.evaluation.clips import described, sound_of
from voiceglm.evaluation.codes import REFERENCE, Read, readers_of
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import (
    Figure,
    Row,
    Skipped,
    Table,
    error_figure,
    ratio,
    slug,
    without_errors,
)
from voiceglm.manifest import Utterance

NAME = "people"
SINGLE = "single digits, people never trained on"
IN_A_ROW = "digits in a row, people never trained on"
_LENGTH = 3


def measure(subject: Subject) -> Table:
    """Have digits repeated in a conversation of their own, one alone and three in a row.

    Raises:
        AudioError: If a recording of a row cannot be read.
        ConfigError: If the folder holds no digits.
        OutputError: If recordings or rows cannot be written.
    """
    figures: list[Figure] = []
    skipped: list[Skipped] = []
    sets = _sets(subject)
    if not sets:
        skipped.append(Skipped("digits", "none of people held out: give --digits"))
    readers, unreadable = readers_of(subject)
    for name, clips in sets.items():
        rows = [_row(subject, readers, clip) for clip in tqdm(clips, desc=name, unit="clip")]
        subject.keep(NAME, name, rows)
        figures += _figures(name, without_errors(rows, name, skipped), list(readers))
    return Table(
        name=NAME,
        title="Digits said by people",
        protocol=[
            "Repeated: the text of the reply is the digits that were said, all of them and nothing"
            " else, case and punctuation aside. Three in a row are recordings of one speaker with"
            " short silences between them. Read off the codes: errors are of words, a word a digit."
        ],
        figures=figures,
        skipped=[*skipped, *unreadable] if sets else skipped,
    )


def _sets(subject: Subject) -> dict[str, Sequence[Utterance]]:
    settings = subject.settings
    if settings.digits is None:
        return {}
    clips = digit_clips(settings.digits, held_out=True)
    if not clips:
        return {}
    single = subject.chosen(clips, settings.num_questions)
    seed = f"{IN_A_ROW}/{settings.seed}/{settings.num_questions}"
    folder = settings.output / "speech" / slug(seed)
    count = settings.num_questions
    rows = digit_sequences(folder, clips, num_lines=count, seed=seed, length=_LENGTH)
    answered = [replace(clip, extra={"answer": f"{clip.text}."}) for clip in single]
    return {SINGLE: answered, IN_A_ROW: rows}


def _row(subject: Subject, readers: dict[str, Read], clip: Utterance) -> Row:
    row = described(clip)
    try:
        samples = sound_of(clip, RATE)
        with torch.inference_mode():
            reply = written_reply(subject.open_chat(), samples, seed=subject.settings.seed)
        heard = {slug(name): read(samples) for name, read in readers.items()}
    except (AudioError, ConfigError) as error:
        return {**row, "error": str(error)}
    right = plain(reply) == plain(clip.extra["answer"])
    return {**row, **heard, "reply": reply, "right": right}


def _figures(name: str, rows: Sequence[Row], readers: Sequence[str]) -> Iterable[Figure]:
    yield ratio(name, "repeated rightly", [float(row["right"]) for row in rows])
    wrong = [word_errors([row], heard="reply") for row in rows]
    yield error_figure(name, "wrong words of the reply", wrong)
    for reader in readers:
        errors = [word_errors([row], heard=slug(reader)) for row in rows]
        yield error_figure(name, "wrong words", errors, system=reader)
        if reader != REFERENCE:
            whole = [float(not error.edits) for error in errors]
            yield ratio(name, "read without an error", whole, system=reader)
