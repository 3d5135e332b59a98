"""Orders: scored whole as the benchmark does, read out of free replies, mixed with its noise."""

import json
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from data_synth.people import order_clips
from tests.voiceglm.evaluation.tiny import figure, reasons, record, rows, scripted
from voiceglm.errors import AudioError, ConfigError
from voiceglm.evaluation.intent import RATIOS_DB, measure, mix
from voiceglm.evaluation.orders import (
    ORDER,
    Order,
    is_understood,
    read_order,
    read_orders,
    vocabulary,
)
from voiceglm.evaluation.published import published
from voiceglm.manifest import Utterance, write_manifest

LABEL = Order(ORDER, {"coffeeDrink": "iced coffee", "milkAmount": " soy milk"})


@pytest.mark.parametrize(
    ("heard", "understood"),
    [
        (Order(ORDER, {"coffeeDrink": "iced coffee", "milkAmount": "soy milk "}), True),
        (Order(ORDER, {**LABEL.slots, "size": "large"}), True),  # more than asked for
        (Order(ORDER, {"coffeeDrink": "iced coffee"}), False),  # a slot is missing
        (Order(ORDER, {"coffeeDrink": "coffee", "milkAmount": "soy milk"}), False),
        (Order(ORDER, {"coffeeDrink": "Iced Coffee", "milkAmount": "soy milk"}), False),
        (Order("cancel", LABEL.slots), False),
        (None, False),
    ],
)
def test_an_order_counts_whole(heard: Order | None, understood: bool) -> None:
    assert is_understood(LABEL, heard) is understood


KNOWN = vocabulary(
    [
        LABEL,
        Order(ORDER, {"coffeeDrink": "coffee", "milkAmount": "milk", "size": "twelve ounce"}),
        Order(ORDER, {"coffeeDrink": "latte", "sugarAmount": "some brown sugar"}),
        Order(ORDER, {"coffeeDrink": "mocha", "sugarAmount": "brown sugar"}),
    ]
)


@pytest.mark.parametrize(
    ("reply", "slots"),
    [
        (
            "One twelve-ounce iced coffee with soy milk.",
            {"coffeeDrink": "iced coffee", "milkAmount": "soy milk", "size": "twelve ounce"},
        ),
        ("A Coffee, with milk!", {"coffeeDrink": "coffee", "milkAmount": "milk"}),
        (
            "A latte with some brown sugar.",
            {"coffeeDrink": "latte", "sugarAmount": "some brown sugar"},
        ),
        ("A latte. Or a mocha?", {"coffeeDrink": "latte"}),  # the first counts
        ("A coffeehouse latte.", {"coffeeDrink": "latte"}),  # whole words
        ("Milk and brown sugar, please.", None),  # no drink, no order
        ("", None),
    ],
)
def test_an_order_is_read_out_of_a_reply(reply: str, slots: dict[str, str] | None) -> None:
    found = read_order(reply, KNOWN)
    assert (found and found.slots) == slots


def benchmark(folder: Path, labels: dict[str, dict[str, str]]) -> Path:
    """Write the benchmark's folder: a label more than recordings, and kitchen noise."""
    (folder / "data" / "label").mkdir(parents=True)
    rows_ = {name: {"intent": ORDER, "slots": slots} for name, slots in labels.items()}
    rows_["nobody.wav"] = {"intent": ORDER, "slots": {"coffeeDrink": "tea"}}
    (folder / "data" / "label" / "label.json").write_text(json.dumps(rows_))
    for number, name in enumerate(labels):
        record(folder / "data" / "speech" / "clean" / name, 0.5 + 0.1 * number)
    record(folder / "data" / "noise" / "kitchen.wav", 3.0, 90.0)
    return folder


ORDERS = {
    "a.wav": {"coffeeDrink": "latte", "milkAmount": " soy milk"},
    "b.wav": {"coffeeDrink": "mocha"},
}


def test_the_benchmark_is_read_as_published(tmp_path: Path) -> None:
    found = read_orders(benchmark(tmp_path, ORDERS))
    assert [order.audio.recording.name for order in found] == ["a.wav", "b.wav"]
    assert found[0].label == Order(ORDER, {"coffeeDrink": "latte", "milkAmount": "soy milk"})
    (tmp_path / "data" / "label" / "label.json").write_text('{"a.wav": {"slots": {}}}')
    with pytest.raises(ConfigError, match="no list of labelled orders"):
        read_orders(tmp_path)


def test_a_manifest_with_labels_is_read_too(tmp_path: Path) -> None:
    extra = {"intent": ORDER, "slots": {"coffeeDrink": " mocha"}}
    clips = [
        Utterance(record(tmp_path / "a.wav"), None, extra=extra),
        Utterance(record(tmp_path / "b.wav"), "not an order"),
    ]
    write_manifest(tmp_path / "m.jsonl", clips)
    (order,) = read_orders(tmp_path / "m.jsonl")
    assert order.label == Order(ORDER, {"coffeeDrink": "mocha"})
    write_manifest(tmp_path / "n.jsonl", [Utterance(tmp_path / "a.wav", None, extra={"slots": 3})])
    with pytest.raises(ConfigError, match="label lacks"):
        read_orders(tmp_path / "n.jsonl")
    write_manifest(tmp_path / "o.jsonl", clips[1:])
    with pytest.raises(ConfigError, match="holds no orders"):
        read_orders(tmp_path / "o.jsonl")


