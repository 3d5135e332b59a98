"""Any text is spoken: in order, resumable, by a server that may be in trouble."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import data_synth.speak
import data_synth.speak_texts
from data_synth.speak_texts import Spoken, speak_texts
from data_synth.speech_endpoint import Patience, SpeechEndpoint, address
from data_synth.texts import SpeechConfig, read_as
from tests.speech_server import Answer, endless, serving, spoken, tone
from voiceglm.audio import resample
from voiceglm.errors import ConfigError, OutputError, SynthesisError
from voiceglm.manifest import read_manifest, read_samples

HASTY = Patience(first=0.001, longest=0.002, give_up=30)
TEXTS = [
    f"Line {word}." for word in ["one", "two", "three", "four", "five", "six", "seven", "eight"]
]
MISSING = Answer(404, b'{"error": {"message": "no such\\nvoice"}}')


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_synth.speak, "LINES_PER_PACK", 3)


def texts(folder: Path, lines: Sequence[str | bytes | dict[str, Any]] = TEXTS) -> Path:
    """Write lines as the file their kind asks for."""
    rows = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    data = [row.encode() if isinstance(row, str) else row for row in rows]
    path = folder / ("texts.jsonl" if isinstance(lines[0], dict) else "texts.txt")
    path.write_bytes(b"\n".join(data) + b"\n")
    return path


def run(
    file: Path,
    folder: Path,
    url: str,
    *,
    parallel: int = 4,
    patience: Patience = HASTY,
    key: str | None = None,
    **config: Any,
) -> Spoken:
    """Speak with a server."""
    settings = SpeechConfig(**{"voices": ("ann", "bob"), "sample_rate": 16_000, **config})

    def begin() -> SpeechEndpoint:
        return SpeechEndpoint(
            url,
            "tts",
            sample_rate=settings.sample_rate,
            parallel=parallel,
            key=key,
            patience=patience,
        )

    return speak_texts(file, folder, settings, begin, about={"synthesizer": "a server"})


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def reasons(found: Spoken) -> dict[int, str]:
    return {row["line"]: row["reason"] for row in found.left_out}


def test_lines_become_packs_in_order(tmp_path: Path) -> None:
    later = {text: 0.03 * (len(TEXTS) - n) for n, text in enumerate(TEXTS)}
    with serving(lambda r, _: spoken(r, seconds=later[r["input"]])) as (url, speaker):
        found = run(texts(tmp_path), tmp_path / "set", f"{url}/v1/", key="secret")
    assert [u.text for u in found.utterances] == TEXTS
    assert found.left_out == []
    assert read_manifest(tmp_path / "set" / "manifest.jsonl") == found.utterances
    assert [u.recording.name for u in found.utterances[2:4]] == ["pack_0000.wav", "pack_0001.wav"]
    for utterance in found.utterances:
        expected = torch.from_numpy(tone(utterance.text or "", utterance.speaker)).float()
        expected = resample(expected, 24_000, 16_000)
        heard = read_samples(utterance, 16_000)
        torch.testing.assert_close(heard, expected, rtol=0, atol=1e-3)
    first = {
        "path": "/v1/audio/speech",
        "model": "tts",
        "voice": found.utterances[0].speaker,
        "input": TEXTS[0],
        "response_format": "wav",
    }
    assert first in speaker.requests
    assert speaker.keys == {"Bearer secret"}


def test_as_many_requests_at_once_as_are_asked_for(tmp_path: Path) -> None:
    together = threading.Barrier(3)

    def decide(request: dict[str, Any], _: int) -> Answer:
        if request["input"] in TEXTS[:6]:
            together.wait(60)
        return spoken(request)

    with serving(decide) as (url, speaker):
        run(texts(tmp_path), tmp_path / "set", url, parallel=3)
    assert speaker.most_at_once == 3


def test_one_request_at_once_or_many_give_the_same_files(tmp_path: Path) -> None:
    with serving() as (url, _):
        for parallel in (1, 8):
            run(texts(tmp_path), tmp_path / str(parallel), url, parallel=parallel)
    assert files(tmp_path / "1") == files(tmp_path / "8")


def test_more_lines_than_are_kept_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_synth.speak_texts, "AHEAD", 2)
    with serving() as (url, _):
        found = run(texts(tmp_path), tmp_path / "set", url)
    assert [u.text for u in found.utterances] == TEXTS


def test_a_voice_follows_from_the_seed_and_the_number_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    voices = ("ann", "bob", "cat", "dan")
    with serving() as (url, _):
        whole = run(texts(tmp_path), tmp_path / "set", url, voices=voices)
        part = texts(tmp_path / "b", ["", "other", *TEXTS[2:5]])
        fewer = run(part, tmp_path / "b" / "set", url, voices=voices)
        other = run(texts(tmp_path), tmp_path / "other", url, voices=voices, seed=1)
    drawn = [u.speaker for u in whole.utterances]
    assert [u.speaker for u in fewer.utterances] == drawn[1:5], "an empty line has a number too"
    assert len(set(drawn)) > 1
    assert [u.speaker for u in other.utterances] != drawn


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000])
@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "pcm", "endless"])
def test_any_format_and_rate_is_the_same_speech(tmp_path: Path, kind: str, rate: int) -> None:
    def decide(request: dict[str, Any], _: int) -> Answer:
        if kind == "endless":
            return endless(spoken(request, rate=rate))
        return spoken(request, kind, rate)

    with serving(decide) as (url, _):
        [utterance] = run(texts(tmp_path, ["Hello."]), tmp_path / "set", url).utterances
    heard = read_samples(utterance, 16_000)
    expected = torch.from_numpy(tone("Hello.", utterance.speaker, 16_000)).float()
    assert len(heard) == pytest.approx(len(expected), abs=10 if kind != "mp3" else 3_000)
    loudest = [int(np.abs(np.fft.rfft(x[:3_200].numpy())).argmax()) for x in (heard, expected)]
    assert loudest[0] == pytest.approx(loudest[1], abs=1), "at the same pitch"


TROUBLE = {
    "429": Answer(429, b"slow down"),
    "503": Answer(503, b"busy"),
    "408": Answer(408),
    "garbage": Answer(200, b"<html>hello</html>"),
    "empty": Answer(200, b""),
    "truncated": Answer(200, spoken({"input": "x", "voice": "y"}).body[:999]),
    "dies in the middle": Answer(200, b"RIFF" + bytes(5_000), sent=1_000),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_that_passes_leaves_no_trace(tmp_path: Path, trouble: str) -> None:
    def decide(request: dict[str, Any], attempt: int) -> Answer:
        return TROUBLE[trouble] if attempt <= 2 else spoken(request)

    with serving() as (url, _):
        run(texts(tmp_path), tmp_path / "good", url)
    with serving(decide) as (url, speaker):
        run(texts(tmp_path), tmp_path / "bad", url)
    assert set(speaker.attempts.values()) == {3}
    assert files(tmp_path / "bad") == files(tmp_path / "good")


@pytest.mark.parametrize("asked", ["7", "2.5", "a date"])
def test_it_waits_as_long_as_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    waits: list[float] = []
    really_sleep = asyncio.sleep

    async def sleep(seconds: float, *args: Any) -> None:
        waits.append(seconds)
        await really_sleep(0)

    def decide(request: dict[str, Any], attempt: int) -> Answer:
        header = formatdate(4_000_000_000, usegmt=True) if asked == "a date" else asked
        later = Answer(429, headers={"Retry-After": header})
        return [later, Answer(500), Answer(500)][attempt - 1] if attempt < 4 else spoken(request)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    patient = Patience(first=0.5, longest=30, give_up=1e12)
    with serving(decide) as (url, _):
        run(texts(tmp_path, ["Hello."]), tmp_path / "set", url, patience=patient)
    if asked == "a date":
        assert waits[0] > 1_000_000
    else:
        assert waits[0] == float(asked)
    assert waits[1:3] == [1.0, 2.0], "each wait is twice the one before"


def test_waits_stop_growing() -> None:
    assert [Patience().delay(n) for n in (1, 2, 3, 7, 8, 10_000)] == [0.5, 1, 2, 30, 30, 30]


@pytest.mark.parametrize("how", ["refuses to connect", "never answers", "always fails"])
def test_a_dead_endpoint_is_one_clear_error_and_finished_packs_are_kept(
    tmp_path: Path, how: str
) -> None:
    def decide(request: dict[str, Any], _: int) -> Answer:
        if request["input"] in TEXTS[:3]:
            return spoken(request)
        return Answer(500) if how == "always fails" else Answer(seconds=2)

    file, folder = texts(tmp_path), tmp_path / "set"
    brief = Patience(first=0.001, longest=0.01, give_up=0.2, silent=0.05, attempts=10**6)
    with serving() as (url, _):
        whole = run(file, tmp_path / "whole", url)
    with serving(decide) as (dying, _), pytest.raises(SynthesisError) as caught:
        # One request at once: the first pack is spoken before the trouble begins.
        run(file, folder, dying, parallel=1, patience=brief)
    if how == "refuses to connect":
        with pytest.raises(SynthesisError) as caught:
            run(file, folder, dying, parallel=1, patience=brief)
    message = str(caught.value)
    assert message.startswith(f"the endpoint at {dying}/v1/audio/speech gave nothing for")
    assert "\n" not in message
    assert sorted(files(folder)) == ["lock", "pack_0000.jsonl", "pack_0000.wav", "settings.json"]
    with serving() as (url, speaker):
        assert len(run(file, folder, url).utterances) == len(whole.utterances)
    assert set(speaker.attempts) == set(TEXTS[3:]), "what is spoken is not asked for again"
    assert files(folder) == files(tmp_path / "whole")


def test_a_line_that_is_refused_is_left_out_with_its_reason(tmp_path: Path) -> None:
    def decide(request: dict[str, Any], _: int) -> Answer:
        return MISSING if request["input"] in TEXTS[1:6] else spoken(request)

    with serving(decide) as (url, speaker):
        found = run(texts(tmp_path), tmp_path / "set", url)
    assert [u.text for u in found.utterances] == [TEXTS[0], *TEXTS[6:]]
    assert reasons(found) == dict.fromkeys(range(2, 7), "404 no such voice")
    rows = (tmp_path / "set" / "left_out.jsonl").read_text().splitlines()
    assert [json.loads(row) for row in rows] == found.left_out
    assert found.left_out[0]["text"] == TEXTS[1]
    assert max(speaker.attempts.values()) == 1, "what is refused is not asked again"
    with serving() as (url, speaker):
        assert run(texts(tmp_path), tmp_path / "set", url) == found
    assert speaker.requests == [], "it is left out for good"


def test_a_line_that_always_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    def decide(request: dict[str, Any], _: int) -> Answer:
        return Answer(500, b"boom") if request["input"] == TEXTS[0] else spoken(request)

    slow = Patience(first=0.1, longest=0.1, give_up=30, attempts=3)
    with serving(decide) as (url, speaker):
        found = run(texts(tmp_path), tmp_path / "set", url, patience=slow)
    assert reasons(found) == {1: "500 boom, 3 times"}
    assert speaker.attempts[TEXTS[0]] == 3


def test_a_server_that_serves_others_is_not_dead(tmp_path: Path) -> None:
    """A line that has to wait for longer than a dead server would be waited for."""
    others: list[str] = []

    def decide(request: dict[str, Any], _: int) -> Answer:
        if request["input"] == TEXTS[0]:
            return spoken(request) if len(others) == 7 else Answer(429)
        others.append(request["input"])
        return spoken(request, seconds=0.5)

    brief = Patience(first=0.05, longest=0.05, give_up=3)
    with serving(decide) as (url, _):
        found = run(texts(tmp_path), tmp_path / "set", url, parallel=2, patience=brief)
    assert [u.text for u in found.utterances] == TEXTS


def test_a_wrong_key_stops_the_run(tmp_path: Path) -> None:
    with (
        serving(lambda *_: Answer(401, b'{"message": "who are you"}')) as (url, _),
        pytest.raises(SynthesisError, match=r"refuses the key \(401 who are you\); set OPENAI"),
    ):
        run(texts(tmp_path), tmp_path / "set", url)


def test_nothing_spoken_at_all_is_an_error(tmp_path: Path) -> None:
    with (
        serving(lambda *_: MISSING) as (url, _),
        pytest.raises(SynthesisError, match="all 8 lines were left out, the first because of: 404"),
    ):
        run(texts(tmp_path), tmp_path / "set", url)


def test_silence_is_left_out(tmp_path: Path) -> None:
    def decide(request: dict[str, Any], _: int) -> Answer:
        quiet = Answer(200, bytes(20_000), {"Content-Type": "audio/pcm"})
        return quiet if request["input"] == TEXTS[1] else spoken(request)

    with serving(decide) as (url, _):
        found = run(texts(tmp_path), tmp_path / "set", url)
    assert "is silent" in reasons(found)[2]


def test_a_redirect_is_no_speech(tmp_path: Path) -> None:
    with (
        serving(lambda *_: Answer(302, headers={"Location": "/"})) as (url, _),
        pytest.raises(SynthesisError, match="answers with 302, not with audio"),
    ):
        run(texts(tmp_path), tmp_path / "set", url)


def test_lines_that_cannot_be_spoken_are_counted(tmp_path: Path) -> None:
    lines = [b"\xef\xbb\xbfHello.", b"", b"caf\xe9", "CafÃ© au lait".encode(), b"...", b"a\0b"]
    lines += ["word " * 20_000, "7" * 4_000, "Bye.\r"]
    with serving() as (url, speaker):
        found = run(texts(tmp_path, lines), tmp_path / "set", url)
    assert [u.text for u in found.utterances] == ["Hello.", "Bye."]
    assert reasons(found) == {
        3: "not UTF-8",
        4: "it was read in a wrong encoding (mojibake)",
        5: "nothing to say",
        6: "it holds zero bytes; is it UTF-16?",
        7: "100,000 characters, over 4,096; cut it into sentences",
        8: "23,999 characters, over 4,096; cut it into sentences",
    }
    assert all(len(row["text"]) <= 200 for row in found.left_out)
    assert len(speaker.requests) == 2


def test_rows_bring_their_own_voice_and_language_and_keep_what_else_they_hold(
    tmp_path: Path,
) -> None:
    rows = [
        {"text": "I am 5.", "voice": "zoe", "id": 7, "path": "x", "start": 3, "speaker": "me"},
        {"text": "我5岁。", "language": "zh", "voice": None},
        {"text": "a\u2028b", "id": [1, {"a": None}]},
        {"text": "Ich bin 5.", "language": "de"},
        {"text": 5},
        {"voice": "zoe"},
        {"text": "hm", "voice": 5},
    ]
    file = texts(tmp_path, rows)
    file.write_bytes(file.read_bytes() + b'[1]\n{\n{"text": "\\ud800"}\n"\xff"\n')
    with serving() as (url, speaker):
        found = run(file, tmp_path / "set", url)
    first, second, third = found.utterances
    assert (first.text, first.speaker, first.language) == ("I am five.", "zoe", "en")
    assert first.extra == {"id": 7, "written": "I am 5."}
    assert first.path == tmp_path / "set" / "pack_0000.wav"
    assert (second.text, second.language) == ("我五岁。", "zh")
    assert third.extra == {"id": [1, {"a": None}], "written": "a\u2028b"}
    assert speaker.attempts["I am five."] == 1
    assert reasons(found) == {
        4: "numbers cannot be written as words in 'de'",
        5: "its text is not a string",
        6: "its text is not a string",
        7: "its voice is not a string",
        8: "not a JSON object",
        9: "not a JSON object",
        10: "not UTF-8",
        11: "not UTF-8",
    }


def test_text_can_be_spoken_as_it_is_written(tmp_path: Path) -> None:
    lines = ["I am 5.", "a\u2028b"]
    with serving() as (url, _):
        found = run(texts(tmp_path, lines), tmp_path / "set", url, normalize=False, language="de")
    assert [(u.text, u.language) for u in found.utterances] == [(line, "de") for line in lines]
    assert found.utterances[0].extra == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"language": "de"}, "in en and zh, not in 'de'; add --no-normalize"),
        ({"sample_rate": 500}, "cannot speak at 500 Hz"),
    ],
)
def test_settings_that_cannot_be_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SpeechConfig(voices=("ann",), **config)


def test_languages_by_any_name() -> None:
    names = ("en", "en-GB", "EN_us", "zh", "zh-Hans", "cmn", "de", "")
    assert [read_as(name) for name in names] == ["en", "en", "en", "zh", "zh", "zh", None, None]


@pytest.mark.parametrize(
    "url", ["http://a", "http://a/", "http://a/v1", "http://a/v1/audio/speech"]
)
def test_an_address_with_or_without_its_path(url: str) -> None:
    assert address(url) == "http://a/v1/audio/speech"


@pytest.mark.parametrize("url", ["a", "ftp://a", "http://", "", "file:///etc"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a server"):
        address(url)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"voices": ("ann",)}, "voices was ann bob, is ann"),
        ({"normalize": False, "sample_rate": 8_000}, "sample_rate was 16000, is 8000; normalize"),
    ],
)
def test_a_folder_of_other_settings_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "set"
    with serving() as (url, _):
        run(texts(tmp_path), folder, url)
        before = files(folder)
        with pytest.raises(OutputError, match=message):
            run(texts(tmp_path), folder, url, **changed)
    assert files(folder) == before


def test_a_folder_of_other_texts_is_refused(tmp_path: Path) -> None:
    with serving() as (url, _):
        run(texts(tmp_path), tmp_path / "set", url)
        with pytest.raises(OutputError, match=r"begun otherwise \(with other texts\); name"):
            run(texts(tmp_path, TEXTS[:4]), tmp_path / "set", url)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("mine")
    with serving() as (url, _), pytest.raises(OutputError, match="exists already"):
        run(texts(tmp_path), tmp_path / "set", url)
    assert files(tmp_path / "set") == {"thesis.txt": b"mine"}


def test_a_run_that_spoke_nothing_binds_nobody(tmp_path: Path) -> None:
    brief = Patience(first=0.001, give_up=0.01)
    with pytest.raises(SynthesisError):
        run(texts(tmp_path), tmp_path / "set", "http://127.0.0.1:9", patience=brief)
    (tmp_path / "set" / ".settings.json.1.tmp").write_text("of a killed run")
    with serving() as (url, _):
        run(texts(tmp_path), tmp_path / "set", url, seed=5)
        run(texts(tmp_path), tmp_path / "other", url, seed=5)
    assert files(tmp_path / "set") == files(tmp_path / "other")


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    with serving() as (url, _):
        run(texts(tmp_path), tmp_path / "set", url)
        (tmp_path / "set" / "settings.json").write_text("{")
        with pytest.raises(OutputError, match=r"cannot read .*settings\.json"):
            run(texts(tmp_path), tmp_path / "set", url)


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf\n"])
def test_a_file_without_text_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "texts.txt").write_bytes(data)
    with pytest.raises(ConfigError, match="holds no text to speak"):
        run(tmp_path / "texts.txt", tmp_path / "set", "http://127.0.0.1:9")
    assert not (tmp_path / "set").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*no\.txt: No such file"):
        run(tmp_path / "no.txt", tmp_path / "set", "http://127.0.0.1:9")


def test_a_full_disk_is_an_output_error_and_the_run_goes_on_later(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    file = texts(tmp_path)
    with serving() as (url, _):
        with full_disk(), pytest.raises(OutputError, match="cannot write"):
            run(file, tmp_path / "set", url)
        assert not list((tmp_path / "set").glob("*.wav"))
        run(file, tmp_path / "set", url)
        run(file, tmp_path / "other", url)
    assert files(tmp_path / "set") == files(tmp_path / "other")


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "set"):
        with pytest.raises(OutputError, match="cannot write"):
            run(texts(tmp_path), folder, "http://127.0.0.1:9")
