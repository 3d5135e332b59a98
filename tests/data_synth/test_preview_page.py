"""The page of a preview: whole, harmless, and sounding as the decoder does."""

import io
import json
import os
import shutil
import struct
import zlib
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import soundfile
import torch
from playwright.sync_api import Page

from data_synth import preview_sound
from data_synth.plan import read_plan
from data_synth.preview import Previewer, Sample, Span
from data_synth.preview_page import Preview, page
from data_synth.preview_sound import Heard, audible, listen, speak
from data_synth.spectrogram import png, spectrogram_png
from data_synth.statistics import status
from decoder.config import EncoderConfig, EstimatorConfig, FlowConfig, VocoderConfig
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.vocoder import HiFTGenerator
from tests.data_synth.test_preview import made
from tests.data_synth.tiny import WORDS, tiny_model
from tokenizer.model import SpeechTokenizer
from voiceglm.cli import main
from voiceglm.error_rate import LATIN

EVIL = "<script>alert(1)</script> <img src=x onerror=alert(2)> </p> & $body \"'"
NOTHING = {  # of a synthesis that has just begun
    "counts": {}, "shards": 0, "total": 1, "left_out": {}, "codes_per_span": None,
    "speech_share_percent": None, "character_error_percent": None,
}  # fmt: skip
VOID = {"meta", "img", "link", "br"}


