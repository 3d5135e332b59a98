"""Codes of a set: the same whatever is encoded beside them, noise as asked and repeatable."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import data_synth.codes
from data_synth.codes import encode_set, unhurried
from tokenizer.config import EncoderConfig, FeatureConfig, QuantizerConfig, TokenizerConfig
from tokenizer.model import SpeechTokenizer
from voiceglm.audio import save_audio
from voiceglm.augmentation import AugmentationConfig, Sounds
from voiceglm.errors import AudioError
from voiceglm.manifest import Utterance, read_manifest

RATE = 16_000
SOMETIMES = AugmentationConfig(
    speed_probability=0.0, room_probability=0.0, noise_probability=0.5, min_peak=1.0
)
CONFIG = TokenizerConfig(
    features=FeatureConfig(num_mel_bins=20, fixed_floor=-5.0),
    encoder=EncoderConfig(
        width=16,
        num_heads=2,
        feedforward_width=16,
        num_layers=1,
        max_frames=256,
        pool_after=1,
        quantize_after=1,
        block_frames=40,
    ),
    quantizer=QuantizerConfig(codebook_size=64),
)


@pytest.fixture(scope="module")
def tokenizer() -> SpeechTokenizer:
    """Random, its codebook made of what it says about noise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = SpeechTokenizer(CONFIG).eval()
    noise = torch.randn(64 * 1_280, generator=torch.Generator().manual_seed(0))
    swell = torch.linspace(0.01, 0.5, 64).repeat_interleave(1_280)
    features = tokenizer.features([noise * swell])
    quantizer = tokenizer.encoder.quantizer
    assert quantizer is not None
    with torch.no_grad():
        quantizer.codebook.copy_(tokenizer.encoder(features.values, features.mask).pooled[0])
    return tokenizer


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    """Nine recordings of different length: tones that rise."""
    found = []
    for number in range(9):
        seconds = 0.3 + 0.17 * ((5 * number) % 9)
        time = torch.arange(int(seconds * RATE)) / RATE
        hertz = 200 * (number + 1) * (1 + time)
        path = tmp_path / f"{number}.wav"
        samples = 0.3 * torch.sin(2 * torch.pi * (hertz / RATE).cumsum(0))
        save_audio(path, samples, RATE)
        extra = {"answer": f"Answer {number}."}
        found.append(Utterance(path, f"q {number}", num_samples=len(samples), extra=extra))
    return found


def codes(path: Path) -> list[list[int]]:
    return [utterance.extra["codes"] for utterance in read_manifest(path)]


def test_every_utterance_keeps_what_is_known_of_it(
    tokenizer: SpeechTokenizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    encode_set(tokenizer, utterances, tmp_path / "new" / "m.jsonl")
    found = read_manifest(tmp_path / "new" / "m.jsonl")
    for before, after in zip(utterances, found, strict=True):
        assert (after.text, after.num_samples) == (before.text, before.num_samples)
        assert after.extra["answer"] == before.extra["answer"]
        assert len(after.extra["codes"]) == -(-(before.num_samples or 0) // 1_280)
        assert after.recording.samefile(before.recording)
    assert len({code for row in codes(tmp_path / "new" / "m.jsonl") for code in row}) > 8


@pytest.mark.parametrize("augmentation", [None, SOMETIMES])
def test_codes_do_not_depend_on_the_batch(
    tokenizer: SpeechTokenizer,
    utterances: list[Utterance],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    augmentation: AugmentationConfig | None,
) -> None:
    found = []
    for size in (1, 2, 4, 32):
        monkeypatch.setattr(data_synth.codes, "_BATCH", size)
        path = tmp_path / f"{size}.jsonl"
        encode_set(tokenizer, utterances, path, augmentation=augmentation, seed=3)
        found.append(codes(path))
    assert found[0] == found[1] == found[2] == found[3]


def test_a_disturbance_is_a_recordings_own_and_always_the_same(
    tokenizer: SpeechTokenizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    def run(name: str, config: AugmentationConfig | None, seed: int = 1) -> list[list[int]]:
        encode_set(tokenizer, utterances, tmp_path / name, augmentation=config, seed=seed)
        return codes(tmp_path / name)

    clean, noisy, again = run("a", None), run("b", SOMETIMES), run("c", SOMETIMES)
    assert noisy == again
    assert noisy != run("d", SOMETIMES, seed=7)
    disturbed = [n for n in range(len(utterances)) if noisy[n] != clean[n]]
    assert 0 < len(disturbed) < len(utterances)
    encode_set(tokenizer, utterances[:4], tmp_path / "e", augmentation=SOMETIMES, seed=1)
    assert codes(tmp_path / "e") == noisy[:4], "whatever is encoded beside it"


def test_recordings_are_disturbed_with_the_sounds_given(
    tokenizer: SpeechTokenizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    save_audio(tmp_path / "noise.wav", torch.rand(RATE) - 0.5, RATE)
    sounds = Sounds(noises=[Utterance(tmp_path / "noise.wav", None)])
    always = replace(SOMETIMES, noise_probability=1.0)
    for name, given in (("a", None), ("b", sounds)):
        encode_set(tokenizer, utterances, tmp_path / name, augmentation=always, sounds=given)
    assert codes(tmp_path / "a") != codes(tmp_path / "b")


def test_a_finished_set_is_kept(
    tokenizer: SpeechTokenizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    path = tmp_path / "m.jsonl"
    encode_set(tokenizer, utterances[:1], path)
    before = path.read_bytes()
    encode_set(tokenizer, utterances, path)
    assert path.read_bytes() == before


def test_nothing_is_written_if_a_recording_is_missing(
    tokenizer: SpeechTokenizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    utterances[4].recording.unlink()
    with pytest.raises(AudioError, match=r"cannot read .*4\.wav"):
        encode_set(tokenizer, utterances, tmp_path / "m.jsonl")
    assert not (tmp_path / "m.jsonl").exists()


def test_written_turns_stay_as_they_are(
    tokenizer: SpeechTokenizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    written = Utterance(None, "Be brief.", role="system", dialogue="a", turn=0)
    encode_set(tokenizer, [written, *utterances], tmp_path / "m.jsonl")
    first, *others = read_manifest(tmp_path / "m.jsonl")
    assert first == written
    assert all(other.extra["codes"] for other in others)


def test_what_is_said_too_soon_ends_in_silence(
    tokenizer: SpeechTokenizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    """14 text ids stand behind 26 codes; no recording here has as many."""
    encode_set(tokenizer, utterances, tmp_path / "m.jsonl")
    spoken = read_manifest(tmp_path / "m.jsonl")
    short, long = spoken[:4], spoken[4:]
    ids = {one.text or "": 13 if one in short else 14 for one in spoken}
    found = unhurried(tokenizer, spoken, ids.__getitem__)
    assert found[:4] == short
    for before, after in zip(long, found[4:], strict=True):
        assert len(before.extra["codes"]) < len(after.extra["codes"]) == 26
        assert replace(after, extra=before.extra) == before
    assert len({tuple(one.extra["codes"]) for one in found}) == len(found)
