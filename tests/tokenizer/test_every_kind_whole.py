"""Whole tokenizers with every kind of quantizer: stored, streamed, read back, measured."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tokenizer.config import QuantizerConfig, TokenizerConfig
from tokenizer.evaluate import figures, read_recordings, table
from tokenizer.model import SpeechTokenizer
from voiceglm.error_rate import character_errors
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance

RATE = 16_000
KINDS = {
    "ema": QuantizerConfig(codebook_size=64, kmeans_init=True, revive_below=0.1),
    "fsq": QuantizerConfig(kind="fsq", codebook_size=64, levels=(4, 4, 4)),
    "simvq": QuantizerConfig(kind="simvq", codebook_size=64),
}
Melody = Callable[..., Tensor]


@pytest.fixture(params=KINDS.values(), ids=[*KINDS])
def trained(
    request: pytest.FixtureRequest, tiny: TokenizerConfig, melody: Melody
) -> SpeechTokenizer:
    """A codebook that has seen one batch; nothing else has learned."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = SpeechTokenizer(replace(tiny, quantizer=request.param)).train()
        features = tokenizer.features([melody(2.0, seed) for seed in range(6)])
        tokenizer(features.values, features.mask, torch.tensor([[1, 2, 3]] * 6))
    return tokenizer.eval()


def test_stored_and_loaded_it_is_the_same(
    trained: SpeechTokenizer, melody: Melody, tmp_path: Path
) -> None:
    trained.save(tmp_path / "t", dtype=torch.float32)
    loaded = SpeechTokenizer.from_pretrained(tmp_path / "t")
    assert loaded.config == trained.config
    for name, value in trained.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    codes = trained.encode(melody(2.0, 40), RATE)
    assert loaded.encode(melody(2.0, 40), RATE) == codes
    assert loaded.read([codes]) == [trained.transcribe(melody(2.0, 40), RATE)]
    assert len(set(codes)) > 8
    assert all(0 <= code < 64 for code in codes)


@pytest.mark.parametrize("chunk", [800, 5_000, 20_000])
def test_streamed_codes_are_those_of_the_whole(
    trained: SpeechTokenizer, melody: Melody, chunk: int
) -> None:
    samples, state = melody(3.3, 41), trained.start()
    codes = [code for piece in samples.split(chunk) for code in trained.step(piece, state)]
    assert codes + trained.finish(state) == trained.encode(samples, RATE)


def test_figures_are_those_of_the_rows(trained: SpeechTokenizer, spelled: list[Utterance]) -> None:
    silent = replace(spelled[0], text=None)
    rows = read_recordings(trained, [*spelled, silent])
    assert [row["said"] for row in rows] == [*(one.text for one in spelled), None]
    found = figures(trained, rows)
    codes = [code for row in rows for code in row["codes"]]
    assert found.recordings == 13
    assert found.texts == 12
    assert found.codes_used == len(set(codes))
    assert found.codes_used_percent == pytest.approx(100 * len(set(codes)) / 64)
    assert found.bits_per_second == pytest.approx(12.5 * 6)
    assert found.perplexity is not None
    assert 1 <= found.perplexity <= len(set(codes))
    assert found.character_error_percent == character_errors(rows[:12]).percent
    assert found.seconds == pytest.approx(sum(row["seconds"] for row in rows))
    assert "| codes in the codebook | 64 |" in table(found)


def test_figures_without_codes_or_words(
    tiny: TokenizerConfig, without_upper: TokenizerConfig, spelled: list[Utterance]
) -> None:
    recognizer = SpeechTokenizer(replace(tiny, quantizer=None)).eval()
    found = figures(recognizer, read_recordings(recognizer, spelled[:2]))
    assert found.codebook_size is found.perplexity is found.bits_per_second is None
    assert found.word_error_percent is not None
    encoder = SpeechTokenizer(without_upper).eval()
    found = figures(encoder, read_recordings(encoder, spelled[:2]))
    assert found.character_error_percent is None
    assert found.codes_used
    assert "| wrong words, read back through the codes | - |" in table(found)
    with pytest.raises(ConfigError, match="no utterance has a recording"):
        figures(encoder, [])