def tiny_decoder(num_codes: int = 20) -> SpeechDecoder:
    """A decoder with random weights."""
    sizes = FlowConfig(
        num_codes=num_codes,
        encoder=EncoderConfig(dim=32, num_heads=4, hidden_dim=64, num_layers=2),
        estimator=EstimatorConfig(
            channels=(16, 16), num_blocks=1, num_mid_blocks=1, num_heads=2, head_dim=8
        ),
        num_steps=2,
    )
    vocoder = VocoderConfig(base_channels=16, f0_channels=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpeechDecoder(FlowModel(sizes), HiFTGenerator(vocoder)).eval()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that can be heard, and a corpus of its speech out of evil documents."""
    home = tmp_path_factory.mktemp("home")
    tiny_model(home / "model")
    tiny_decoder().save(home / "model" / "decoder")
    words = " ".join(WORDS)
    rows = [{"id": f"doc-{n} {EVIL}", "text": f"{words} {EVIL} {words} {n}"} for n in range(10)]
    texts = home / "texts.jsonl"
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made(home / "corpus", texts, home / "model")
    return home


@pytest.fixture
def folder(tmp_path: Path, home: Path) -> Path:
    """The same in a place of its own, where its model can be changed."""
    shutil.copytree(home, tmp_path / "home")
    plan = tmp_path / "home" / "corpus" / "plan.json"
    plan.write_text(plan.read_text().replace(str(home), str(tmp_path / "home")))
    return tmp_path / "home" / "corpus"


class Read(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "what is opened is closed"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1], data))

    def sources(self, tag: str) -> list[bytes]:
        found = [attributes["src"] or "" for name, attributes in self.elements if name == tag]
        return [b64decode(source.partition(";base64,")[2]) for source in found]

    def of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def drawn(folder: Path, count: int = 10) -> list[Sample]:
    plan = read_plan(folder)
    return Previewer.from_plan(plan).samples(folder, plan, count, 0)


def spans_of(samples: list[Sample]) -> list[Span]:
    return [span for sample in samples for span in sample.spans]


def previewed(folder: Path, *arguments: str) -> Read:
    """Run the command and read its page."""
    output = folder.parent / "page.html"
    argv = ["synth", "preview", str(folder), "--samples", "10", "-o", str(output), *arguments]
    assert main(argv) == 0
    return Read(output.read_text(encoding="utf-8"))


def test_documents_stay_text(folder: Path) -> None:
    found = previewed(folder)
    assert found.open == []
    assert not any(tag == "script" for tag, _ in found.elements)
    handlers = [name for _, attributes in found.elements for name in attributes]
    assert not any(name.startswith("on") for name in handlers)
    assert found.of("h2") == [f"doc-{n} {EVIL}" for n in range(10)]
    shown = "".join(text for tag, text in found.texts if tag in ("p", "a"))
    assert shown.count("<script>alert(1)</script>") + shown.count("$body") >= 10


def test_nothing_comes_from_elsewhere(folder: Path) -> None:
    found = previewed(folder)
    links = [
        value or ""
        for _, attributes in found.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster")
    ]
    assert links
    assert all(link.startswith(("data:", "#span-")) for link in links)
    policy = next(a["content"] for tag, a in found.elements if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "script" not in policy
    [style] = found.of("style")
    assert "url(" not in style
    assert "@import" not in style


def test_every_span_sounds_as_decoded_alone(folder: Path) -> None:
    decoder = SpeechDecoder.from_pretrained(folder.parent / "model")
    found = previewed(folder, "--seed", "3")
    spans = spans_of(drawn(folder))
    waves = found.sources("audio")
    assert len(waves) == len(spans) > 5
    for span, wave in zip(spans, waves, strict=True):
        with soundfile.SoundFile(io.BytesIO(wave)) as file:
            assert (file.format, file.subtype, file.samplerate) == ("WAV", "PCM_16", 22_050)
            heard = file.read(dtype="float32")
        wanted = decoder.decode(span.codes, generator=torch.Generator().manual_seed(3))
        np.testing.assert_allclose(heard, wanted.numpy(), atol=1e-4)


def test_what_should_be_said_stands_beside_what_is_read_back(folder: Path) -> None:
    tokenizer = SpeechTokenizer.from_pretrained(folder.parent / "model")
    found = previewed(folder)
    cells = found.of("dd")
    for span in spans_of(drawn(folder)):
        place = cells.index(span.said or "")
        [alone] = tokenizer.read([span.codes])
        assert cells[place + 1] == (alone or "(nothing)")
        assert cells[place + 2].endswith("% of the characters")


def test_the_statistics_are_those_of_the_status(folder: Path) -> None:
    found = previewed(folder)
    wanted = status(folder, read_plan(folder)).to_json()
    figures = dict(zip(found.of("dt"), found.of("dd"), strict=True))
    assert figures["share of speech"] == f"{wanted['speech_share_percent']:g} %"
    assert figures["codes per span"] == f"{wanted['codes_per_span']:g}"
    assert figures["misread characters"] == f"{wanted['character_error_percent']:g} %"
    assert figures["documents left out"] == "none"


def shown(sample: Sample, heard: str) -> Read:
    """Write a page of one span without a sound."""
    known = Heard({}, {0: heard}, 12.5, LATIN, [])
    return Read(page(Preview("x", NOTHING, [sample], known, 0.5)).decode())


@pytest.mark.parametrize(("heard", "stands_out"), [("the cat", False), ("the", True)])
def test_what_would_be_drawn_again_stands_out(heard: str, stands_out: bool) -> None:
    sample = Sample("a", 0, "en", 1.0, [Span(0, [1], "The cat sat!", "The cat sat!")])
    found = Read(
        page(Preview("x", NOTHING, [sample], Heard({}, {0: heard}, 12.5, LATIN, []), 0.5)).decode()
    )
    assert ("dd", {"class": "wrong"} if stands_out else {}) in found.elements[-1:]


def test_silence_is_read_back_as_nothing() -> None:
    found = shown(Sample("a", 0, "en", 1.0, [Span(0, [1], "The cat.", "The cat.")]), "")
    assert found.of("dd")[-2:] == ["(nothing)", "100 % of the characters"]


def test_chinese_that_cannot_be_compared_has_no_error_rate() -> None:
    sample = Sample("a", 0, "zh", 1.0, [Span(0, [1], "猫坐在", "猫坐在")])
    found = shown(sample, "m")
    assert found.of("dt")[-3:] == ["to say", "read back", "wrong"]
    assert found.of("dd")[-1] == "not known: the recognizer does not know this writing"
    known = Heard({}, {0: "猫 站在"}, 12.5, "猫坐在站", [])
    found = Read(page(Preview("x", NOTHING, [sample], known, 0.5)).decode())
    assert found.of("dd")[-1] == "33 % of the characters", "by characters, without spaces"


def test_documents_left_out_are_named_with_the_reason(folder: Path) -> None:
    plan = read_plan(folder)
    found = {**status(folder, plan).to_json(), "left_out": {"duplicate": 3, "no words": 1}}
    tokenizer = SpeechTokenizer.from_pretrained(folder.parent / "model")
    samples = drawn(folder, 1)
    heard = listen(samples, str(folder.parent / "model"), tokenizer, 0)
    assert "3 duplicate, 1 no words" in page(Preview("x", found, samples, heard, 0.5)).decode()


def test_a_model_without_a_decoder_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(folder.parent / "model" / "decoder")
    found = previewed(folder, "--play")
    assert found.sources("audio") == found.sources("img") == []
    assert found.of("mark") == []
    assert len(found.of("sup")) == len(spans_of(drawn(folder))), "the text is there all the same"
    [note] = [text for text in found.of("p") if "no decoder" in text]
    assert capsys.readouterr().err == f"{note}\n"


def test_a_decoder_of_another_codebook_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(folder.parent / "model" / "decoder")
    tiny_decoder(21).save(folder.parent / "model" / "decoder")
    assert previewed(folder).sources("audio") == []
    assert "has 21 codes, its tokenizer 20, so nothing can be heard" in capsys.readouterr().err


def test_a_tokenizer_that_cannot_read_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SpeechTokenizer, "recognizer", None, raising=False)
    load = SpeechTokenizer.from_pretrained

    def silent(name: str) -> SpeechTokenizer:
        tokenizer = load(name)
        tokenizer.recognizer = None
        return tokenizer

    monkeypatch.setattr(SpeechTokenizer, "from_pretrained", silent)
    found = previewed(folder)
    assert "read back" not in found.of("dt")
    assert capsys.readouterr().err == "this tokenizer was stored without a recognizer\n"


def test_without_the_source_it_is_still_heard(folder: Path) -> None:
    (folder.parent / "texts.jsonl").unlink()
    found = previewed(folder)
    spans = spans_of(drawn(folder))
    assert found.of("a") == ["(source not at hand)"] * len(spans)
    assert len(found.sources("audio")) == len(spans)
    assert "read back" in found.of("dt")
    assert "wrong" not in found.of("dt")


def test_a_page_has_only_so_much_sound_and_every_sample_some(folder: Path) -> None:
    decoder = SpeechDecoder.from_pretrained(folder.parent / "model")
    samples = [sample for sample in drawn(folder) if len(sample.spans) > 1]
    firsts = [sample.spans[0] for sample in samples]
    sounds = speak(firsts, decoder, 0)
    room = sum(2 * len(sound.samples) for sound in sounds.values()) + 512 * len(firsts)
    chosen = audible(samples, decoder, room)
    assert [span.number for span in chosen] == [span.number for span in firsts]
    sounds = speak(audible(samples, decoder), decoder, 0)
    assert set(sounds) == {span.number for span in spans_of(samples)}
    assert audible(samples, decoder, 0) == []


def test_spans_without_sound_are_counted(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(folder.parent / "model")
    tokenizer = SpeechTokenizer.from_pretrained(model)
    monkeypatch.setattr(audible, "__defaults__", (0,))
    heard = listen(drawn(folder), model, tokenizer, 0)
    count = len(spans_of(drawn(folder)))
    assert heard.sounds == {}
    assert heard.notes[0].startswith(f"{count} of {count} spans have no sound here")
    assert len(heard.texts) == count


def test_ten_megabytes_are_enough() -> None:
    noise = torch.rand(preview_sound.MAX_BYTES // 2, generator=torch.Generator().manual_seed(0))
    sounds = {0: preview_sound.Sound(2 * noise - 1, 22_050)}
    sample = Sample("a", 0, "en", 1.0, [Span(0, [1] * 1_800, "a", "a")])
    written = page(Preview("x", NOTHING, [sample], Heard(sounds, {}, 12.5, LATIN, []), 0.5))
    assert len(written) < 10_000_000


def test_low_tones_are_at_the_bottom_and_silence_is_dark() -> None:
    seconds = torch.arange(22_050) / 22_050
    tone = 0.5 * torch.sin(2 * torch.pi * 200 * seconds)
    for samples, lit in ((tone, True), (tone * 1e-6, False)):
        levels = pixels(spectrogram_png(samples, 22_050))
        assert levels.shape == (80, 86)
        assert (levels[60:].max() == 255) == lit
        assert levels[:40].max() < 60, "nothing high is in it"


def test_the_loudest_is_always_seen() -> None:
    noise = torch.rand(22_050, generator=torch.Generator().manual_seed(0)) - 0.5
    bright = pixels(spectrogram_png(noise, 22_050)).astype(int)
    quiet = pixels(spectrogram_png(noise / 10, 22_050)).astype(int)
    assert abs(bright - quiet).max() <= 1


def pixels(data: bytes) -> np.ndarray:
    """Read a picture, checking every checksum on the way."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    place = 8
    while place < len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        content = data[place + 8 : place + 8 + length]
        [checksum] = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert checksum == zlib.crc32(name + content)
        chunks[name] = content
        place += 12 + length
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert len(chunks[b"PLTE"]) == 3 * 256
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any(), "no filter"
    return lines[:, 1:]


def test_a_picture_is_read_as_it_was_written() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (3, 5), np.uint8)
    np.testing.assert_array_equal(pixels(png(levels)), levels)


