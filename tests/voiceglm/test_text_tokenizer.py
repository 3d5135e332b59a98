"""Any text round-trips, whole or id by id."""

import random
import unicodedata
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from voiceglm.errors import CheckpointError, ConfigError
from voiceglm.prompt import PromptFormat
from voiceglm.text_tokenizer import TextStream, load_text_tokenizer, train_text_tokenizer

CORPUS = [
    "What is two plus two?",
    "Two plus two is four.",
    "你好，世界",
    *PromptFormat().texts(),
] * 20


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_text_tokenizer(CORPUS, 400)


def noise(seed: int) -> str:
    rng = random.Random(seed)
    found = (chr(rng.randrange(1, 0x1_1000)) for _ in range(60))
    return "".join(c for c in found if unicodedata.category(c) != "Cs")


@pytest.mark.parametrize("seed", range(50))
def test_any_text_round_trips(tokenizer: Tokenizer, seed: int) -> None:
    text = noise(seed)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize("seed", range(50))
def test_a_stream_cut_anywhere_gives_the_same_text(tokenizer: Tokenizer, seed: int) -> None:
    text, stream = noise(seed), TextStream(tokenizer)
    pieces = [stream.push([id_]) for id_ in tokenizer.encode(text).ids]
    assert "".join(pieces) + stream.finish() == text


@pytest.mark.parametrize(
    "text", ["  two\n\n\n  three \t", "3141592653", "I'm, you'LL", "🙂👩‍👩‍👧", ""]
)
def test_awkward_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_an_unfinished_character_waits(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🙂").ids
    assert len(ids) > 1
    stream = TextStream(tokenizer)
    assert stream.push(ids[:-1]) == ""
    assert stream.push(ids[-1:]) == "🙂"
    assert stream.push(ids[:1]) == ""
    assert stream.finish() == "\ufffd"


def test_the_wire_format_costs_few_ids(tokenizer: Tokenizer) -> None:
    costs = [len(tokenizer.encode(text).ids) for text in PromptFormat().texts()]
    assert max(costs) <= 6


def test_the_pattern_keeps_numbers_to_three_digits() -> None:
    tokenizer = train_text_tokenizer(["1234567890"] * 50, 400)
    assert tokenizer.encode("1234567890").tokens == ["123", "456", "789", "0"]


def test_the_same_corpus_gives_the_same_tokenizer() -> None:
    assert train_text_tokenizer(CORPUS, 400).to_str() == train_text_tokenizer(CORPUS, 400).to_str()


def test_no_room_for_the_bytes() -> None:
    with pytest.raises(ConfigError, match="at least 256"):
        train_text_tokenizer(CORPUS, 255)


def test_a_foreign_id_is_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="id 9999 is not a text id"):
        TextStream(tokenizer).push([9999])


def test_files(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(CheckpointError, match="no text tokenizer at"):
        load_text_tokenizer(path)
    path.write_text("{")
    with pytest.raises(CheckpointError, match="is not a text tokenizer"):
        load_text_tokenizer(path)
    path.write_text(tokenizer.to_str())
    assert load_text_tokenizer(path).to_str() == tokenizer.to_str()
