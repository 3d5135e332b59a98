"""A folder to a conversation, if its parts fit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from decoder.config import EncoderConfig as CodeEncoderConfig
from decoder.config import EstimatorConfig, FlowConfig, VocoderConfig
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.vocoder import HiFTGenerator
from tokenizer.config import (
    EncoderConfig,
    FeatureConfig,
    QuantizerConfig,
    RecognizerConfig,
    TokenizerConfig,
)
from tokenizer.model import SpeechTokenizer
from voiceglm.errors import CheckpointError
from voiceglm.events import TurnEnd
from voiceglm.language_model import LanguageModelConfig, Sampling, VoiceLM
from voiceglm.pretrained import load_chat
from voiceglm.prompt import PromptFormat
from voiceglm.text_tokenizer import train_text_tokenizer

PARTS = ("tokenizer", "language_model", "decoder")


def save_tokenizer(folder: Path, num_codes: int) -> None:
    encoder = EncoderConfig(
        width=8,
        num_heads=2,
        feedforward_width=8,
        num_layers=1,
        max_frames=200,
        pool_after=1,
        quantize_after=1,
    )
    config = TokenizerConfig(
        features=FeatureConfig(num_mel_bins=8, fixed_floor=-5.0),
        encoder=encoder,
        quantizer=QuantizerConfig(codebook_size=num_codes),
        recognizer=RecognizerConfig(),
    )
    SpeechTokenizer(config).save(folder / "tokenizer", replace=True)


def save_language_model(folder: Path, num_codes: int) -> None:
    config = LanguageModelConfig(
        hidden_size=16, num_layers=1, num_heads=2, num_key_value_heads=1, intermediate_size=16
    )
    text = train_text_tokenizer([*PromptFormat().texts()] * 5, 280)
    VoiceLM.new(config, text, num_codes=num_codes).save(folder / "language_model", replace=True)


def save_decoder(folder: Path, num_codes: int) -> None:
    flow = FlowConfig(
        num_codes=num_codes,
        encoder=CodeEncoderConfig(dim=8, num_heads=2, hidden_dim=8, num_layers=1),
        estimator=EstimatorConfig(
            channels=(16,), num_blocks=1, num_mid_blocks=0, num_heads=1, head_dim=4
        ),
        num_steps=1,
    )
    vocoder = VocoderConfig(base_channels=8, f0_channels=4, f0_num_layers=1)
    shutil.rmtree(folder / "decoder", ignore_errors=True)
    SpeechDecoder(FlowModel(flow), HiFTGenerator(vocoder)).save(folder / "decoder")


SAVE: dict[str, Callable[[Path, int], None]] = dict(
    zip(PARTS, (save_tokenizer, save_language_model, save_decoder), strict=True)
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for save in SAVE.values():
            save(folder, 24)
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def test_a_model_becomes_a_conversation(model: Path) -> None:
    chat = load_chat(model)
    assert isinstance(chat.tokenizer, SpeechTokenizer)
    assert isinstance(chat.decoder, SpeechDecoder)
    codes = {chat.tokenizer.num_codes, chat.model.vocabulary.num_codes, chat.decoder.num_codes}
    assert codes == {24}
    assert not chat.tokenizer.training
    assert not chat.decoder.training
    noise = torch.randn(8_000, generator=torch.Generator().manual_seed(0))
    events = list(chat.reply(noise, sampling=Sampling(temperature=0.0, max_new_ids=5)))
    assert isinstance(events[-1], TurnEnd)
    assert load_chat(str(model)).history == ()


@pytest.mark.parametrize("part", PARTS)
def test_another_codebook_is_refused(model: Path, part: str) -> None:
    SAVE[part](model, 32)
    counts = {name: 32 if name == part else 24 for name in PARTS}
    message = (
        rf"the parts of .* do not fit: the tokenizer has {counts['tokenizer']} codes, the "
        rf"language model {counts['language_model']}, the decoder {counts['decoder']}"
    )
    with pytest.raises(CheckpointError, match=message):
        load_chat(model)


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(model: Path, part: str) -> None:
    shutil.rmtree(model / part)
    with pytest.raises(CheckpointError, match=rf"not a whole model: its folder {part}/ is missing"):
        load_chat(model)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_part_is_named(model: Path, part: str, name: str) -> None:
    (model / part / name).write_bytes(b"{")
    with pytest.raises(CheckpointError, match=rf"{part}.{name} is damaged"):
        load_chat(model)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"no model called 'nanno'.*did you mean nano"):
        load_chat("nanno")