def loudest(samples: Tensor) -> float:
    frames = samples[: len(samples) // 2_048 * 2_048].view(-1, 2_048)
    return float(frames.square().sum(1).max())


@pytest.mark.parametrize("ratio_db", [6, 24])
def test_noise_is_mixed_by_the_loudest_frames(ratio_db: int) -> None:
    generator = torch.Generator().manual_seed(0)
    speech = torch.cat([0.01 * torch.randn(8_192, generator=generator), torch.ones(2_048)])
    noise = 0.3 * torch.randn(30_000, generator=generator)
    mixed = mix(speech, noise, ratio_db, random.Random(1))
    assert float(mixed.abs().max()) == pytest.approx(0.5)
    start = random.Random(1).randrange(len(noise) - len(speech) + 1)
    piece = noise[start : start + len(speech)]
    design = torch.stack([speech, piece], dim=1)
    speech_gain, noise_gain = torch.linalg.lstsq(design, mixed).solution.tolist()
    found = loudest(speech_gain * speech) / loudest(noise_gain * piece)
    assert found == pytest.approx(10 ** (ratio_db / 10), rel=1e-3)


def test_short_noise_is_refused() -> None:
    with pytest.raises(AudioError, match="shorter than speech"):
        mix(torch.ones(10), torch.ones(9), 6, random.Random(0))


def test_every_condition_is_asked_and_scored(tmp_path: Path) -> None:
    benchmark(tmp_path / "data" / "barista", ORDERS)

    def answer(samples: Tensor) -> str:  # a.wav is the shorter one; noise makes it lose its milk
        is_noisy = float(samples.abs().max()) == pytest.approx(0.5, abs=1e-4)
        first = "A latte." if is_noisy else "A latte with soy milk."
        return first if len(samples) < 0.55 * 16_000 else "One mocha."

    asked = scripted(tmp_path, answer, data=tmp_path / "data")
    table = measure(asked)
    assert figure(table, "orders understood", "clean").value == 100.0
    assert figure(table, "orders understood", "kitchen, 6 dB").value == 50.0
    assert figure(table, "orders understood", "kitchen, mean").column == "kitchen"
    assert "give --noise" in reasons(table)["cafe noise"]
    kept = rows(tmp_path / "intent" / "orders.jsonl")
    assert len(kept) == 2 * (1 + len(RATIOS_DB))
    assert kept[0]["understood"] == {"coffeeDrink": "latte", "milkAmount": "soy milk"}


def test_orders_that_were_trained_on_are_left_out_wherever_they_lie(tmp_path: Path) -> None:
    """In the benchmark's folder, too, where they have another format; each is asked once."""
    labels = {f"{number}.wav": ORDERS["a.wav"] for number in range(12)}
    benchmark(tmp_path / "data" / "barista", labels)
    clips = [
        Utterance(
            record(tmp_path / f"{number}.flac"), None, extra={"intent": ORDER, "slots": slots}
        )
        for number, slots in enumerate(list(labels.values())[:10])
    ]
    manifest = tmp_path / "m.jsonl"
    write_manifest(manifest, clips)
    trained = {clip.recording.stem for clip in order_clips([manifest], held_out=False)}
    assert 0 < len(trained) < 10
    asked = scripted(
        tmp_path, lambda _: "", data=tmp_path / "data", recordings=(manifest,), num_questions=99
    )
    table = measure(asked)
    assert figure(table, "orders understood", "clean").count == 12 - len(trained)
    assert reasons(table)[f"{len(trained)} orders"] == "they may have been trained on"
    kept = {Path(row["recording"]).stem for row in rows(tmp_path / "intent" / "orders.jsonl")}
    assert not kept & trained


def test_every_ratio_stands_beside_what_was_published(tmp_path: Path) -> None:
    benchmark(tmp_path / "data" / "barista", ORDERS)
    table = measure(scripted(tmp_path, lambda _: "One mocha.", data=tmp_path / "data"))
    found = published("intent")
    assert found
    ours = {each.column for each in table.figures if each.column}
    assert ours == {name for name in found.columns if "clean" in name or "kitchen" in name}
    assert len(ours) == 2 + len(RATIOS_DB)
    for values in found.rows.values():
        ratios = [values[found.columns.index(f"kitchen {db} dB")] for db in RATIOS_DB]
        mean = values[found.columns.index("kitchen")]
        assert sum(ratios) / len(ratios) == pytest.approx(mean, abs=0.6), "rounded to percents"


def test_without_orders_the_table_says_so(tmp_path: Path) -> None:
    table = measure(scripted(tmp_path, lambda samples: ""))
    assert table.figures == []
    assert reasons(table) == {"speech-to-intent": "no --data folder was given"}
