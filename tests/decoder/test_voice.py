"""A voice is a small file: made from good recordings only, read back, for one decoder alone."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.speaker import SpeakerConfig, SpeakerEncoder
from decoder.streaming import StreamConfig
from decoder.vocoder import HiFTGenerator
from decoder.voice import Recording, Voice, make_voice, read_voice, write_voice
from decoder.voices import all_speaking, find_voice, known_voices, speaking, user_folder
from tests.decoder.buzzers import buzz
from tests.decoder.test_streaming import FLOW, VOCODERS
from voiceglm.errors import AudioError, CheckpointError, ConfigError

RATE = 22_050


def swayed_decoder() -> SpeechDecoder:
    """Return a decoder with random weights to which it matters much who speaks."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = SpeechDecoder(FlowModel(FLOW), HiFTGenerator(VOCODERS["as nano"])).eval()
    decoder.flow.spk_embed_affine_layer.weight.data.mul_(30)
    return decoder.requires_grad_(False)


@pytest.fixture
def decoder_model() -> SpeechDecoder:
    return swayed_decoder()


def voice_of(decoder: SpeechDecoder, name: str, seed: int) -> Voice:
    numbers = torch.randn(192, generator=torch.Generator().manual_seed(seed))
    return Voice(
        name=name,
        decoder=decoder.fingerprint,
        sample_rate=RATE,
        seconds=1.0,
        embedding=tuple((numbers / numbers.norm()).tolist()),
    )


