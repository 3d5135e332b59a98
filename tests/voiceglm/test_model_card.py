"""Pages about the bundled model: filled in, and speaking of the files that are there."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "voiceglm" / "assets" / "nano"
PAGES = ("README.md", "docs/model_card.md", "docs/nano.md", "docs/results.md")


@pytest.mark.parametrize("page", PAGES)
def test_no_place_is_left_to_fill(page: str) -> None:
    assert re.findall(r"\{[a-z_]+\}", (ROOT / page).read_text()) == []


@pytest.mark.parametrize("page", ["index.html", "decoder.html"])
def test_samples_can_be_played(page: str) -> None:
    folder = ROOT / "docs" / "samples"
    sounds = re.findall(r'<audio[^>]*src="([^"]+)"', (folder / page).read_text())
    assert len(sounds) >= 12
    assert [sound for sound in sounds if not (folder / sound).is_file()] == []


def test_the_card_gives_the_size_of_the_files() -> None:
    megabytes = sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file()) / 1e6
    said = re.search(
        r"`voiceglm/assets/nano/`, ([\d.]+) MB", (ROOT / "docs/model_card.md").read_text()
    )
    assert said is not None
    assert float(said[1]) == pytest.approx(megabytes, abs=0.1)
    assert megabytes <= 48


def test_results_are_those_of_the_page() -> None:
    results = json.loads((ROOT / "docs/results/nano/summary.json").read_text())
    page = (ROOT / "docs/nano.md").read_text()
    values = [bar["value"] for bar in results["bars"] if bar["value"] is not None]
    assert [value for value in values if f"| {value:.2f} " not in page] == []
