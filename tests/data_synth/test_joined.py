"""Digits in a row say what their text says, babble is of many voices, noises of both kinds."""

from pathlib import Path

import pytest
import torch

from data_synth.joined import RATE, babble, digit_sequences, write_noises
from voiceglm.audio import save_audio
from voiceglm.errors import AudioError, ConfigError
from voiceglm.manifest import Utterance, read_manifest, read_samples

WORDS = ("zero", "one", "two")
DIGIT = 1_600  # samples


@pytest.fixture
def clips(tmp_path: Path) -> list[Utterance]:
    """Two speakers, whose digits are levels of their own: 0.1 to 0.3, and 0.4 to 0.6."""
    found = []
    for place, who in enumerate(("ann", "bob")):
        for number, word in enumerate(WORDS):
            path = tmp_path / f"{number}_{who}_0.wav"
            save_audio(path, torch.full((DIGIT,), 0.1 * (3 * place + number + 1)), RATE)
            found.append(Utterance(path, word, speaker=who))
    return found


@pytest.fixture
def talkers(tmp_path: Path) -> list[Utterance]:
    """Six tones."""
    found = []
    for number in range(6):
        path = tmp_path / f"tone_{number}.wav"
        wave = 2 * torch.pi * _hertz(number) * torch.arange(DIGIT) / RATE
        save_audio(path, 0.4 * torch.sin(wave), RATE)
        found.append(Utterance(path, "hum"))
    return found


def _hertz(number: int) -> int:
    return 200 + 400 * number


def levels(samples: torch.Tensor) -> list[int]:
    """Say which levels follow one another, in tenths, silence between them left out."""
    found = (10 * samples).round().int().unique_consecutive()
    return found[found > 0].tolist()


def test_sequences_say_their_text_in_one_voice(tmp_path: Path, clips: list[Utterance]) -> None:
    made = digit_sequences(tmp_path / "set", clips, num_lines=40, seed="a")
    assert made == read_manifest(tmp_path / "set" / "manifest.jsonl")
    lengths, speakers = set(), set()
    for one in made:
        said = (one.text or "").split(", ")
        heard = levels(read_samples(one, RATE))
        assert heard == [WORDS.index(word) + 1 + 3 * (one.speaker == "bob") for word in said]
        assert one.extra["answer"] == f"{said[0].capitalize()}{(one.text or '')[len(said[0]) :]}."
        lengths.add(len(said))
        speakers.add(one.speaker)
    assert lengths == {1, 2, 3, 4, 5}
    assert speakers == {"ann", "bob"}


def test_a_seed_makes_the_same_sequences(tmp_path: Path, clips: list[Utterance]) -> None:
    def said(folder: str, seed: str) -> list[str | None]:
        made = digit_sequences(tmp_path / folder, clips, num_lines=20, seed=seed, length=3)
        return [one.text for one in made]

    assert said("one", "a") == said("again", "a") != said("other", "b")
    assert {text.count(",") for text in said("one", "a") if text} == {2}


def test_babble_has_many_voices_at_once(tmp_path: Path, talkers: list[Utterance]) -> None:
    made = babble(tmp_path / "babble", talkers, num_clips=3, seed="a")
    assert len(made) == 3
    for one in made:
        samples = read_samples(one, RATE)
        assert len(samples) == 10 * RATE
        assert float(samples.abs().max()) == pytest.approx(0.5, abs=1e-3)
        middle = torch.fft.rfft(samples[RATE : RATE + DIGIT], RATE).abs()
        heard = [float(middle[_hertz(number)]) for number in range(6)]
        assert sum(level > 0.1 * max(heard) for level in heard) >= 2, "at the same time"


def test_given_noise_is_half_of_the_noises(tmp_path: Path, clips: list[Utterance]) -> None:
    place = tmp_path / "given"
    place.mkdir()
    save_audio(place / "kitchen.wav", torch.rand(25 * 8_000) - 0.5, 8_000)
    noises = read_manifest(write_noises(tmp_path / "people", clips, place))
    given = [one for one in noises if one.recording.name == "kitchen.wav"]
    assert len(noises) == 2 * len(given) == 120
    assert {(one.start, one.num_samples) for one in given} == {(0, 80_000), (80_000, 120_000)}
    bare = read_manifest(write_noises(tmp_path / "people", clips, None))
    assert len(bare) == 60


def test_noise_that_cannot_be_read_is_named(tmp_path: Path, clips: list[Utterance]) -> None:
    place = tmp_path / "given"
    place.mkdir()
    with pytest.raises(ConfigError, match="given holds no recordings"):
        write_noises(tmp_path / "people", clips, place)
    (place / "kitchen.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"cannot read .*kitchen\.wav"):
        write_noises(tmp_path / "people", clips, place)
