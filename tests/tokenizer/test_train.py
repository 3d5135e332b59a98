"""Training: the loss falls, a stopped run goes on as if it had not stopped, batches fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import WhisperConfig, WhisperForConditionalGeneration

from tokenizer.asr import IGNORED, CtcRecognizer
from tokenizer.config import QuantizerConfig, RecognizerConfig, TokenizerConfig
from tokenizer.data import Collate, Disturbance, Example, SpeechDataset
from tokenizer.evaluate import read_recordings
from tokenizer.features import LogMel
from tokenizer.mixing import places_of
from tokenizer.model import SpeechTokenizer
from tokenizer.spec_augment import SpecAugmentConfig
from tokenizer.start import starting_settings
from tokenizer.train import TRANSCRIPTS, TokenizerTrainConfig, new_tokenizer, train_tokenizer
from voiceglm.augmentation import AugmentationConfig
from voiceglm.batches import Shared
from voiceglm.config import build
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, read_samples
from voiceglm.train_config import TrainConfig

DISTURBED = AugmentationConfig(speed_probability=0.0)


def rows(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "text_loss" in row]


def test_the_loss_falls(tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path) -> None:
    quantizer = QuantizerConfig(
        codebook_size=64, revive_below=0.1, commitment_weight=0.25, kmeans_init=True
    )
    train = TrainConfig(
        steps=40, batch_size=6, peak_lr=1e-2, warmup_steps=5, log_every=10, precision="float32"
    )
    config = TokenizerTrainConfig(
        model=replace(tiny, quantizer=quantizer), train=train, augmentation=None
    )
    tokenizer = train_tokenizer([spelled], config, tmp_path / "run")
    assert not tokenizer.training
    logged = rows(tmp_path / "run")
    assert logged[-1]["text_loss"] < 0.8 * logged[0]["text_loss"]
    assert all(1 <= row["perplexity"] <= 64 and row["commitment"] >= 0 for row in logged)


KINDS = {
    "ema": QuantizerConfig(codebook_size=64),
    "ema, revived and by k-means": QuantizerConfig(
        codebook_size=64, ema_decay=0.8, revive_below=0.5, kmeans_init=True
    ),
    "fsq": QuantizerConfig(kind="fsq", codebook_size=64, levels=(4, 4, 4)),
    "simvq": QuantizerConfig(kind="simvq", codebook_size=64),
}


@pytest.mark.parametrize("quantizer", KINDS.values(), ids=KINDS.keys())
def test_resuming_equals_never_having_stopped(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path, quantizer: QuantizerConfig
) -> None:
    train = TrainConfig(steps=5, batch_size=4, save_every=2, log_every=1, precision="float32")
    config = TokenizerTrainConfig(
        model=replace(tiny, quantizer=quantizer),
        train=train,
        augmentation=DISTURBED,
        spec_augment=SpecAugmentConfig(),
    )
    whole = train_tokenizer([spelled], config, tmp_path / "run")
    before = rows(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoint-5")
    assert (tmp_path / "run" / "checkpoint-4").is_dir()
    resumed = train_tokenizer([spelled], config, tmp_path / "run")
    after = rows(tmp_path / "run")[-1]
    assert {**after, "waited_share": 0} == {**before[-1], "waited_share": 0}
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


@pytest.fixture
def speller(tmp_path: Path) -> Path:
    """A text tokenizer of single letters."""
    letters = {letter: number for number, letter in enumerate("abcde ")}
    tokenizer = Tokenizer(WordLevel(letters, unk_token=" "))
    tokenizer.pre_tokenizer = Split(Regex("."), "isolated")  # type: ignore[assignment]
    tokenizer.decoder = Fuse()  # type: ignore[assignment]
    tokenizer.save(str(tmp_path / "letters.json"))
    return tmp_path / "letters.json"


@pytest.mark.parametrize("kind", ["attention", "joint"])
def test_attention_learns_and_is_stored_with_its_text_tokenizer(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path, speller: Path, kind: str
) -> None:
    recognizer = RecognizerConfig(
        kind=kind,  # type: ignore[arg-type]
        alphabet="abcde",
        num_layers=1,
        max_text_ids=16,
    )
    config = TokenizerTrainConfig(
        model=replace(tiny, recognizer=recognizer),
        train=TrainConfig(
            steps=40, batch_size=6, peak_lr=1e-2, warmup_steps=5, log_every=10, precision="float32"
        ),
        augmentation=None,
        text_tokenizer=speller,
    )
    config = replace(config, model=replace(config.model, quantizer=None))
    tokenizer = train_tokenizer([spelled], config, tmp_path / "run")
    logged = rows(tmp_path / "run")
    assert logged[-1]["text_loss"] < 0.8 * logged[0]["text_loss"]
    assert ("ctc_loss" in logged[0]) == (kind == "joint")
    stored = tokenizer.config.recognizer
    assert stored is not None
    assert (stored.vocab_size, stored.start_id, stored.end_id, stored.pad_id) == (9, 6, 7, 8)
    tokenizer.save(tmp_path / "model", dtype=torch.float32)
    loaded = SpeechTokenizer.from_pretrained(tmp_path / "model")
    samples = read_samples(spelled[0], 16_000)
    written = loaded.transcribe(samples, 16_000)
    assert written == tokenizer.transcribe(samples, 16_000)
    assert set(written) <= set("abcde ")


def whisper_folder(place: Path, speller: Path, vocab_size: int = 9) -> Path:
    config = WhisperConfig(
        vocab_size=vocab_size, num_mel_bins=20, encoder_layers=2, encoder_attention_heads=2,
        decoder_layers=1, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        d_model=16, max_source_positions=240, max_target_positions=16, pad_token_id=6,
        bos_token_id=6, eos_token_id=6, decoder_start_token_id=7,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(place)
    shutil.copy(speller, place / "tokenizer.json")
    return place


def test_training_starts_from_whisper(
    spelled: list[Utterance], tmp_path: Path, speller: Path
) -> None:
    """One step of nothing: the weights are Whisper's, its text tokenizer spells."""
    start = whisper_folder(tmp_path / "whisper", speller)
    settings = starting_settings(start) | {"quantizer": {"codebook_size": 16}}
    config = TokenizerTrainConfig(
        model=build(TokenizerConfig, settings),
        train=TrainConfig(steps=1, batch_size=4, peak_lr=1e-9, log_every=1, precision="float32"),
        start_from=str(start),
    )
    tokenizer = train_tokenizer([spelled], config, tmp_path / "run")
    stored = load_file(start / "model.safetensors")
    for name in ("layers.0.fc1.weight", "conv1.weight", "layer_norm.weight"):
        weight = tokenizer.encoder.get_parameter(name)
        torch.testing.assert_close(weight, stored[f"model.encoder.{name}"], rtol=0, atol=1e-6)
    assert tokenizer.recognizer is not None
    assert tokenizer.recognizer.targets("ab") == {"labels": [0, 1, 6]}
    ids = {"vocab_size": 5, "start_id": 1, "end_id": 1, "pad_id": 1}
    small = settings | {"recognizer": {"kind": "attention", **ids}}
    config = replace(config, model=build(TokenizerConfig, small))
    with pytest.raises(ConfigError, match=r"has 6 ids, the recognizer of .* only 5; set start_p"):
        new_tokenizer(config, ["ab"])


