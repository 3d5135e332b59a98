"""Several lists in a fixed ratio: exact in every pass, and all of each list is drawn."""

from collections import Counter

import pytest
import torch

from tokenizer.mixing import places_of
from voiceglm.errors import ConfigError


def test_without_weights_every_recording_comes_once() -> None:
    places = places_of([[5, 1, 3], [9, 2]])
    generator = torch.Generator()
    before = generator.get_state()
    assert [(place.source, place.draw(generator)) for place in places] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
    ]
    assert torch.equal(generator.get_state(), before), "there is nothing to draw"


@pytest.mark.parametrize(
    ("sizes", "weights", "expected"),
    [
        ((100, 300), (1, 1), (200, 200)),
        ((40, 360), (3, 1), (300, 100)),
        ((10, 10, 10), (1, 1, 1), (10, 10, 10)),
        ((5, 2), (2, 1), (5, 2)),  # 4.67 and 2.33
        ((1, 999), (0.25, 0.75), (250, 750)),
        ((7, 7, 7), (5, 1, 1), (15, 3, 3)),
    ],
)
def test_shares_are_exact_in_every_pass(
    sizes: tuple[int, ...], weights: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    places = places_of([range(size) for size in sizes], weights)
    assert len(places) == sum(sizes)
    found = Counter(place.source for place in places)
    assert tuple(found[source] for source in range(len(sizes))) == expected


@pytest.mark.parametrize(("size", "other"), [(100, 20), (20, 100), (97, 13)])
def test_a_list_is_used_evenly(size: int, other: int) -> None:
    """With fewer places than recordings any may be drawn, with more none is left out."""
    generator = torch.Generator().manual_seed(0)
    places = places_of([range(size), range(other)], [1, 1])
    counts = Counter(
        place.draw(generator) for _ in range(400) for place in places if place.source == 0
    )
    assert len(counts) == size
    assert max(counts.values()) <= 2.4 * min(counts.values())


def test_a_place_stands_for_recordings_of_about_equal_length() -> None:
    lengths = [(37 * number) % 100 for number in range(100)]
    places = places_of([lengths, [1] * 20], [1, 4])
    for place in places:
        if place.source == 0:
            own = [lengths[item] for item in place.items]
            assert max(own) - min(own) < 8


@pytest.mark.parametrize(
    ("sizes", "weights", "message"),
    [
        ((3, 3), (1, 0), r"manifests\[1\].weight must be positive, got 0"),
        ((0, 3), (1, 1), r"manifests\[0\] has a weight, but nothing to train on"),
    ],
)
def test_a_share_of_nothing_is_refused(
    sizes: tuple[int, ...], weights: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        places_of([range(size) for size in sizes], weights)
