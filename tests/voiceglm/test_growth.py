"""A text model that is grown says of text what it said before, and is a language model of ours."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models
from transformers import GlmConfig, LlamaConfig, PreTrainedConfig, Qwen2Config, Qwen3Config

from voiceglm.checkpoint import TENSORS
from voiceglm.errors import CheckpointError
from voiceglm.growth import NOISE, grown_vocabulary
from voiceglm.interleave import REPLY, Kind
from voiceglm.language_config import NETWORKS, GrownModelConfig
from voiceglm.language_model import ReplyCache, Sampling, VoiceLM
from voiceglm.packing import packed_batch
from voiceglm.prompt import IGNORED, Example
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.vocabulary import Vocabulary

ROWS = 320  # of the embedding: more than there are ids
CODES = 40
SIZES: dict[str, Any] = {
    "vocab_size": ROWS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 3,
}
ARCHITECTURES: dict[str, PreTrainedConfig] = {
    "glm": GlmConfig(**SIZES, head_dim=8, tie_word_embeddings=False),
    "qwen2": Qwen2Config(**SIZES, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=False),
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=False),
}


def text_tokenizer() -> Tokenizer:
    tokenizer = train_text_tokenizer(["two plus two is four"] * 5, 290)
    tokenizer.add_special_tokens([AddedToken("<|im_start|>"), AddedToken("<|im_end|>")])
    return tokenizer


def text_model(folder: Path, kind: str, shard: str = "5GB") -> Path:
    torch.manual_seed(0)
    network = NETWORKS[kind](ARCHITECTURES[kind])
    network.save_pretrained(folder, max_shard_size=shard)
    text_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A text model as transformers loads it, and the same grown; stored in several files."""
    folder = text_model(tmp_path_factory.mktemp(request.param), request.param, "20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return NETWORKS[request.param].from_pretrained(folder), VoiceLM.grow(folder, CODES)


@torch.inference_mode()
def test_what_it_says_of_text_is_what_it_said(pair) -> None:
    before, model = pair
    ids = torch.tensor([model.encode_text("two plus two is two plus four")])
    logits = model.network(ids).logits
    assert logits.shape[-1] == model.vocabulary.size
    torch.testing.assert_close(logits[..., :ROWS], before.eval()(ids).logits, atol=1e-5, rtol=0)


def test_new_rows_are_near_the_mean_and_differ(pair) -> None:
    before, model = pair
    for name in ("embed_tokens", "lm_head"):
        holder = model.network.lm_head if name == "lm_head" else model.network.model.embed_tokens
        new = holder.weight[ROWS:]
        old = holder.weight[: text_tokenizer().get_vocab_size()]
        assert ((new - old.mean(0)).std() / (old - old.mean(0)).std()).item() == pytest.approx(
            NOISE, rel=0.2
        )
        assert len(new.unique(dim=0)) == len(new)
    tied = model.network.lm_head.weight is model.network.model.embed_tokens.weight
    assert tied == before.config.tie_word_embeddings


def test_a_grown_model_is_saved_and_loaded(pair, tmp_path: Path) -> None:
    _, model = pair
    model.save(tmp_path / "grown")
    again = VoiceLM.from_pretrained(tmp_path / "grown")
    assert isinstance(again.config, GrownModelConfig)
    assert again.config == model.config
    assert again.config.architecture["model_type"] == model.network.config.model_type
    assert again.vocabulary == model.vocabulary
    assert again.prompt_format == model.prompt_format
    for name, value in again.network.state_dict().items():
        assert torch.equal(value, model.network.state_dict()[name].half().float()), name
    tied = again.network.lm_head.weight is again.network.model.embed_tokens.weight
    assert tied == model.network.config.tie_word_embeddings
    text = "two plus <|im_end|> four"
    assert again.encode_text(text) == model.encode_text(text)
    assert max(again.encode_text(text)) < again.vocabulary.text_size, "a piece, no end of a turn"
    assert again.decode_text(again.encode_text(text)) == text


def test_it_replies_in_text_and_speech(pair) -> None:
    _, model = pair
    prompt = model.writer.opening("speech") + model.writer.speech_turn([1, 2, 3])
    sampling = Sampling(temperature=3.0, top_p=1.0, max_new_ids=80)
    position, cache, stream = REPLY.start(), ReplyCache(), model.text_stream()
    reply = list(model.generate(prompt, sampling, cache=cache, stop_ids=()))
    for id_ in reply:
        kind = Kind.SPEECH if model.vocabulary.is_speech(id_) else Kind.TEXT
        if kind is Kind.TEXT:
            stream.push([id_])
        position = position.step(kind)
    assert len(reply) == 80
    greedy = Sampling(temperature=0, max_new_ids=20)
    history = prompt + reply[:30] + model.writer.text_turn("four")
    kept = list(model.generate(history, greedy, cache=cache, stop_ids=()))
    assert kept == list(model.generate(history, greedy, stop_ids=()))


@torch.inference_mode()
def test_documents_packed_into_a_row_do_not_leak(pair) -> None:
    _, model = pair
    found = [model.encode_text("two plus two"), model.writer.speech([4, 5, 6]), [1, 2, 3, 4]]
    batch = packed_batch([[Example(ids, [IGNORED] * len(ids)) for ids in found]], 40)
    packed = model.network(batch["ids"], position_ids=batch["position_ids"], use_cache=False)
    start = 0
    for ids in found:
        alone = model.network(torch.tensor([ids])).logits[0]
        torch.testing.assert_close(
            packed.logits[0, start : start + len(ids)], alone, atol=1e-5, rtol=0
        )
        start += len(ids)


def test_seeds(tmp_path: Path) -> None:
    folder = text_model(tmp_path / "text", "llama")
    first, again, other = (
        VoiceLM.grow(folder, CODES, seed=seed).network.lm_head.weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert torch.equal(first[:ROWS], other[:ROWS])
    assert not torch.equal(first[ROWS:], other[ROWS:])


def test_glm_keeps_the_special_ids_that_it_was_trained_with() -> None:
    names = ["<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>"]
    names += ["<|user|>", "<|assistant|>", "<|observation|>", "<|begin_of_image|>"]
    added = {name: 151_329 + n for n, name in enumerate(names)}
    found = grown_vocabulary(151_329, added, 151_552, 16_384)
    published = Vocabulary.glm4voice()
    assert (found.gmask, found.sop, found.user) == (published.gmask, published.sop, published.user)
    assert found.special_ids == published.special_ids
    assert found.speech_start_id == 151_552, "behind every old row"
    other = grown_vocabulary(151_643, {"<|im_end|>": 151_644}, 151_936, 16_384)
    assert other.special_ids == range(151_936, 151_954)
    assert other.speech_start_id == 151_954
    assert not other.is_text(151_644)


def damage_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_cannot_be_built_on(tmp_path: Path) -> None:
    folder = text_model(tmp_path / "text", "qwen2")
    damage_config(folder, model_type="gemma")
    with pytest.raises(CheckpointError, match=r"model_type 'gemma'; known: glm, .*qwen2"):
        VoiceLM.grow(folder, CODES)
    damage_config(folder, model_type="qwen2", intermediate_size=64)
    with pytest.raises(CheckpointError, match="of another shape"):
        VoiceLM.grow(folder, CODES)
    damage_config(folder, intermediate_size=48, layer_types=["sliding_attention"] * 2)
    with pytest.raises(CheckpointError, match="sliding"):
        VoiceLM.grow(folder, CODES)
    damage_config(folder, layer_types=["full_attention"] * 2)
    Tokenizer(models.BPE({"▁a": 0, "b": 1}, [])).save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"not byte-level BPE: .*'▁a'"):
        VoiceLM.grow(folder, CODES)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="no text tokenizer"):
        VoiceLM.grow(folder, CODES)
    (folder / TENSORS).unlink()
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError):
        VoiceLM.grow(folder, CODES)
