"""Table ``spoken-lm``: whether a model finds the right continuation likelier than the wrong one.

Settings, as the papers name them: S->S speech after speech, S->T text after speech, T->S speech
after text, T->T text after text (what its text half knows).

Letters used in shapes: L ids, V vocabulary.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from voiceglm.errors import AudioError, ConfigError
from voiceglm.evaluate import RATE
from voiceglm.evaluation.pairs import Pair, PairSet, Side, pair_sets
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Figure, Row, Skipped, Table, ratio, without_errors
from voiceglm.language_model import VoiceLM
from voiceglm.manifest import read_samples
from voiceglm.scripts import is_han

NAME = "spoken-lm"
SETTINGS = ("S->S", "S->T", "T->S", "T->T")


def measure(subject: Subject) -> Table:
    """Compare the likelihoods of every pair in every setting it has the sides for.

    Raises:
        ConfigError: If a list of pairs is damaged.
        OutputError: If rows cannot be written.
    """
    sets, skipped = pair_sets(subject)
    figures: list[Figure] = []
    model = subject.chat.model
    if not isinstance(model, VoiceLM):
        skipped = [Skipped("everything", "the language model is on a server: no likelihoods")]
        sets = []
    else:
        for pairs in sets:
            figures += _measure_set(subject, model, pairs, skipped)
    return Table(
        name=NAME,
        title="Speech language modelling by likelihood",
        protocol=[
            "A pair is right if the right side has the higher mean log-likelihood an id; a tie"
            " counts half; chance is 50 %. Pairs of one item in several voices are averaged first.",
            "S->S compares whole sequences, what comes before included, as published; the other"
            " settings compare the continuation given what comes before. Sequences are those of"
            " pre-training: no roles, no markers.",
        ],
        figures=figures,
        skipped=skipped,
    )


def _measure_set(
    subject: Subject, model: VoiceLM, pairs: PairSet, skipped: list[Skipped]
) -> Iterable[Figure]:
    for setting in SETTINGS:
        usable = [pair for pair in pairs.pairs if _has_sides(pair, setting)]
        if not usable:
            skipped.append(Skipped(f"{pairs.name}, {setting}", "it has no such sides"))
            continue
        rows = [
            _row(subject, model, pair, setting)
            for pair in tqdm(usable, desc=f"{pairs.name}, {setting}", unit="pair")
        ]
        subject.keep(NAME, f"{pairs.name} {setting}", rows)
        good = without_errors(rows, f"{pairs.name}, {setting}", skipped, what="pairs")
        yield from _figures(pairs, setting, good)


def _has_sides(pair: Pair, setting: str) -> bool:
    before, after = setting[0], setting[-1]
    if pair.before is None:  # whole sequences: one modality is all there is
        return before == after and all(_has(side, after) for side in (pair.right, pair.wrong))
    return _has(pair.before, before) and all(_has(s, after) for s in (pair.right, pair.wrong))


def _has(side: Side, modality: str) -> bool:
    return (side.audio if modality == "S" else side.text) is not None


def _row(subject: Subject, model: VoiceLM, pair: Pair, setting: str) -> Row:
    row: dict[str, Any] = {
        "id": pair.id,
        "setting": setting,
        "before": pair.before and pair.before.text,
        "right": pair.right.text,
        "wrong": pair.wrong.text,
    }
    try:
        for name, side in (("right", pair.right), ("wrong", pair.wrong)):
            given, scored = _ids(subject, model, pair.before, side, setting)
            likelihoods = log_likelihoods(model, given, scored)
            row[f"{name}_mean"] = round(float(likelihoods.mean()), 5)
            row[f"{name}_sum"] = round(float(likelihoods.sum()), 4)
    except (AudioError, ConfigError) as error:
        return {**row, "error": str(error)}
    return row


@torch.inference_mode()
def log_likelihoods(model: VoiceLM, given: Sequence[int], scored: Sequence[int]) -> Tensor:
    """Return the natural logarithm of the probability of each of ``scored`` after ``given``: (L,).

    Raises:
        ConfigError: If there is nothing to score, or both are longer than the model reads.
    """
    ids = [*given, *scored]
    if not given or not scored:
        raise ConfigError("a likelihood needs an id before and an id to score")
    if len(ids) > model.context_length:
        raise ConfigError(f"{len(ids)} ids, the model reads at most {model.context_length}")
    inputs = torch.tensor([ids], device=model.network.device)
    logits = model.network(inputs).logits[0, len(given) - 1 : -1].float()  # (L, V)
    found = logits.log_softmax(-1).gather(1, inputs[0, len(given) :, None])
    return found[:, 0].cpu()


def _ids(
    subject: Subject, model: VoiceLM, before: Side | None, side: Side, setting: str
) -> tuple[list[int], list[int]]:
    """Return the ids that are given, and those whose likelihood counts."""
    start = [model.vocabulary.gmask, model.vocabulary.sop]
    if before is None:
        whole = _speech(subject, model, side) if setting == "S->S" else _text(model, side)
        return start, whole
    if setting == "S->S":  # tokenized together, as one recording
        return start, _speech(subject, model, before, side)
    given = _speech(subject, model, before) if setting[0] == "S" else _text(model, before)
    if setting[-1] == "S":
        return [*start, *given], _speech(subject, model, side)
    return [*start, *given], model.encode_text(_continued(side.text or ""))


def _continued(text: str) -> str:
    """Write a text as it stands behind another: no blank is put before Chinese."""
    return text if is_han(text[:1]) else f" {text}"


def _speech(subject: Subject, model: VoiceLM, *sides: Side) -> list[int]:
    samples = [read_samples(side.audio, RATE) for side in sides if side.audio is not None]
    codes = subject.tokenizer.encode(torch.cat(samples), RATE)
    return model.writer.speech(codes)


def _text(model: VoiceLM, side: Side) -> list[int]:
    return model.encode_text(side.text or "")


def _figures(pairs: PairSet, setting: str, rows: Sequence[Row]) -> Iterable[Figure]:
    about = {"system": setting}
    yield _accuracy(pairs.name, "right one likelier", rows, "mean", column=pairs.column, **about)
    yield _accuracy(pairs.name, "right one likelier, by sums", rows, "sum", **about)


def _accuracy(set_: str, what: str, rows: Sequence[Row], by: str, **about: Any) -> Figure:
    of_item: dict[str, list[float]] = {}
    for row in rows:
        right, wrong = row[f"right_{by}"], row[f"wrong_{by}"]
        of_item.setdefault(row["id"], []).append(0.5 * (right == wrong) + (right > wrong))
    return ratio(set_, what, [sum(each) / len(each) for each in of_item.values()], **about)
