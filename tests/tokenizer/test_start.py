"""Starting points: a Whisper model as transformers stores it, and a tokenizer of ours."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import WhisperConfig, WhisperForConditionalGeneration

from tokenizer.asr import AttentionRecognizer, CtcRecognizer
from tokenizer.config import QuantizerConfig, TokenizerConfig
from tokenizer.model import SpeechTokenizer
from tokenizer.start import starting_settings, starting_text_tokenizer, take_over
from voiceglm.config import build
from voiceglm.errors import CheckpointError

WHISPER: dict[str, Any] = {
    "vocab_size": 40,
    "num_mel_bins": 20,
    "encoder_layers": 4,
    "encoder_attention_heads": 2,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "d_model": 16,
    "max_source_positions": 120,
    "max_target_positions": 16,
    "pad_token_id": 37,
    "bos_token_id": 37,
    "eos_token_id": 37,
    "decoder_start_token_id": 38,
}


def whisper(seed: int = 0, **changed: Any) -> WhisperForConditionalGeneration:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = WhisperForConditionalGeneration(WhisperConfig(**(WHISPER | changed))).eval()
        for weight in model.parameters():  # as drawn, layers hardly change what they get
            if weight.requires_grad and weight.ndim > 1:
                weight.data.mul_(5.0)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    whisper().save_pretrained(tmp_path / "whisper")
    words = {word: number for number, word in enumerate("abcdefghij")}
    speller = Tokenizer(WordLevel(words, unk_token="a"))
    speller.save(str(tmp_path / "whisper" / "tokenizer.json"))
    return tmp_path / "whisper"


def started(
    folder: Path, *, parts: Any = "all", **changed: dict[str, Any] | None
) -> SpeechTokenizer:
    settings = starting_settings(folder)
    for part, values in changed.items():
        settings[part] = None if values is None else settings[part] | values
    with torch.random.fork_rng():
        torch.manual_seed(5)
        tokenizer = SpeechTokenizer(build(TokenizerConfig, settings)).eval()
    take_over(tokenizer, folder, parts)
    return tokenizer


PLAIN = {"pool_kernel": None, "causal_convolution": False, "block_frames": None}


@torch.no_grad()
@pytest.mark.parametrize("sharded", [False, True], ids=["one file", "sharded"])
def test_without_pooling_and_codes_the_states_are_whispers(folder: Path, sharded: bool) -> None:
    original = whisper()
    if sharded:
        (folder / "model.safetensors").unlink()
        original.save_pretrained(folder, max_shard_size="20KB")
        assert len([*folder.glob("model-*.safetensors")]) > 2
    tokenizer = started(folder, encoder=PLAIN, quantizer=None)
    features = torch.randn(2, 20, 240, generator=torch.Generator().manual_seed(1))
    ours = tokenizer.encoder(features, torch.ones(2, 240).bool())
    theirs = original.model.encoder(features).last_hidden_state
    torch.testing.assert_close(ours.states, theirs, rtol=0, atol=1e-5)
    assert theirs.std() > 0.1

    labels = torch.randint(37, (2, 6), generator=torch.Generator().manual_seed(2))
    expected = original(input_features=features, labels=labels).logits
    assert isinstance(tokenizer.recognizer, AttentionRecognizer)
    logits = tokenizer.recognizer.logits(ours.states, ours.mask, labels)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_cut_encoder_begins_with_whispers_layers(folder: Path) -> None:
    """Sizes follow from Whisper; pooling and a codebook stand in the middle of its encoder."""
    tokenizer = started(folder, quantizer={"codebook_size": 64, "kmeans_init": False})
    sizes = tokenizer.config.encoder
    assert (sizes.width, sizes.num_layers, sizes.pool_after, sizes.quantize_after) == (16, 4, 2, 2)
    assert (sizes.pool_kernel, sizes.encoder_only, sizes.max_frames) == (4, False, 120)
    original = whisper().model.encoder
    for ours, theirs in zip(tokenizer.encoder.layers, original.layers, strict=True):
        for name, weight in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], weight), name
    assert not tokenizer.encoder.embed_positions2.weight.any()
    assert tokenizer.encoder.quantizer is not None
    features = torch.randn(1, 20, 80)
    found = tokenizer.encoder(features, torch.ones(1, 80).bool())
    assert found.codes is not None
    assert found.codes.shape == (1, 10)


def test_another_recognizer_takes_the_encoder_alone(folder: Path) -> None:
    tokenizer = started(folder, recognizer={"kind": "ctc"}, parts="encoder")
    assert isinstance(tokenizer.recognizer, CtcRecognizer)
    both = started(folder, recognizer={"kind": "joint"})
    weight = both.state_dict()["recognizer.attention.decoder.embed_tokens.weight"]
    assert torch.equal(weight, whisper().model.decoder.embed_tokens.weight)
    speller = starting_text_tokenizer(folder)
    assert speller is not None
    assert speller.encode("c").ids == [2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_any_precision(folder: Path, dtype: torch.dtype) -> None:
    stored = load_file(folder / "model.safetensors")
    save_file({k: v.to(dtype) for k, v in stored.items()}, folder / "model.safetensors")
    tokenizer = started(folder, quantizer=None)
    assert {weight.dtype for weight in tokenizer.parameters()} == {torch.float32}


def changed_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in config.items() if v != "gone"}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decoder_attention_heads": 4}, r"encoder_attention_heads \(2\) is not its decoder_"),
        ({"scale_embedding": True}, "scaled embeddings or without gelu"),
        ({"encoder_layers": "gone"}, "is no Whisper model: 'encoder_layers' is missing"),
        ({"d_model": 32}, r"does not fit SpeechTokenizer: \d+ of another shape \(encoder\."),
        ({"encoder_layers": 5}, r"does not fit SpeechTokenizer: \d+ missing \(encoder\.layers\.4"),
        ({"decoder_layers": 1}, r"does not fit .*: \d+ unexpected \(recognizer\.decoder\.layers"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    folder: Path, values: dict[str, Any], message: str
) -> None:
    changed_config(folder, **values)
    with pytest.raises(CheckpointError, match=message) as caught:
        started(folder, quantizer=None)
    assert "\n" not in str(caught.value)


def test_learned_positions_are_refused(folder: Path) -> None:
    stored = load_file(folder / "model.safetensors")
    stored["model.encoder.embed_positions.weight"] += 0.1
    save_file(stored, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="learned positions below its encoder"):
        started(folder, quantizer=None)


def test_a_tokenizer_of_ours_goes_on_as_it_was(tokenizer: SpeechTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "t", dtype=torch.float32)
    again = started(tmp_path / "t")
    assert again.config == tokenizer.config
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_a_new_alphabet_keeps_the_encoder_and_its_codes(
    tokenizer: SpeechTokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "t", dtype=torch.float32)
    with pytest.raises(CheckpointError, match=r"2 of another shape \(recognizer.project"):
        started(tmp_path / "t", recognizer={"alphabet": "好你 "})
    again = started(tmp_path / "t", recognizer={"alphabet": "好你 "}, parts="encoder")
    before, after = tokenizer.encoder.state_dict(), again.encoder.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("quantizer", "message"),
    [
        (QuantizerConfig(codebook_size=32), r"3 of another shape \(encoder\.quantizer"),
        (QuantizerConfig(kind="fsq", codebook_size=64, levels=(4, 4, 4)), "missing .*unexpected"),
    ],
)
def test_another_codebook_is_refused(
    tokenizer: SpeechTokenizer, tmp_path: Path, quantizer: QuantizerConfig, message: str
) -> None:
    tokenizer.save(tmp_path / "t")
    other = SpeechTokenizer(replace(tokenizer.config, quantizer=quantizer))
    before: dict[str, Tensor] = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        take_over(other, tmp_path / "t", "all")
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


def test_no_model_to_start_from(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        starting_settings(str(tmp_path / "nowhere"))