def test_an_alphabet_is_found_in_the_texts(tiny: TokenizerConfig, tmp_path: Path) -> None:
    def alphabet(**changed: Any) -> str:
        recognizer = RecognizerConfig(alphabet="auto")
        config = TokenizerTrainConfig(
            model=replace(tiny, recognizer=recognizer), train=TrainConfig(steps=1), **changed
        )
        built = new_tokenizer(config, ["你好，世界！", "It's Grün 7."]).recognizer
        assert isinstance(built, CtcRecognizer)
        return built.alphabet

    assert alphabet() == " '7ginrstü世你好界"
    (tmp_path / "letters.txt").write_text("你好\nAB\n", encoding="utf-8")
    assert alphabet(alphabet_file=tmp_path / "letters.txt") == "你好ab"
    with pytest.raises(ConfigError, match=r"cannot read the alphabet .*nowhere.txt"):
        alphabet(alphabet_file=tmp_path / "nowhere.txt")


def test_shares_and_weights_reach_the_batches(spelled: list[Utterance]) -> None:
    """One row in four is of the second list; a text written by a machine counts a fifth."""
    pseudo = [replace(one, extra={"text_source": "pseudo"}) for one in spelled[:2]]
    sources = [spelled, pseudo]
    places = places_of([[1] * 12, [1] * 2], [3, 1])
    dataset = SpeechDataset(sources, places, Disturbance(), pseudo_weight=0.2)
    assert len(dataset) == 14
    weights = [dataset.draw(index, torch.Generator()).weight for index in range(14)]
    assert sorted(weights) == [0.2] * 3 + [1.0] * 11  # of 3.5 and 10.5


