"""What is not good enough is told by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_synth.filters import FilterConfig, fault, repeats
from voiceglm.errors import ConfigError
from voiceglm.scripts import script

GOOD = [n * 7 % 101 for n in range(20)]


@pytest.mark.parametrize(
    ("codes", "ended", "reason"),
    [
        (GOOD, True, None),
        (GOOD, False, "no end"),
        ([], True, "silent"),
        (GOOD[:3], True, "too short"),
        (GOOD * 4, True, "too long"),
        (GOOD[:4] + [5] * 13, True, "loop"),
        (GOOD[:4] + [5] * 12, True, None),
    ],
)
def test_faults(codes: list[int], ended: bool, reason: str | None) -> None:
    assert fault("twelve letters", codes, ended=ended, config=FilterConfig()) == reason


@given(st.lists(st.integers(0, 3), max_size=40))
def test_repeats_are_counted(codes: list[int]) -> None:
    def slowly() -> int:
        most = 1 if codes else 0
        for start in range(len(codes)):
            for size in range(1, 9):
                group = codes[start : start + size]
                count = 1
                while codes[start + count * size : start + (count + 1) * size] == group:
                    count += 1
                most = max(most, count)
        return most

    assert repeats(codes) == slowly()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello there", "en"),
        ("你好，今天", "zh"),
        ("我用 Python 写程序", "zh"),
        ("The word 好 means good", "en"),
        ("Привет, мир", "other"),
        ("café naïve", "en"),
        ("123 !?", None),
        ("", None),
    ],
)
def test_scripts(text: str, language: str | None) -> None:
    assert script(text) == language


@pytest.mark.parametrize(
    "changes",
    [
        {"min_codes_per_letter": 3.0},
        {"max_repeats": 0},
        {"attempts": 0},
        {"checked_share": 1.5},
        {"max_error": -1},
    ],
)
def test_impossible_settings(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="filters"):
        FilterConfig(**changes)  # type: ignore[arg-type]
