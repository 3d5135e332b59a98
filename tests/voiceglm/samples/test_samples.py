"""Samples: drawn and not picked, whole pages that need nothing else, and texts that stay texts."""

import json
import random
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import torch
from playwright.sync_api import Page

from data_synth import corpus
from data_synth.tts import HELD_OUT_VARIANTS
from data_synth.world import is_held_out
from tests.data_synth.test_preview_page import tiny_decoder
from tests.data_synth.tiny import tiny_model
from tests.voiceglm.evaluation.tiny import Script, record
from voiceglm import chat
from voiceglm.cli import main
from voiceglm.errors import ConfigError, OutputError
from voiceglm.language_model import Sampling
from voiceglm.manifest import Utterance, write_manifest
from voiceglm.samples import comparison, scenes
from voiceglm.samples.comparison import DECODED, ORIGINAL, VOCODED, Comparison, compare, measured
from voiceglm.samples.conversations import Played, Reply, play
from voiceglm.samples.pages import About
from voiceglm.samples.publish import publish
from voiceglm.samples.scenes import Said, Scene, draw_scenes
from voiceglm.style import Style

EVIL = "<script>alert(1)</script> </p> & $body \"' <img src=x>"
ABOUT = About("a model", "0123", "abc", f"voiceglm samples {EVIL}", 3, "2026-01-01")
TONE = 0.3 * torch.sin(torch.arange(16_000) / 20)
VOID = {"meta", "img"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and a run whose test sets all sound alike."""
    home = tmp_path_factory.mktemp("home")
    tiny_model(home / "model")
    tiny_decoder().save(home / "model" / "decoder")
    tone = record(home / "tone.wav")
    rng = random.Random(0)
    for language in ("en", "zh"):
        lines = [corpus.question(rng, "test", language) for _ in range(40)]
        write_set(home, f"questions_{language}", tone, lines)
        talks = corpus.conversations(rng, "test", language, 300, turns=4)
        write_set(
            home, f"conversations_{language}", tone, [line for talk in talks for line in talk]
        )
        lines = [corpus.reading(rng, "test", language) for _ in range(6)]
        write_set(home, f"readings_{language}", tone, lines)
    write_set(home, "orders", tone, [corpus.order(rng, "test")])
    return home


def write_set(home: Path, name: str, tone: Path, lines: list[corpus.Line]) -> None:
    folder = home / "run" / "speech" / f"test_{name}"
    folder.mkdir(parents=True)
    rows = []
    for line in lines:
        extra = dict(line.extra)
        dialogue, turn = extra.pop("dialogue", ""), extra.pop("turn", None)
        about = {"dialogue": dialogue, "turn": turn, "extra": extra, "language": line.language}
        rows.append(Utterance(tone, line.text, speaker=line.voice.name, **about))
    write_manifest(folder / "manifest.jsonl", rows)


def drawn(home: Path, **changes: object) -> dict[str, Scene]:
    asked = {"seed": 0, **changes}
    return {scene.name: scene for scene in draw_scenes(home / "run", **asked)}  # type: ignore[arg-type]


def reply(text: str = "Two.", said: str = "One and one?", answer: str = "Two.") -> Reply:
    return Reply(Said(said, TONE, answer, speaker="a voice"), text, TONE, 16_000)


def sentence(name: str = "en_1_alice", text: str = "A cat.") -> Comparison:
    sounds = {ORIGINAL: TONE, VOCODED: TONE, DECODED: TONE[:-100]}
    return Comparison(name, text, "en", "alice", sounds, 16_000, measured(sounds, 16_000))


class Read(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "what is opened is closed"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def links(self, *tags: str) -> list[str]:
        names = ("src", "href", "srcset", "action", "data", "poster")
        return [
            attributes[name] or ""
            for tag, attributes in self.elements
            for name in names
            if name in attributes and (not tags or tag in tags)
        ]


def pages(folder: Path) -> list[Read]:
    return [Read(folder / name) for name in ("index.html", "decoder.html")]


def test_the_same_seed_draws_the_same_and_another_others(home: Path) -> None:
    def texts(seed: int) -> list[str]:
        return [said.text for scene in drawn(home, seed=seed).values() for said in scene.turns]

    assert texts(0) == texts(0)
    assert texts(0) != texts(1)


def test_questions_are_of_different_skills_and_the_last_in_another_voice(home: Path) -> None:
    found = drawn(home, voices=["bruno"])
    for language in ("en", "zh"):
        asked = [found[f"{language}_{number}"] for number in range(1, 7)]
        assert len({scene.turns[0].skill for scene in asked}) == 6
        assert [scene.voice for scene in asked] == [*["default"] * 5, "bruno"]


def test_a_conversation_has_memory_and_a_follow_up(home: Path) -> None:
    for language in ("en", "zh"):
        talk = drawn(home)[f"{language}_conversation"].turns
        skills = [said.skill for said in talk]
        assert "memory" in skills[skills.index("tell") :]
        assert any(one == other for one, other in pairwise(skills))


def test_a_run_without_such_a_conversation_says_so(home: Path, tmp_path: Path) -> None:
    speech = tmp_path / "run" / "speech"
    speech.mkdir(parents=True)
    for folder in (home / "run" / "speech").iterdir():
        (speech / folder.name).symlink_to(folder)
    (speech / "test_conversations_en").unlink()
    rng = random.Random(1)
    write_set(tmp_path, "conversations_en", home / "tone.wav", [corpus.question(rng, "test")])
    with pytest.raises(ConfigError, match="has both memory and a follow-up"):
        drawn(tmp_path)


def test_a_wish_is_spoken_by_an_unknown_voice_in_unknown_words(home: Path) -> None:
    for name in ("en_whisper", "en_british", "zh_cantonese"):
        scene = drawn(home)[name]
        wish, asked = scene.turns
        assert is_held_out(wish.text)
        assert wish.skill == "style"
        assert wish.style == asked.style == (name.partition("_")[2],), "kept until changed"
        assert wish.speaker == asked.speaker
        assert wish.speaker.partition("+")[2] in HELD_OUT_VARIANTS


def test_people_are_held_out_and_theirs_may_be_published(home: Path) -> None:
    def clip(speaker: str, text: str, **extra: object) -> Utterance:
        about = {"set": "vctk_excerpt", "seconds": 3.0, **extra}
        return Utterance(home / "tone.wav", text, speaker=speaker, extra=about)

    rows = [
        clip("p225", "Please call Stella."),
        clip("p225", "The rainbow is seen."),
        clip("p226", "Please call Stella!"),
        clip("nicolas", "Nobody may hear it.", set="unknown"),
        clip("nicolas", "This is long.", seconds=9.0),
    ]
    write_manifest(home / "people.jsonl", rows)
    found = [one for one in drawn(home, recordings=[home / "people.jsonl"]).values() if one.credit]
    assert [one.turns[0].text for one in found] == ["The rainbow is seen."]
    assert found[0].is_reading
    assert found[0].credit == "CSTR VCTK, CC BY 4.0"


def test_a_run_without_test_sets_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no test set questions_en: expected"):
        draw_scenes(tmp_path, seed=0)


class Talker(Script):
    """Answers in a style."""

    model = SimpleNamespace(vocabulary=None)
    last_reply = SimpleNamespace(style=lambda vocabulary: Style.of(["whisper"]))


def test_every_scene_is_a_conversation_of_its_own_in_its_voice() -> None:
    opened: list[str] = []

    def open_chat(voice: str) -> Talker:
        opened.append(voice)
        return Talker(lambda samples: "two!")

    said = Said("One and one?", TONE, "Two.")
    shown = [Scene("a", "A", [said, said]), Scene("b", "B", [said], "bruno")]
    played = list(play(shown, open_chat, seed=0))  # type: ignore[arg-type]
    assert opened == ["default", "bruno"]
    assert [len(one.replies) for one in played] == [2, 1]
    assert all(one.is_right for both in played for one in both.replies)
    assert all(one.style == ("whisper",) for both in played for one in both.replies)


@pytest.mark.parametrize(
    ("text", "answer", "language", "is_right"),
    [("two", "Two.", "en", True), ("ten", "Two.", "en", False), ("二 ！", "二。", "zh", True)],
)
def test_a_reply_is_right_if_its_words_are(
    text: str, answer: str, language: str, is_right: bool
) -> None:
    said = Said("?", TONE, answer, language)
    assert Reply(said, text, TONE, 16_000).is_right == is_right


def test_texts_stay_texts(tmp_path: Path) -> None:
    scene = Scene("a", f"title {EVIL}", [], credit=f"credit {EVIL}")
    played = Played(scene, [reply(f"reply {EVIL}", f"question {EVIL}", f"answer {EVIL}")])
    publish(tmp_path / "out", ABOUT, [played], [sentence(text=f"sentence {EVIL}")])
    found = pages(tmp_path / "out")
    for read in found:
        assert read.open == []
        assert not any(tag == "script" for tag, _ in read.elements)
        assert not any(name.startswith("on") for _, made in read.elements for name in made)
    shown = "\n".join(text for read in found for text in read.texts)
    for kind in ("title", "credit: ", "reply", "question", "answer", "sentence"):
        assert f"{kind.rstrip(': ')} {EVIL}" in shown


def test_every_sound_is_there_and_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "out"
    played = [Played(Scene(name, "A", []), [reply(), reply()]) for name in ("a", "b")]
    size = publish(out, ABOUT, played, [sentence(), sentence("zh_1_bruno")])
    found = pages(out)
    sounds = [link for read in found for link in read.links("audio")]
    there = {str(path.relative_to(out)) for path in out.rglob("*.ogg")}
    assert len(sounds) == len(set(sounds)) == 2 * 2 * 2 + 2 * 3
    assert set(sounds) == there
    listed = json.loads((out / "samples.json").read_text())
    told = {
        name for part in ("turns", "sentences") for row in listed[part] for name in row["audio"]
    }
    assert told == there
    others = [link for read in found for link in read.links() if link not in sounds]
    assert all(link.startswith("data:image/png") or (out / link).is_file() for link in others)
    assert size == sum(path.stat().st_size for path in out.rglob("*.*"))
    for read in found:
        [policy] = [made["content"] for _, made in read.elements if "http-equiv" in made]
        assert "default-src 'none'" in (policy or "")
        assert "script" not in (policy or "")


def test_a_sound_survives_its_file(tmp_path: Path) -> None:
    publish(tmp_path / "out", ABOUT, [Played(Scene("a", "A", []), [reply()])], [])
    info = soundfile.info(tmp_path / "out" / "audio" / "a_1_reply.ogg")
    assert (info.format, info.subtype, info.samplerate) == ("OGG", "OPUS", 24_000)
    assert info.duration == pytest.approx(1.0, abs=0.01)
    heard, _ = soundfile.read(tmp_path / "out" / "audio" / "a_1_reply.ogg")
    assert heard[6_000:18_000].std() == pytest.approx(0.3 / 2**0.5, rel=0.1)


def test_a_wrong_reply_stands_beside_what_was_expected(tmp_path: Path) -> None:
    played = Played(Scene("a", "A", []), [reply(), reply("Three.")])
    publish(tmp_path / "out", ABOUT, [played], [])
    read, _ = pages(tmp_path / "out")
    assert [text for text in read.texts if "expected" in text][1:] == [
        "as expected",
        "expected: Two.",
    ]
    assert "1 of 2 are" in "".join(read.texts)


def test_a_style_that_was_not_asked_for_is_named(tmp_path: Path) -> None:
    said = Said("One and one?", TONE, "Two.", style=("whisper", "soft"))
    styles = (("whisper", "soft"), ("loud",), ())
    replies = [Reply(said, "Two.", TONE, 16_000, style) for style in styles]
    publish(tmp_path / "out", ABOUT, [Played(Scene("a", "A", []), replies)], [])
    read, _ = pages(tmp_path / "out")
    assert [text for text in read.texts if text.startswith("as expected")] == [
        "as expected",
        "as expected (style: loud)",
        "as expected (style: none)",
    ]
    assert read.texts.count("the assistant, asked for whisper, soft") == 3


def test_each_way_has_its_own_figures(tmp_path: Path) -> None:
    publish(tmp_path / "out", ABOUT, [], [sentence()])
    _, read = pages(tmp_path / "out")
    beside = [text.partition(":")[0] for text in read.texts if text.startswith("to the ")]
    assert beside == ["to the original", "to the original", "to the vocoder"]


def test_what_is_read_aloud_counts_by_characters(tmp_path: Path) -> None:
    scene = Scene("a", "A", [], is_reading=True, credit="LibriVox, public domain")
    said = reply("a bat", "A cat.", "A cat.")
    publish(tmp_path / "out", ABOUT, [Played(scene, [said])], [])
    shown = "".join(pages(tmp_path / "out")[0].texts)
    assert "20 % of the characters misheard" in shown
    assert "0 of 0 are" in shown
    assert "LibriVox, public domain" in shown


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")
    with pytest.raises(OutputError):
        publish(tmp_path, ABOUT, [], [])
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_the_same_sound_is_no_distance_away() -> None:
    tone = TONE * torch.hann_window(len(TONE))
    figures = measured({ORIGINAL: tone, VOCODED: tone, DECODED: 0.1 * tone}, 16_000)
    assert figures[VOCODED, ORIGINAL] == dict.fromkeys(comparison.SHOWN, 0.0)
    assert (figures[DECODED, VOCODED]["log-spectral distance"] or 0) > 1


def test_sentences_are_made_in_three_ways_that_are_three_sounds(home: Path) -> None:
    made = compare(str(home / "model"), home / "run", seed=0)
    assert [one.language for one in made] == ["en"] * 4 + ["zh"] * 4
    assert {one.assistant for one in made} == {"alice"}, "whose voice a model without any has"
    for one in made:
        assert list(one.sounds) == [ORIGINAL, VOCODED, DECODED]
        lengths = [len(sound) / one.sample_rate for sound in one.sounds.values()]
        assert max(lengths) - min(lengths) < 0.1
        assert not any(
            torch.equal(one.sounds[ORIGINAL], one.sounds[way]) for way in (VOCODED, DECODED)
        )


def test_the_command_says_what_it_wrote(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "DEFAULT_SAMPLING", Sampling(temperature=0.0, max_new_ids=45))
    monkeypatch.setattr(scenes, "_SKILLS", 1)
    monkeypatch.setattr(comparison, "_SENTENCES", 1)
    argv = ["samples", str(tmp_path / "out"), "--model", str(home / "model")]
    assert main([*argv, "--run", str(home / "run")]) == 0
    told = json.loads(capsys.readouterr().out)
    turns = json.loads((tmp_path / "out" / "samples.json").read_text())["turns"]
    assert (told["scenes"], told["replies"], told["sentences"]) == (12, len(turns), 2)
    assert told["right"] == sum(turn["right"] for turn in turns)
    read, _ = pages(tmp_path / "out")
    assert f"--run {home / 'run'} --seed 0" in "".join(read.texts)
    assert main(argv) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.browser
def test_a_browser_plays_it_from_the_disk_on_a_small_screen(tmp_path: Path, phone: Page) -> None:
    complaints: list[str] = []
    phone.on("console", lambda message: complaints.append(message.text))
    phone.on("dialog", lambda dialog: complaints.append(dialog.message))
    played = Played(Scene("a", f"A {EVIL}", []), [reply()])
    publish(tmp_path / "out", ABOUT, [played], [sentence()])
    for name, count in (("index.html", 2), ("decoder.html", 3)):
        phone.goto((tmp_path / "out" / name).as_uri())
        all_known = "[...document.querySelectorAll('audio')].every(a => a.duration > 0.9)"
        phone.wait_for_function(all_known)
        assert phone.locator("audio").count() == count
        assert phone.evaluate("document.documentElement.scrollWidth") == 360
    assert complaints == []
