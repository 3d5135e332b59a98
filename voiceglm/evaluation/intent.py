"""Table ``intent``: coffee orders understood, clean and in noise, scored as the benchmark does."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from data_synth.people import order_clips
from voiceglm.audio import load_audio
from voiceglm.errors import AudioError, ConfigError
from voiceglm.evaluate import RATE, written_reply
from voiceglm.evaluation.clips import absent, find_folder
from voiceglm.evaluation.orders import (
    SpokenOrder,
    Vocabulary,
    is_understood,
    read_order,
    read_orders,
    vocabulary,
)
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Figure, Row, Skipped, Table, ratio, without_errors
from voiceglm.manifest import read_manifest, read_samples

NAME = "intent"
RATIOS_DB = (6, 9, 12, 15, 18, 21, 24)
"""Of speech to noise, those of the benchmark."""

_FOLDERS = ("speech-to-intent-benchmark", "picovoice_speech_to_intent", "barista")
_NOISES = ("cafe", "kitchen")
_FRAME = 2_048  # samples, 128 ms


@dataclass(frozen=True)
class Condition:
    """What an order is heard in; by default in silence."""

    name: str = "clean"
    noise: Tensor | None = None  # (num_samples,) at RATE
    ratio_db: int | None = None


def measure(subject: Subject) -> Table:
    """Have every order heard, clean and at every ratio of every noise that is there.

    Raises:
        AudioError: If a noise cannot be read.
        ConfigError: If labels are damaged.
        OutputError: If rows cannot be written.
    """
    listed, skipped = _orders(subject)
    known = vocabulary(order.label for order in listed)
    trained = _trained(subject)
    orders = [order for order in listed if order.audio.recording.stem not in trained]
    left_out = len(listed) - len(orders)
    if left_out:
        skipped.append(Skipped(f"{left_out} orders", "they may have been trained on"))
    figures: list[Figure] = []
    if orders:
        noises = {path.stem.removeprefix("picovoice_"): path for path in _noises(subject)}
        orders = subject.chosen(orders, subject.settings.num_questions)
        skipped += [
            Skipped(f"{name} noise", "its recording is not there: give --noise")
            for name in _NOISES
            if name not in noises
        ]
        rows = list(_rows(subject, orders, known, noises))
        subject.keep(NAME, "orders", rows)
        good = without_errors(rows, "orders", skipped)
        figures += _figures(good)
    return Table(
        name=NAME,
        title="Orders understood",
        protocol=[
            "Understood: the intent and every slot of the label are right in the reply's text, in"
            " which the assistant repeats the order; read with the values of the labels, which the"
            " published engines are given too. No part of an order counts for itself.",
            "Ratios are the benchmark's own: of the loudest 2,048 samples of speech and of noise,"
            " not of mean powers. The published figures are on all 619 orders; of ours those that"
            " --recordings lists for training are left out, wherever they lie, and some of their"
            " speakers, whom nobody named, may have been heard. The kitchen noise may have been"
            " trained with.",
        ],
        figures=figures,
        skipped=skipped,
    )


def mix(speech: Tensor, noise: Tensor, ratio_db: float, rng: random.Random) -> Tensor:
    """Add noise from a random place on, as the benchmark does: (num_samples,) -> the same.

    Args:
        speech: (num_samples,).
        noise: As long or longer.
        ratio_db: Of the largest energies of a frame.
        rng: Draws the place.

    Returns:
        The mixture with a peak of one half.

    Raises:
        AudioError: If the noise is shorter than the speech.
    """
    if len(noise) < len(speech):
        raise AudioError(f"noise of {len(noise)} samples is shorter than speech of {len(speech)}")
    start = rng.randrange(len(noise) - len(speech) + 1)
    piece = noise[start : start + len(speech)]
    scale = (_loudest(speech) / (_loudest(piece) * 10 ** (ratio_db / 10))).sqrt()
    mixed = speech + scale * piece
    return mixed / (2 * mixed.abs().max().clamp_min(1e-12))


def _loudest(samples: Tensor) -> Tensor:
    """Return the largest energy of a whole frame; of everything if there is no whole frame."""
    whole = samples[: len(samples) // _FRAME * _FRAME] if len(samples) >= _FRAME else samples
    size = min(_FRAME, len(whole))
    return whole.double().view(-1, size).square().sum(1).max().clamp_min(1e-12)


def _orders(subject: Subject) -> tuple[list[SpokenOrder], list[Skipped]]:
    """Return the orders of the data folder and of manifests, each once, and what is not there."""
    settings = subject.settings
    folder = find_folder(settings.data, _FOLDERS)
    sources = [] if folder is None else [folder]
    sources += [path for path in (*settings.manifests, *settings.recordings) if _has_orders(path)]
    if not sources:
        return [], [Skipped("speech-to-intent", absent(settings.data, _FOLDERS))]
    found: dict[str, SpokenOrder] = {}
    for order in (order for source in sources for order in read_orders(source)):
        found.setdefault(order.audio.recording.stem, order)
    return list(found.values()), []


def _trained(subject: Subject) -> set[str]:
    """Return the names of the orders that may have been trained on, without their formats."""
    clips = order_clips(subject.settings.recordings, held_out=False)
    return {clip.recording.stem for clip in clips}


def _has_orders(manifest: Path) -> bool:
    return any("slots" in clip.extra for clip in read_manifest(manifest))


def _noises(subject: Subject) -> list[Path]:
    folder = find_folder(subject.settings.data, _FOLDERS)
    own = [] if folder is None else sorted((folder / "data/noise").glob("*.wav"))
    return [*own, *subject.settings.noises]


def _rows(
    subject: Subject,
    orders: Sequence[SpokenOrder],
    known: Vocabulary,
    noises: dict[str, Path],
) -> Iterable[Row]:
    loaded = {name: load_audio(path, RATE) for name, path in noises.items()}
    for order in tqdm(orders, desc="orders", unit="order"):
        yield _row(subject, order, known, Condition())
        for name, noise in loaded.items():
            for ratio_db in RATIOS_DB:
                yield _row(subject, order, known, Condition(name, noise, ratio_db))


def _row(subject: Subject, order: SpokenOrder, known: Vocabulary, condition: Condition) -> Row:
    recording, name, ratio_db = order.audio.recording.name, condition.name, condition.ratio_db
    row: dict[str, Any] = {"recording": recording, "noise": name, "ratio_db": ratio_db}
    row["label"] = dict(order.label.slots)
    try:
        samples = read_samples(order.audio, RATE)
        if condition.noise is not None and ratio_db is not None:
            place = f"{subject.settings.seed}/{recording}/{name}/{ratio_db}"
            samples = mix(samples, condition.noise, ratio_db, random.Random(place))
        return row | _answered(subject, order, samples, known)
    except (AudioError, ConfigError) as error:
        return row | {"error": str(error)}


def _answered(
    subject: Subject, order: SpokenOrder, samples: Tensor, known: Vocabulary
) -> dict[str, Any]:
    with torch.inference_mode():
        reply = written_reply(subject.open_chat(), samples, seed=subject.settings.seed)
    heard = read_order(reply, known)
    return {
        "reply": reply,
        "understood": None if heard is None else dict(heard.slots),
        "right": is_understood(order.label, heard),
    }


def _figures(rows: Sequence[Row]) -> Iterable[Figure]:
    clean = [float(row["right"]) for row in rows if row["noise"] == "clean"]
    yield ratio("clean", "orders understood", clean, column="clean")
    noisy = [row for row in rows if row["noise"] != "clean"]
    names = list(dict.fromkeys(row["noise"] for row in noisy))
    for name in names:
        of_noise = [row for row in noisy if row["noise"] == name]
        for db in RATIOS_DB:
            right = [float(row["right"]) for row in of_noise if row["ratio_db"] == db]
            column = f"{name} {db} dB" if name in _NOISES else ""
            yield ratio(f"{name}, {db} dB", "orders understood", right, column=column)
        column = name if name in _NOISES else ""
        yield ratio(f"{name}, mean", "orders understood", _of_orders(of_noise), column=column)
    if set(names) >= set(_NOISES):
        both = _of_orders([row for row in noisy if row["noise"] in _NOISES])
        yield ratio("both noises", "orders understood", both, column="mean of both noises")


def _of_orders(rows: Iterable[Row]) -> list[float]:
    """Return how often each order was understood, a share: its trials hang together."""
    trials: dict[str, list[float]] = {}
    for row in rows:
        trials.setdefault(row["recording"], []).append(float(row["right"]))
    return [sum(each) / len(each) for each in trials.values()]
