"""Spans have the lengths and the share that were asked for, keep their distance, lose nothing."""

import random
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_synth.spans import Segment, SpanConfig, choose_spans, segments, units
from voiceglm.errors import ConfigError

CONFIGS = st.builds(
    SpanConfig,
    mean_length=st.floats(0.5, 30),
    share=st.floats(0, 1),
    gap=st.integers(1, 4),
    max_length=st.integers(1, 60),
    seed=st.integers(0, 1_000),
)


@given(st.integers(0, 400), CONFIGS)
def test_spans_are_apart_and_inside(num_units: int, config: SpanConfig) -> None:
    found = choose_spans(num_units, config, random.Random(config.seed))
    for start, end in found:
        assert 0 <= start < end <= num_units
        assert end - start <= config.max_length
    assert all(b[0] - a[1] >= config.gap for a, b in pairwise(found))


@given(st.text(alphabet="ab 你好，。\n1\u3000😀é", max_size=300), CONFIGS)
def test_the_text_is_all_there(text: str, config: SpanConfig) -> None:
    found = segments(text, config)
    assert "".join(part.text for part in found) == text
    assert all(part.text for part in found)
    assert all(part.text == part.text.strip() for part in found if part.is_spoken)
    assert found == segments(text, config), "drawn again"


def test_share_and_lengths_are_those_of_the_paper() -> None:
    config = SpanConfig()
    rng = random.Random(1)
    spans = [choose_spans(n, config, rng) for n in (120, 300, 1_000) * 400]
    lengths = [end - start for found in spans for start, end in found]
    share = sum(lengths) / (400 * 1_420)
    assert share == pytest.approx(0.3, abs=0.005)
    assert statistics.mean(lengths) == pytest.approx(10, abs=0.3)
    assert statistics.variance(lengths) == pytest.approx(10, rel=0.1), "of a Poisson distribution"


def test_short_texts_have_their_share_too() -> None:
    rng = random.Random(2)
    spoken = [
        end - start for _ in range(20_000) for start, end in choose_spans(20, SpanConfig(), rng)
    ]
    assert sum(spoken) / (20_000 * 20) == pytest.approx(0.3, abs=0.02)


def test_every_unit_is_as_likely() -> None:
    rng, counts = random.Random(3), [0] * 60
    for _ in range(6_000):
        for start, end in choose_spans(60, SpanConfig(mean_length=4), rng):
            for place in range(start, end):
                counts[place] += 1
    middle = counts[10:50]
    assert max(middle) / min(middle) < 1.15


def test_chinese_counts_characters() -> None:
    text = "我有 3 apples，今天很好。"
    assert [text[a:b] for a, b in units(text)] == [
        *["我", "有", "3", "apples，", "今", "天", "很", "好。"]
    ]


def test_a_known_text_has_known_spans() -> None:
    """Whoever changes the sampler changes every corpus that is under way."""
    text = " ".join(f"w{n}" for n in range(40))
    spoken = [part.text for part in segments(text, SpanConfig()) if part.is_spoken]
    assert spoken == [
        "w12 w13 w14 w15 w16 w17 w18 w19",
        "w24 w25 w26 w27 w28 w29 w30 w31 w32 w33 w34 w35 w36 w37 w38 w39",
    ]
    assert segments("", SpanConfig()) == []
    assert segments("one", SpanConfig(share=0)) == [Segment("one", False)]


@pytest.mark.parametrize(
    "changes", [{"share": 1.1}, {"mean_length": 0}, {"gap": 0}, {"max_length": 0}]
)
def test_impossible_settings(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="spans"):
        SpanConfig(**changes)  # type: ignore[arg-type]
