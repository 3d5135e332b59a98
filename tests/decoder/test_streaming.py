"""Speech on its way out: the vocoder is exact; the flow is whole, bounded and its own."""

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from decoder.config import EncoderConfig, EstimatorConfig, FlowConfig, VocoderConfig
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.streaming import DecodeStream, StreamConfig, VocoderStream, fade
from decoder.vocoder import HiFTGenerator
from voiceglm.errors import AudioError, ConfigError

FLOW = FlowConfig(
    num_codes=64,
    num_steps=2,
    encoder=EncoderConfig(dim=16, num_heads=2, hidden_dim=32, num_layers=1),
    estimator=EstimatorConfig(
        channels=(16, 16), num_blocks=1, num_mid_blocks=1, num_heads=2, head_dim=8
    ),
)
VOCODERS = {
    "as released": VocoderConfig(base_channels=16, f0_channels=8),
    "as nano": VocoderConfig(
        base_channels=16,
        f0_channels=8,
        upsample_rates=(4, 4),
        upsample_kernel_sizes=(8, 8),
        istft_n_fft=64,
        istft_hop=16,
        resblock_kernel_sizes=(3, 7),
        phase_limit=3.14159265,
    ),
}


@pytest.fixture(params=VOCODERS)
def vocoder(request: pytest.FixtureRequest) -> HiFTGenerator:
    """A vocoder with random weights, its source loud enough to be heard."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vocoder = HiFTGenerator(VOCODERS[request.param]).eval().requires_grad_(False)
    vocoder.f0_predictor.classifier.weight.mul_(300)
    vocoder.m_source.l_linear.weight.mul_(10)
    return vocoder


@pytest.fixture
def decoder_model() -> SpeechDecoder:
    """A decoder with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpeechDecoder(FlowModel(FLOW), HiFTGenerator(VOCODERS["as nano"])).eval()


def speak(stream: DecodeStream, ids: list[int], sizes: list[int]) -> Tensor:
    parts, start = [], 0
    for size in sizes:
        parts.append(stream.push(ids[start : start + size]))
        start += size
    return torch.cat([*parts, stream.push(ids[start:]), stream.finish()])


def codes(count: int, seed: int = 0) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(64) for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_cut_anywhere_the_vocoder_says_the_same(vocoder: HiFTGenerator, seed: int) -> None:
    rng = random.Random(seed)
    mel = torch.randn(80, rng.randint(1, 150), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        whole = vocoder(mel[None], generator=torch.Generator().manual_seed(seed))[0]
    stream = VocoderStream(vocoder, torch.Generator().manual_seed(seed))
    parts, start = [], 0
    while start < mel.shape[1]:
        size = rng.choice((0, 1, rng.randint(1, 60)))
        parts.append(stream.push(mel[:, start : start + size]))
        start += size
    parts.append(stream.push(mel[:, :0], last=True))
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-4, rtol=0)
    assert whole.abs().max() > 0.01


