"""``SpeechTokenizer``: what a user calls."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tokenizer.config import TokenizerConfig
from tokenizer.model import SpeechTokenizer
from voiceglm.audio import resample
from voiceglm.checkpoint import read_tensors
from voiceglm.errors import AudioError, CheckpointError, OutputError

Build = Callable[[TokenizerConfig], SpeechTokenizer]
Melody = Callable[..., Tensor]
RATE = 16_000


def test_a_saved_tokenizer_is_the_same(
    tokenizer: SpeechTokenizer, melody: Melody, tmp_path: Path
) -> None:
    rounded = {
        k: v.half().to(v.dtype) if v.is_floating_point() else v
        for k, v in tokenizer.state().items()
    }
    tokenizer.load_state_dict(rounded, strict=False)
    tokenizer.save(tmp_path / "tokenizer")
    loaded = SpeechTokenizer.from_pretrained(tmp_path)
    assert not loaded.training
    assert loaded.config == tokenizer.config
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
        assert value.dtype == loaded.state_dict()[name].dtype
    samples = melody(2.0)
    assert loaded.encode(samples, RATE) == tokenizer.encode(samples, RATE)
    assert loaded.transcribe(samples, RATE) == tokenizer.transcribe(samples, RATE)


def test_what_is_stored(tokenizer: SpeechTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "t")
    stored = read_tensors(tmp_path / "t")
    assert "encoder.embed_positions.weight" not in stored, "a formula"
    assert {v.dtype for v in stored.values()} <= {torch.float16, torch.bool}
    with pytest.raises(OutputError):
        tokenizer.save(tmp_path / "t")
    tokenizer.save(tmp_path / "t", replace=True)


def test_a_foreign_folder_is_refused(tokenizer: SpeechTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "t")
    (tmp_path / "t" / "config.json").write_text('{"hidden_size": 3}')
    with pytest.raises(CheckpointError, match="is not a speech tokenizer: unknown setting"):
        SpeechTokenizer.from_pretrained(tmp_path / "t")


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.28, 1.281, 2.0])
def test_one_code_for_80_ms(tokenizer: SpeechTokenizer, melody: Melody, seconds: float) -> None:
    codes = tokenizer.encode(melody(seconds), RATE)
    assert len(codes) == -(-round(seconds * RATE) // 1_280)
    assert all(0 <= code < tokenizer.num_codes for code in codes)
    assert tokenizer.frame_rate == 12.5


def test_a_batch_is_its_recordings(tokenizer: SpeechTokenizer, melody: Melody) -> None:
    batch = [melody(seconds, seed) for seed, seconds in enumerate((1.0, 5.5, 0.2, 4.8))]
    together = tokenizer.encode_batch(batch, RATE)
    assert together == [tokenizer.encode(samples, RATE) for samples in batch]
    assert len({code for codes in together for code in codes}) > 20


def test_longer_than_the_positions(tokenizer: SpeechTokenizer, melody: Melody) -> None:
    """A recording is cut every 4.8 s, and each piece is encoded as if it were alone."""
    samples, length = melody(11.01), int(4.8 * RATE)
    pieces = samples.split(length)
    assert len(pieces) == 3
    alone = [code for piece in pieces for code in tokenizer.encode(piece, RATE)]
    assert tokenizer.encode(samples, RATE) == alone
    read = [tokenizer.transcribe(piece, RATE) for piece in pieces]
    assert tokenizer.transcribe(samples, RATE) == " ".join(read).strip()


def test_one_sample_more_than_the_positions(tokenizer: SpeechTokenizer, melody: Melody) -> None:
    assert len(tokenizer.encode(melody(4.8), RATE)) == 60
    assert len(tokenizer.encode(torch.cat([melody(4.8), torch.zeros(1)]), RATE)) == 61


def test_any_rate(tokenizer: SpeechTokenizer, melody: Melody) -> None:
    samples = melody(1.0)
    at_22050 = resample(samples, RATE, 22_050)
    assert tokenizer.encode(at_22050, 22_050) == tokenizer.encode(
        resample(at_22050, 22_050, RATE), RATE
    )


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.full((16_000,), torch.nan), "not numbers"),
        (torch.zeros(16_000), "is silent"),
        (torch.ones(1_000), "too short: 62 ms"),
        (torch.ones(601 * RATE), "too long: 601 s"),
        (torch.ones(2, 16_000), r"float32 of shape \(2, 16000\)"),
        (torch.ones(16_000).short(), "is int16"),
        (torch.empty(0), "too short: 0 ms"),
    ],
    ids=["nan", "silent", "short", "long", "stereo", "int16", "empty"],
)
def test_bad_recordings(
    tokenizer: SpeechTokenizer, melody: Melody, samples: Tensor, message: str
) -> None:
    for call in (tokenizer.encode, tokenizer.transcribe):
        with pytest.raises(AudioError, match=message) as caught:
            call(samples, RATE)
        assert "\n" not in str(caught.value)
    with pytest.raises(AudioError, match=f"^recording 1 .*{message}"):
        tokenizer.encode_batch([melody(1.0), samples], RATE)


def test_nothing_to_read_with(without_upper: TokenizerConfig, build: Build, melody: Melody) -> None:
    tokenizer = build(without_upper)
    assert tokenizer.encode(melody(0.5), RATE)
    with pytest.raises(CheckpointError, match="without a recognizer"):
        tokenizer.transcribe(melody(0.5), RATE)


def test_no_codebook_but_words(tiny: TokenizerConfig, build: Build, melody: Melody) -> None:
    """A plain recognizer, as the one that judges replies."""
    recognizer = build(replace(tiny, quantizer=None))
    assert isinstance(recognizer.transcribe(melody(1.0), RATE), str)


def test_using_it_changes_nothing(tokenizer: SpeechTokenizer, melody: Melody) -> None:
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    state = torch.random.get_rng_state()
    tokenizer.encode(melody(1.0), RATE)
    tokenizer.transcribe(melody(1.0), RATE)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_losses_of_a_batch(tokenizer: SpeechTokenizer, melody: Melody) -> None:
    features = tokenizer.features([melody(1.0), melody(0.6, seed=1)])
    labels = torch.tensor([[1, 2, 3], [4, 5, -100]])
    with torch.random.fork_rng():
        out = tokenizer.train()(features.values, features.mask, labels)
    assert out.keys() == {"loss", "text_loss", "commitment", "perplexity", "dead_codes"}
    torch.testing.assert_close(out["loss"], out["text_loss"] + out["commitment"])
    assert all(value.ndim == 0 for value in out.values())
    out["loss"].backward()
    assert all(p.grad is not None for p in tokenizer.parameters() if p.requires_grad)
