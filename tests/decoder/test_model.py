"""The flow and the whole decoder: batches, prompts, noise, checkpoints, bad ids."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from decoder.config import EncoderConfig, EstimatorConfig, FlowConfig, VocoderConfig
from decoder.flow import FlowDraws
from decoder.flow_model import FlowModel
from decoder.model import Prompt, SpeechDecoder
from decoder.vocoder import HiFTGenerator
from voiceglm.errors import AudioError

TINY = FlowConfig(
    num_codes=64,
    encoder=EncoderConfig(dim=32, num_heads=4, hidden_dim=64, num_layers=2),
    estimator=EstimatorConfig(
        channels=(16, 16), num_blocks=2, num_mid_blocks=2, num_heads=2, head_dim=8
    ),
)
TINY_VOCODER = VocoderConfig(base_channels=16, f0_channels=16)


@pytest.fixture
def flow() -> FlowModel:
    """A flow with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FlowModel(TINY).eval()


@pytest.fixture
def decoder_model() -> SpeechDecoder:
    """A decoder with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpeechDecoder(FlowModel(TINY), HiFTGenerator(TINY_VOCODER)).eval()


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Compare absolutely."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def test_frames_follow_from_codes(flow: FlowModel) -> None:
    counts = torch.arange(1, 2001)
    exact = torch.tensor([n * 22050 * 2 // (256 * 25) for n in counts.tolist()])
    assert torch.equal(flow.num_frames(counts), exact)


@torch.no_grad()
def test_a_padded_batch_equals_its_items(flow: FlowModel) -> None:
    generator = torch.Generator().manual_seed(3)
    codes = torch.randint(64, (3, 21), generator=generator)
    code_lengths = torch.tensor([21, 8, 13])
    lengths = flow.num_frames(code_lengths)
    noise = torch.randn(3, 80, int(lengths.max()), generator=generator)
    prompt = torch.randn(3, 80, 20, generator=generator)

    batch = flow.sample(codes, code_lengths, noise, prompt=prompt)
    for i, (n, frames) in enumerate(zip(code_lengths, lengths, strict=True)):
        alone = flow.sample(
            codes[i : i + 1, :n], n[None], noise[i : i + 1, :, :frames], prompt=prompt[i : i + 1]
        )
        close(batch[i, :, :frames], alone[0], 2e-5)


def test_a_padded_batch_has_the_losses_of_its_items(flow: FlowModel) -> None:
    generator = torch.Generator().manual_seed(4)
    codes = torch.randint(64, (2, 15), generator=generator)
    code_lengths, prompts = torch.tensor([15, 9]), torch.tensor([0, 20])
    lengths = flow.num_frames(code_lengths)
    mel = torch.randn(2, 80, int(lengths.max()), generator=generator)
    noise = torch.randn(mel.shape, generator=generator)
    draws = FlowDraws(torch.tensor([0.2, 0.6]), noise, torch.tensor([True, False]))

    together = flow.losses(codes, code_lengths, mel, lengths, prompts, draws=draws)
    sums = torch.zeros(2)
    for i, frames in enumerate(lengths):
        one = slice(i, i + 1)
        alone = flow.losses(
            codes[one, : code_lengths[i]],
            code_lengths[one],
            mel[one, :, :frames],
            lengths[one],
            prompts[one],
            draws=FlowDraws(draws.time[one], draws.noise[one, :, :frames], draws.hidden[one]),
        )
        sums += torch.stack([alone.flow, alone.content]).detach() * frames
    expected = sums / lengths.sum()
    close(torch.stack([together.flow, together.content]).detach(), expected, 1e-5)


@torch.no_grad()
def test_mel_scale_is_undone(flow: FlowModel) -> None:
    flow.config = FlowConfig(
        num_codes=64, encoder=TINY.encoder, estimator=TINY.estimator, mel_mean=-5.0, mel_std=2.0
    )
    noise = torch.zeros(1, 80, 27)
    scaled = flow.sample(torch.tensor([[1, 2, 3, 4]]), torch.tensor([4]), noise)
    flow.config = TINY
    plain = flow.sample(torch.tensor([[1, 2, 3, 4]]), torch.tensor([4]), noise)
    close(scaled, plain * 2 - 5)


@torch.no_grad()
def test_the_temperature_scales_the_noise() -> None:
    codes, lengths = torch.tensor([[1, 2, 3, 4]]), torch.tensor([4])
    noise = torch.randn(1, 80, 27, generator=torch.Generator().manual_seed(0))

    def mel(temperature: float, scale: float) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            flow = FlowModel(replace(TINY, temperature=temperature)).eval()
        return flow.sample(codes, lengths, scale * noise)

    close(mel(0.5, 1.0), mel(1.0, 0.5))
    close(mel(0.0, 1.0), mel(0.0, 9.0))
    assert not torch.allclose(mel(0.0, 1.0), mel(1.0, 1.0), atol=0.1)


def test_decoding_is_repeatable_and_leaves_the_global_generator(
    decoder_model: SpeechDecoder,
) -> None:
    before = torch.get_rng_state()
    first = decoder_model.decode([1, 2, 3, 4, 5])
    assert torch.equal(first, decoder_model.decode([1, 2, 3, 4, 5]))
    assert torch.equal(before, torch.get_rng_state())
    assert first.shape == (34 * 256,)
    assert first.dtype == torch.float32
    other = decoder_model.decode([1, 2, 3, 4, 5], generator=torch.Generator().manual_seed(1))
    assert not torch.equal(first, other)


def test_noise_is_an_argument(decoder_model: SpeechDecoder) -> None:
    noise = torch.randn(34, 80, generator=torch.Generator().manual_seed(7)).T  # frame by frame
    ids = [5, 4, 3, 2, 1]
    given = decoder_model.mel(ids, noise=noise)
    assert given.shape == (80, 34)
    drawn = decoder_model.mel(ids, generator=torch.Generator().manual_seed(7))
    assert torch.equal(given, drawn)


def test_a_prompt_is_continued(decoder_model: SpeechDecoder) -> None:
    codes = [7] * 10
    prompt = Prompt(codes, decoder_model.mel(codes))
    assert decoder_model.mel([1, 2], prompt=prompt).shape == (80, 82 - 68)


def test_nothing_to_say(decoder_model: SpeechDecoder) -> None:
    assert decoder_model.mel([]).shape == (80, 0)
    assert decoder_model.decode([]).shape == (0,)


@pytest.mark.parametrize("wrong", [64, -1])
def test_unknown_codes_are_refused(decoder_model: SpeechDecoder, wrong: int) -> None:
    with pytest.raises(AudioError, match=rf"speech code {wrong} is not in 0\.\.63"):
        decoder_model.mel([3, wrong])


def test_a_saved_decoder_speaks_the_same(decoder_model: SpeechDecoder, tmp_path: Path) -> None:
    decoder_model.save(tmp_path / "decoder")
    loaded = SpeechDecoder.from_pretrained(tmp_path / "decoder")
    assert loaded.config == decoder_model.config
    assert torch.equal(loaded.decode([1, 2, 3]), decoder_model.decode([1, 2, 3]))


def test_half_the_bytes_say_about_the_same(decoder_model: SpeechDecoder, tmp_path: Path) -> None:
    decoder_model.save(tmp_path / "half", dtype=torch.float16)
    decoder_model.save(tmp_path / "full")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = SpeechDecoder.from_pretrained(tmp_path / "half")
    close(loaded.mel([1, 2, 3]), decoder_model.mel([1, 2, 3]), 0.05)


def test_the_vocoder_given_stays_trainable() -> None:
    vocoder = HiFTGenerator(TINY_VOCODER)
    names = set(vocoder.state_dict())
    SpeechDecoder(FlowModel(TINY), vocoder)
    assert set(vocoder.state_dict()) == names


def test_released_sizes() -> None:
    with torch.device("meta"):
        model = FlowModel(FlowConfig())
    assert sum(p.numel() for p in model.parameters()) == 111_166_208
    assert math.isclose(FlowConfig().frames_per_code, 6.890625)