def test_a_frame_depends_on_nothing_beyond_its_margin(vocoder: HiFTGenerator) -> None:
    mel = torch.randn(1, 80, 120, generator=torch.Generator().manual_seed(0))
    source = 0.1 * torch.randn(1, 1, 120 * 256, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = vocoder.synthesize(mel, source)[0].view(120, 256)
        mel[..., 60] += 3.0
        source[..., 60 * 256 : 61 * 256] += 0.3
        after = vocoder.synthesize(mel, source)[0].view(120, 256)
    changed = (after != before).any(1).nonzero()[:, 0]
    assert 60 - vocoder.margin <= int(changed.min()) < 60 < int(changed.max())
    assert int(changed.max()) <= 60 + vocoder.margin
    assert int(changed.max()) >= 60 + vocoder.margin - 5, "the margin wastes nothing"


def test_one_chunk_is_the_whole(decoder_model: SpeechDecoder) -> None:
    ids = codes(47)
    stream = decoder_model.start(config=StreamConfig(chunks=(1_000,)))
    spoken = torch.cat([stream.push(ids), stream.finish()])
    torch.testing.assert_close(spoken, decoder_model.decode(ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 9, 10, 11, 29, 30, 31, 60, 61, 95, 130])
def test_a_stream_is_as_long_as_the_whole(decoder_model: SpeechDecoder, count: int) -> None:
    ids = codes(count)
    rng = random.Random(count)
    sizes = [rng.choice((0, 1, 26, rng.randint(1, 40))) for _ in range(5)]
    spoken = speak(decoder_model.start(), ids, sizes)
    assert len(spoken) == len(decoder_model.decode(ids))
    assert torch.isfinite(spoken).all()


def test_chunks_do_not_depend_on_how_codes_arrive(decoder_model: SpeechDecoder) -> None:
    ids = codes(83)
    at_once = speak(decoder_model.start(), ids, [83])
    one_by_one = speak(decoder_model.start(), ids, [1] * 83)
    torch.testing.assert_close(at_once, one_by_one, atol=1e-5, rtol=0)


def test_the_first_sound_takes_ten_codes(decoder_model: SpeechDecoder) -> None:
    stream = decoder_model.start()
    assert len(stream.push(codes(9))) == 0
    assert len(stream.push([1])) > 0


def test_what_is_kept_does_not_grow(decoder_model: SpeechDecoder) -> None:
    stream, sizes = decoder_model.start(), []
    for n in range(12):
        stream.push(codes(30, n))
        mel, vocoder = stream._to_mel, stream._to_samples
        kept = (mel._codes, mel._mel.T, mel._noise.T, vocoder._mel.T)
        sizes.append(tuple(map(len, kept)))
    assert len(set(sizes[4:])) <= 2, "but for the rounding of frames"
    assert max(sizes[-1]) <= 7 * 41


def test_the_past_of_a_long_reply_is_that_of_its_window(decoder_model: SpeechDecoder) -> None:
    """Two replies that differ only before the window go on the same."""
    first, second, rest = codes(60, 1), codes(60, 2), codes(30, 3)
    streams = [decoder_model.start()._to_mel for _ in range(2)]
    for stream, ids in zip(streams, (first, second), strict=True):
        stream.push(ids)
    streams[1]._codes, streams[1]._mel = streams[0]._codes, streams[0]._mel
    streams[1]._held = streams[0]._held
    said = [stream._speak(rest, last=True) for stream in streams]
    assert torch.equal(said[0], said[1])


@pytest.mark.parametrize("given", [True, False])
def test_the_mel_of_the_past_is_given_if_the_model_asks_for_it(
    decoder_model: SpeechDecoder, given: bool
) -> None:
    flow = decoder_model.flow
    flow.config = replace(flow.config, stream_prompt=given)
    streams = [decoder_model.start()._to_mel for _ in range(2)]
    for stream in streams:
        stream.push(codes(60))
    streams[1]._mel = streams[1]._mel + 1.0
    said = [stream._speak(codes(30, 1), last=True) for stream in streams]
    assert torch.equal(said[0], said[1]) is not given


def test_two_streams_share_nothing(decoder_model: SpeechDecoder) -> None:
    ids = [codes(70, seed) for seed in (1, 2)]
    streams = [decoder_model.start() for _ in ids]
    parts: list[list[Tensor]] = [[], []]
    for start in range(0, 70, 7):
        for n, stream in enumerate(streams):
            parts[n].append(stream.push(ids[n][start : start + 7]))
    for n, stream in enumerate(streams):
        together = torch.cat([*parts[n], stream.finish()])
        alone = speak(decoder_model.start(), ids[n], [70])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_a_fade_is_exact_at_both_ends() -> None:
    old, new = torch.zeros(2, 8), torch.ones(2, 20)
    faded = fade(old, new)
    assert torch.equal(faded[:, 8:], new[:, 8:])
    assert (faded[0, :8].diff() > 0).all()
    assert faded[0, 0] < 0.02
    assert faded[0, 7] > 0.98
    assert torch.equal(fade(old[:, :0], new), new)
    assert torch.equal(fade(new, new), new), "the weights add up to one"


def test_bad_codes_change_nothing(decoder_model: SpeechDecoder) -> None:
    ids, stream = codes(40), decoder_model.start()
    parts = [stream.push(ids[:20])]
    for wrong in (-1, 64):
        with pytest.raises(AudioError, match=f"speech code {wrong} is not in 0..63"):
            stream.push([3, wrong])
    parts += [stream.push([]), stream.push(ids[20:]), stream.finish()]
    good = speak(decoder_model.start(), ids, [40])
    torch.testing.assert_close(torch.cat(parts), good, atol=1e-5, rtol=0)


def test_a_finished_stream_speaks_no_more(decoder_model: SpeechDecoder) -> None:
    stream = decoder_model.start()
    assert len(stream.finish()) == 0
    with pytest.raises(AudioError, match="finished; start another"):
        stream.push([1])
    with pytest.raises(AudioError, match="finished; start another"):
        stream.finish()


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"chunks": (10, 15)}, "multiples of 10"),
        ({"window": 25}, "multiples of 10"),
        ({"chunks": ()}, "must be positive"),
        ({"window": 0}, "must be positive"),
        ({"overlap": -1}, "not negative"),
    ],
)
def test_impossible_chunks_are_refused(
    decoder_model: SpeechDecoder, config: dict, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        decoder_model.start(config=StreamConfig(**config))