def test_what_is_read_off_the_codes_is_written_down_now_and_then(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path
) -> None:
    train = TrainConfig(steps=4, batch_size=4, sample_every=2, precision="float32")
    config = TokenizerTrainConfig(model=tiny, train=train, augmentation=None)
    tokenizer = train_tokenizer([spelled], config, tmp_path)
    shown = {}
    for step in (2, 4):
        path = tmp_path / "samples" / f"step_{step}" / TRANSCRIPTS
        shown[step] = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["said"] for row in shown[2]] == [one.text for one in spelled[:4]]
    assert shown[4] == read_recordings(tokenizer, spelled[:4])


def example(num_samples: int, text: str, seed: int = 0, weight: float = 1.0) -> Example:
    generator = torch.Generator().manual_seed(seed)
    return Example(torch.randn(num_samples, generator=generator), text, weight, generator)


def collator(tiny: TokenizerConfig) -> Collate:
    recognizer = SpeechTokenizer(tiny).recognizer
    assert recognizer is not None
    return Collate(LogMel(tiny.features), recognizer, max_samples=9_600)


def test_joined_examples_fit_the_positions(tiny: TokenizerConfig) -> None:
    collate = collator(tiny)
    sizes = [3_000, 2_000, 4_000, 12_000, 1_500, 3_500]
    counts = set()
    for seed in range(30):
        shared = Shared(torch.Generator().manual_seed(seed), sizes)
        batch = collate([example(size, "ab", seed) for size in sizes], shared)
        assert batch["features"].shape[2] * 160 <= 9_600 + 1_280
        assert int(batch["mask"].sum(1).max()) * 160 <= 9_600
        counts.add(len(batch["labels"]))
        for row in batch["labels"]:
            spoken = row[row != IGNORED].tolist()
            assert spoken == ([1, 2, 6] * 6)[: len(spoken)]
            assert len(spoken) % 3 == 2, "whole texts, a space between them"
    assert counts == {6, 3, 2}, "one, two or four examples become one"


def test_what_does_not_fit_is_left_out_with_its_text(tiny: TokenizerConfig) -> None:
    joined = collator(tiny).join([example(5_000, "a"), example(5_000, "b"), example(100, "c")])
    assert len(joined.samples) == 5_000
    assert joined.text == "a"


def test_what_is_joined_counts_what_the_least_of_it_does(tiny: TokenizerConfig) -> None:
    group = [example(1_000, "a"), example(1_000, "b", weight=0.25)]
    assert collator(tiny).join(group).weight == 0.25


@pytest.mark.parametrize("text", [None, ""])
def test_nothing_to_learn_from_is_refused(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path, text: str | None
) -> None:
    config = TokenizerTrainConfig(model=tiny, train=TrainConfig(steps=1))
    with pytest.raises(ConfigError, match="no utterance of 1 has a text"):
        train_tokenizer([[replace(spelled[0], text=text)]], config, tmp_path / "run")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"recognizer": None}, "model.recognizer is null"),
        ({"recognizer": RecognizerConfig(alphabet="xyz")}, "knows none of the letters of 12 texts"),
        (
            {"recognizer": RecognizerConfig(kind="attention")},
            "needs a text tokenizer, and",
        ),
        ({"recognizer": RecognizerConfig(kind="joint")}, "set text_tokenizer to a tokenizer.json"),
    ],
)
def test_what_cannot_spell_is_refused(
    tiny: TokenizerConfig,
    spelled: list[Utterance],
    tmp_path: Path,
    changed: dict[str, Any],
    message: str,
) -> None:
    config = TokenizerTrainConfig(model=replace(tiny, **changed), train=TrainConfig(steps=1))
    with pytest.raises(ConfigError, match=message) as caught:
        train_tokenizer([spelled], config, tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_an_encoder_without_its_upper_half_is_refused(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path
) -> None:
    model = replace(tiny, encoder=replace(tiny.encoder, encoder_only=True))
    config = TokenizerTrainConfig(model=model, train=TrainConfig(steps=1))
    with pytest.raises(ConfigError, match="encoder_only is true: training needs the layers above"):
        train_tokenizer([spelled], config, tmp_path / "run")


def test_missing_recordings_are_noticed_before_training(
    tiny: TokenizerConfig, spelled: list[Utterance], tmp_path: Path
) -> None:
    spelled[3].recording.unlink()
    config = TokenizerTrainConfig(model=tiny, train=TrainConfig(steps=1))
    with pytest.raises(ConfigError, match=r"1 of 12 recordings are missing, the first .*3\.wav"):
        train_tokenizer([spelled], config, tmp_path / "run")


def test_sounds_without_augmentation_are_refused(tiny: TokenizerConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="noises and rooms need augmentation"):
        TokenizerTrainConfig(
            model=tiny, train=TrainConfig(steps=1), augmentation=None, noises=tmp_path
        )
