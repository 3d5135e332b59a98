"""A style is heard: as fast as asked, in the voice's tone, as loud; the same however it streams."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from decoder.model import SpeechDecoder
from decoder.speaker import SpeakerEncoder
from decoder.streaming import DecodeStream, StreamConfig
from decoder.style import KNEE, Stretch, amplified
from decoder.voice import Recording, Voice, make_voice, read_voice, write_voice
from decoder.voices import all_speaking, find_voice, speaking
from tests.decoder.test_voice import CODES, ENCODER, RATE, hum, swayed_decoder, voice_of
from voiceglm.errors import AudioError, CheckpointError, ConfigError
from voiceglm.style import RATES, Style

LIMIT = 0.99
WHOLE = StreamConfig(chunks=(60,), window=60)


@pytest.fixture
def decoder_model() -> SpeechDecoder:
    return swayed_decoder()


def ramp(num_frames: int) -> Tensor:
    """Each frame its own number: (2, num_frames)."""
    return torch.arange(num_frames, dtype=torch.float32).repeat(2, 1)


@pytest.mark.parametrize("speed", RATES.values())
@pytest.mark.parametrize("num_frames", [1, 2, 7, 100])
def test_stretched_speech_lasts_as_asked(speed: float, num_frames: int) -> None:
    made = Stretch(speed).push(ramp(num_frames), last=True)
    assert made.shape[1] == pytest.approx(num_frames / speed, abs=0.51)
    steps = made[0].diff()
    inner = steps[1:-1]  # the ends repeat the first and the last frame
    assert torch.allclose(inner, torch.full_like(inner, speed), atol=1e-4)
    if num_frames > 1:
        assert 0 <= float(made.min()) <= float(made.max()) <= num_frames - 1


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("seed", range(6))
def test_cut_anywhere_a_stretch_is_the_same(name: str, seed: int) -> None:
    rng = random.Random(f"{name}/{seed}")
    mel = torch.randn(3, rng.randint(1, 90), generator=torch.Generator().manual_seed(seed))
    whole = Stretch(RATES[name]).push(mel, last=True)
    stretch, parts, start = Stretch(RATES[name]), [], 0
    while start < mel.shape[1]:
        size = rng.choice((0, 1, 2, rng.randint(1, 40)))
        parts.append(stretch.push(mel[:, start : start + size]))
        start += size
    parts.append(stretch.push(mel[:, :0], last=True))
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_a_stretch_waits_for_one_frame_only() -> None:
    stretch = Stretch(0.5)
    assert stretch.push(ramp(10)).shape[1] == 19, "all but what lies behind the tenth's middle"


def test_nothing_stays_nothing() -> None:
    for speed in (1.0, 0.62, 1.6):
        assert Stretch(speed).push(ramp(0), last=True).shape == (2, 0)


def test_louder_is_never_too_loud_and_hardly_bent() -> None:
    samples = torch.linspace(-1, 1, 2_001)
    loud = amplified(samples, 5.0, LIMIT)
    gain = 10 ** (5 / 20)
    assert float(loud.abs().max()) <= LIMIT
    assert (loud.diff() > 0).all(), "the order of samples stays"
    kept = (gain * samples).abs() <= KNEE
    assert torch.equal(loud[kept], gain * samples[kept])
    assert float((loud.diff().diff()).abs().max()) < 1e-4, "without a corner"
    assert torch.equal(amplified(samples, -8.0, LIMIT), samples * 10 ** (-8 / 20))
    assert torch.equal(amplified(samples, 0.0, LIMIT), samples)


def toned(decoder: SpeechDecoder) -> Voice:
    tone = voice_of(decoder, "x", 7).embedding
    return replace(voice_of(decoder, "ann", 0), tones={"whisper": tone})


def spoken(stream: DecodeStream, size: int = 10) -> Tensor:
    parts = [stream.push(CODES[start : start + size]) for start in range(0, len(CODES), size)]
    return torch.cat([*parts, stream.finish()])


STYLES = [
    Style(rate="slow_3"),
    Style(rate="fast_2", tone="whisper"),
    Style("british", "slow_1", "whisper", "loud"),
    Style(volume="soft"),
]


@pytest.mark.parametrize("style", STYLES)
def test_a_styled_stream_of_one_chunk_is_the_whole(
    decoder_model: SpeechDecoder, style: Style
) -> None:
    ann = decoder_model.in_voice(toned(decoder_model))
    told = ann.start(config=WHOLE)
    for name in style.names():
        told.style(name)
    heard = spoken(told)
    torch.testing.assert_close(heard, ann.decode(CODES, style=style), atol=1e-4, rtol=0)
    assert torch.equal(heard, spoken(ann.start(config=WHOLE, style=style)))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [1, 53, 17])
def test_how_a_styled_stream_is_pushed_does_not_matter(
    decoder_model: SpeechDecoder, style: Style, size: int
) -> None:
    ann = decoder_model.in_voice(toned(decoder_model))
    at_once, pushed = (spoken(ann.start(style=style), n) for n in (10, size))
    torch.testing.assert_close(pushed, at_once, atol=1e-5, rtol=0)


def test_rates_last_as_long_as_asked(decoder_model: SpeechDecoder) -> None:
    plain = len(decoder_model.decode(CODES))
    for name, speed in RATES.items():
        styled = len(spoken(decoder_model.start(style=Style(rate=name))))
        assert styled == pytest.approx(plain / speed, abs=256)


def test_a_tone_is_the_voices_own_and_only_where_it_has_one(decoder_model: SpeechDecoder) -> None:
    voice = toned(decoder_model)
    ann = decoder_model.in_voice(voice)
    in_tone = replace(voice, embedding=voice.tones["whisper"])
    whispered = ann.decode(CODES, style=Style(tone="whisper"))
    assert torch.equal(whispered, decoder_model.decode(CODES, voice=in_tone))
    plain = ann.decode(CODES)
    assert (whispered - plain).abs().max() > 1e-3
    assert torch.equal(ann.decode(CODES, style=Style(tone="sad")), plain), "a tone it lacks"
    assert torch.equal(ann.decode(CODES, style=Style(accent="scottish")), plain)
    by_itself = decoder_model.decode(CODES, style=Style(tone="whisper"))
    assert torch.equal(by_itself, decoder_model.decode(CODES)), "the voice without a file"


def test_replies_on_one_decoder_have_styles_of_their_own(decoder_model: SpeechDecoder) -> None:
    ann = decoder_model.in_voice(toned(decoder_model))
    styles = [Style(rate="slow_2"), Style(tone="whisper", volume="loud"), Style()]
    alone = [spoken(ann.start(style=style)) for style in styles]
    streams = [ann.start(style=style) for style in styles]
    parts: list[list[Tensor]] = [[] for _ in styles]
    for start in range(0, len(CODES), 10):
        for stream, part in zip(streams, parts, strict=True):
            part.append(stream.push(CODES[start : start + 10]))
    for stream, part, expected in zip(streams, parts, alone, strict=True):
        assert torch.equal(torch.cat([*part, stream.finish()]), expected)


def test_a_style_comes_before_the_first_code(decoder_model: SpeechDecoder) -> None:
    stream, untouched = decoder_model.start(), decoder_model.start()
    stream.push([])
    with pytest.raises(ConfigError, match="no style is called 'angry'"):
        stream.style("angry")
    begun = [stream.push(CODES[:1]), untouched.push(CODES[:1])]
    assert begun[0].shape == begun[1].shape
    with pytest.raises(AudioError, match="begun in its style"):
        stream.style("loud")
    assert torch.equal(stream.finish(), untouched.finish()), "the stream is unchanged"


def test_a_file_keeps_tones_and_old_files_have_none(
    decoder_model: SpeechDecoder, tmp_path: Path
) -> None:
    voice = toned(decoder_model)
    file = write_voice(voice, tmp_path)
    assert read_voice(file) == voice
    plain = replace(voice, tones={})
    assert "tones" not in write_voice(plain, tmp_path).read_text()
    assert read_voice(file) == plain
    write_voice(replace(voice, tones={"sad": (0.0,) * 192}), tmp_path)
    with pytest.raises(CheckpointError, match=r"embedding has the length 0, not 1"):
        read_voice(file)
    short = replace(voice, tones={"sad": (1.0,)})
    with pytest.raises(CheckpointError, match="has 1 numbers, this decoder reads 192"):
        decoder_model.check_voice(short)


def test_tones_are_made_from_recordings() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = SpeakerEncoder(ENCODER).eval()
    noise = 0.1 * torch.randn(RATE * 2, generator=torch.Generator().manual_seed(0))
    heard = {name: [Recording(name, samples, RATE)] for name, samples in
             (("a", hum(2)), ("b", noise))}  # fmt: skip

    def made(tones: dict[str, list[Recording]]) -> Voice:
        return make_voice("me", heard["a"], encoder, sample_rate=RATE, decoder="x", tones=tones)

    both = made({"whisper": heard["b"]})
    alone = make_voice("me", heard["b"], encoder, sample_rate=RATE, decoder="x")
    assert both.tones == {"whisper": alone.embedding}
    assert both.seconds == 2.0, "of the voice by itself"
    with pytest.raises(ConfigError, match="'angry' is no tone of a voice; known: low, "):
        made({"angry": heard["b"]})
    with pytest.raises(ConfigError, match="the voice me, sad, needs a recording at least"):
        made({"sad": []})


def test_a_model_may_bring_the_voice_it_speaks_with_by_default(
    decoder_model: SpeechDecoder, tmp_path: Path
) -> None:
    (tmp_path / "voices").mkdir()
    write_voice(toned(decoder_model), tmp_path / "voices")
    assert find_voice("default", decoder_model, tmp_path, tmp_path) is None
    own = replace(toned(decoder_model), name="default")
    write_voice(own, tmp_path / "voices")
    assert find_voice("default", decoder_model, tmp_path, tmp_path) == own
    ann = speaking(decoder_model, "ann", tmp_path, tmp_path).decode(CODES)
    assert torch.equal(speaking(decoder_model, "default", tmp_path, tmp_path).decode(CODES), ann)
    every = all_speaking(decoder_model, tmp_path, tmp_path)
    assert list(every) == ["default", "ann"]
    assert torch.equal(every["default"].decode(CODES), ann)
    with pytest.raises(ConfigError, match="known: default, ann;"):
        find_voice("eve", decoder_model, tmp_path, tmp_path)