def hum(seconds: float) -> Tensor:
    codes = [0, 1, 2, 3] * (int(seconds * 12.5) // 4 + 1)
    return buzz("cid", codes)[: int(RATE * seconds)]


CODES = [number * 7 % 64 for number in range(53)]


def test_a_voice_changes_what_is_heard_and_the_default_stays(decoder_model: SpeechDecoder) -> None:
    plain = decoder_model.decode(CODES)
    ann, ben = (voice_of(decoder_model, name, n) for n, name in enumerate(("ann", "ben")))
    heard = [decoder_model.in_voice(voice).decode(CODES) for voice in (ann, ben)]
    assert all(len(one) == len(plain) for one in heard)
    assert (heard[0] - heard[1]).abs().max() > 1e-3
    assert (heard[0] - plain).abs().max() > 1e-3
    assert torch.equal(decoder_model.decode(CODES), plain), "nothing is left of a voice"
    assert torch.equal(decoder_model.decode(CODES, voice=ann), heard[0])


def test_a_batch_of_voices_equals_its_items(decoder_model: SpeechDecoder) -> None:
    flow, generator = decoder_model.flow, torch.Generator().manual_seed(1)
    speakers = torch.randn(3, 192, generator=generator)
    speakers[2] = 0  # the default voice
    lengths = torch.tensor([20, 12, 7])
    codes = torch.randint(64, (3, 20), generator=generator)
    frames = flow.num_frames(lengths)
    noise = torch.randn(3, 80, int(frames.max()), generator=generator)
    batch = flow.sample(codes, lengths, noise, speaker=speakers)
    for i, (n, m) in enumerate(zip(lengths, frames, strict=True)):
        own = speakers[i : i + 1] if i < 2 else None
        alone = flow.sample(codes[i : i + 1, :n], n[None], noise[i : i + 1, :, :m], speaker=own)
        torch.testing.assert_close(batch[i, :, :m], alone[0], rtol=0, atol=2e-5)


def push_all(stream, sizes: list[int]) -> Tensor:  # type: ignore[no-untyped-def]
    parts, start = [], 0
    for size in sizes:
        parts.append(stream.push(CODES[start : start + size]))
        start += size
    return torch.cat([*parts, stream.push(CODES[start:]), stream.finish()])


@pytest.mark.parametrize("sizes", [[1] * 53, [53], [10, 3, 27], [9, 31, 1, 1]])
def test_how_a_stream_is_pushed_does_not_matter_in_a_voice(
    decoder_model: SpeechDecoder, sizes: list[int]
) -> None:
    ann = decoder_model.in_voice(voice_of(decoder_model, "ann", 0))
    at_once, pushed = push_all(ann.start(), []), push_all(ann.start(), sizes)
    torch.testing.assert_close(at_once, pushed, rtol=0, atol=1e-5)
    assert (pushed - push_all(decoder_model.start(), sizes)).abs().max() > 1e-3


def test_a_stream_of_one_chunk_is_the_whole_in_a_voice(decoder_model: SpeechDecoder) -> None:
    ann = decoder_model.in_voice(voice_of(decoder_model, "ann", 0))
    one_chunk = StreamConfig(chunks=(60,), window=60)
    streamed = push_all(ann.start(config=one_chunk), [20])
    whole = ann.decode(CODES)
    torch.testing.assert_close(streamed, whole, rtol=0, atol=1e-4)


def test_a_truncated_stream_is_a_prefix_in_a_voice(decoder_model: SpeechDecoder) -> None:
    ann = decoder_model.in_voice(voice_of(decoder_model, "ann", 0))
    whole, cut = ann.start(), ann.start()
    first = torch.cat([whole.push(CODES[:20]), whole.push(CODES[20:])])
    begun = cut.push(CODES[:20])
    assert 0 < len(begun) < len(first)
    torch.testing.assert_close(begun, first[: len(begun)], rtol=0, atol=1e-5)


def test_streams_of_two_voices_share_nothing(decoder_model: SpeechDecoder) -> None:
    speakers = [decoder_model.in_voice(voice_of(decoder_model, "v", n)) for n in range(2)]
    alone = [push_all(speaker.start(), [10] * 5) for speaker in speakers]
    streams, parts = [speaker.start() for speaker in speakers], ([], [])
    for start in range(0, len(CODES), 10):
        for stream, part in zip(streams, parts, strict=True):
            part.append(stream.push(CODES[start : start + 10]))
    for stream, part, expected in zip(streams, parts, alone, strict=True):
        assert torch.equal(torch.cat([*part, stream.finish()]), expected)


def test_a_file_gives_the_voice_back(decoder_model: SpeechDecoder, tmp_path: Path) -> None:
    voice = voice_of(decoder_model, "ann", 3)
    path = write_voice(voice, tmp_path)
    assert path.name == "ann.json"
    assert path.stat().st_size < 8_000
    assert read_voice(path) == voice


def test_a_voice_of_another_decoder_is_refused_by_name(decoder_model: SpeechDecoder) -> None:
    voice = voice_of(decoder_model, "ann", 0)
    half = SpeechDecoder(decoder_model.flow, decoder_model.vocoder).half().float()
    half.check_voice(voice)  # published in float16, it is the same decoder
    with torch.no_grad():
        decoder_model.flow.spk_embed_affine_layer.bias.add_(0.1)
    with pytest.raises(CheckpointError, match="the voice ann was made for the decoder"):
        decoder_model.in_voice(voice)
    short = replace(voice, decoder=decoder_model.fingerprint, embedding=(1.0,))
    with pytest.raises(CheckpointError, match="has 1 numbers, this decoder reads 192"):
        decoder_model.check_voice(short)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a JSON object"),
        ("[1]", "expected a JSON object"),
        ("{}", "its format is None"),
        ('{"format": "voiceglm-voice-1", "name": "x"}', "is damaged"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_is_no_voice(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CheckpointError, match=said):
        read_voice(path)


@pytest.mark.parametrize("value", [math.nan, 100.0, 0.0])
def test_an_embedding_that_is_damaged(
    decoder_model: SpeechDecoder, tmp_path: Path, value: float
) -> None:
    path = write_voice(voice_of(decoder_model, "ann", 0), tmp_path)
    row = json.loads(path.read_text())
    row["embedding"] = [value] * 192
    path.write_text(json.dumps(row))
    with pytest.raises(CheckpointError, match="its embedding has the length"):
        read_voice(path)


ENCODER = SpeakerConfig(channels=8, dim=192, dilations=(1,))


def make(recordings: list[tuple[str, Tensor]], name: str = "me") -> Voice:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = SpeakerEncoder(ENCODER).eval()
    heard = [Recording(what, samples, RATE) for what, samples in recordings]
    return make_voice(name, heard, encoder, sample_rate=RATE, decoder="x")


def test_a_voice_of_several_recordings_lies_between_them() -> None:
    noise = 0.1 * torch.randn(RATE * 2, generator=torch.Generator().manual_seed(0))
    one, other = make([("a.wav", hum(2))]), make([("b.wav", noise)])
    both = make([("a.wav", hum(2)), ("b.wav", noise)])
    a, b, middle = (voice.vector()[0] for voice in (one, other, both))
    assert both.seconds == 4.0
    assert float(middle @ a) == pytest.approx(float(middle @ b), abs=1e-4)
    assert float(middle @ a) > float(a @ b)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (torch.zeros(RATE * 2), r"me\.wav is silent"),
        (hum(0.5), r"me\.wav is too short for a voice: 0\.50 s"),
        (hum(0.05), r"me\.wav is too short"),
        (torch.full((RATE * 2,), math.nan), r"me\.wav holds samples that are not numbers"),
        (
            (20 * hum(2)).clamp(-1, 1),
            r"me\.wav is clipped: \d+ % of its samples",
        ),
    ],
)
def test_bad_recordings_are_refused_in_a_line(samples: Tensor, said: str) -> None:
    with pytest.raises(AudioError, match=said) as error:
        make([("good.wav", hum(2)), ("me.wav", samples)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", "../me", "a b", "default", "x" * 65])
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        make([("me.wav", hum(2))], name)


def test_the_users_voices_have_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert user_folder("nano") == Path("/data/voiceglm/voices/nano")
    assert user_folder("/models/mine/") == Path("/data/voiceglm/voices/mine")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # to be ignored, says the specification
    monkeypatch.setenv("HOME", "/home/me")
    assert user_folder("nano") == Path("/home/me/.local/share/voiceglm/voices/nano")


def test_voices_are_found_by_name_and_by_file(
    decoder_model: SpeechDecoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, mine = tmp_path / "model", tmp_path / "mine"
    for folder in (model / "voices", mine):
        folder.mkdir(parents=True)
    bundled, own = voice_of(decoder_model, "ann", 1), voice_of(decoder_model, "ann", 2)
    write_voice(bundled, model / "voices")
    write_voice(voice_of(decoder_model, "ben", 3), model / "voices")
    assert find_voice("ann", decoder_model, model, mine) == bundled
    file = write_voice(own, mine)
    assert find_voice("ann", decoder_model, model, mine) == own, "the user's goes before"
    assert find_voice(str(file), decoder_model, model, tmp_path / "none") == own
    assert find_voice("default", decoder_model, model, mine) is None
    assert speaking(decoder_model, "default", model, mine) is decoder_model
    assert list(known_voices(model, mine)) == ["ann", "ben"]
    with pytest.raises(ConfigError, match="no voice called 'eve'; known: default, ann, ben"):
        find_voice("eve", decoder_model, model, mine)
    write_voice(replace(own, name="old", decoder="0" * 64), mine)
    with pytest.raises(CheckpointError, match="the voice old was made for the decoder 0000"):
        find_voice("old", decoder_model, model, mine)
    assert list(all_speaking(decoder_model, model, mine)) == ["default", "ann", "ben"]
    assert "old.json is left out: the voice old was made for" in caplog.text