PLAYER = """#!/bin/sh
for last; do :; done
cat "$last" | wc -c >> {log}
exit {status}
"""


@pytest.fixture
def player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for programs, and nothing but the shell's own beside it."""
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "cat", "wc"):
        (tmp_path / "bin" / tool).symlink_to(which(tool) or tool)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin" / "afplay"


def install(player: Path, status: int) -> Path:
    log = player.parent / "log"
    player.write_text(PLAYER.format(log=log, status=status))
    os.chmod(player, 0o755)
    return log


def test_spans_are_played_in_order(folder: Path, player: Path) -> None:
    log = install(player, 0)
    found = previewed(folder, "--play")
    played = [int(line) for line in log.read_text().splitlines()]
    assert played == [len(wave) for wave in found.sources("audio")]


def test_without_a_player_one_line_says_so(
    folder: Path, player: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del player
    assert main(["synth", "preview", str(folder), "--play"]) == 0
    assert capsys.readouterr().err == (
        "nothing is played: none of aplay, ffplay, afplay is installed; see --output\n"
    )


def test_a_player_that_fails_is_an_error_of_one_line(
    folder: Path, player: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = install(player, 3)
    assert main(["synth", "preview", str(folder), "--play"]) == 1
    assert capsys.readouterr().err == "voiceglm synth preview: afplay cannot play: status 3\n"
    assert len(log.read_text().splitlines()) == 1, "it is not asked again"


def test_a_bad_place_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["synth", "preview", str(tmp_path / "none"), "-o", str(tmp_path / "no" / "page.html")]
    assert main(argv) == 1
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.browser
def test_a_browser_shows_it_from_the_disk_on_a_small_screen(folder: Path, phone: Page) -> None:
    complaints: list[str] = []
    phone.on("console", lambda message: complaints.append(message.text))
    phone.on("pageerror", lambda error: complaints.append(str(error)))
    phone.on("dialog", lambda dialog: complaints.append(dialog.message))
    previewed(folder)
    phone.goto((folder.parent / "page.html").as_uri())
    spans = spans_of(drawn(folder))
    phone.wait_for_function("[...document.querySelectorAll('audio')].every(a => a.duration > 0)")
    lengths = phone.eval_on_selector_all("audio", "all => all.map(a => a.duration)")
    assert lengths == pytest.approx([len(span.codes) / 12.5 for span in spans], abs=0.02)
    assert phone.eval_on_selector_all("img", "all => all.every(i => i.naturalHeight === 80)")
    assert phone.evaluate("document.documentElement.scrollWidth") == 360, "nothing to the side"
    assert phone.locator("h2").all_inner_texts()[0].startswith("doc-0 <script>")
    assert complaints == []
