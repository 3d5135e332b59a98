"""People's recordings as rows: heard in several ways, answered by the assistant, written alike."""

from pathlib import Path

import pytest
import torch

from data_synth.asked import as_sentence, encode_people, speak_answers
from tests.data_synth.tiny import tiny_model
from tokenizer.model import SpeechTokenizer
from voiceglm.audio import save_audio
from voiceglm.augmentation import Sounds
from voiceglm.manifest import Utterance

RATE = 16_000


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SpeechTokenizer:
    return SpeechTokenizer.from_pretrained(
        tiny_model(tmp_path_factory.mktemp("model")) / "tokenizer"
    )


def clip(folder: Path, name: str, text: str | None, **extra: object) -> Utterance:
    noise = torch.rand(2 * RATE, generator=torch.Generator().manual_seed(len(name))) - 0.5
    swell = torch.linspace(0, 1, 2 * RATE)
    save_audio(folder / f"{name}.wav", noise * swell, RATE)
    return Utterance(folder / f"{name}.wav", text, speaker="ann", extra=extra)


def test_few_recordings_become_many(tokenizer: SpeechTokenizer, tmp_path: Path) -> None:
    order = clip(tmp_path, "a", None, skill="orders", answer="One latte.")
    digits = clip(tmp_path, "bb", "one, two", skill="digits", answer="One, two.")
    read = clip(tmp_path, "ccc", "HELLO AND I")
    sounds = Sounds(noises=[clip(tmp_path, "noise", None)])
    rows = encode_people(tokenizer, [order, digits, read], tmp_path / "m.jsonl", sounds=sounds)
    assert [row.text for row in rows] == [None] * 24 + ["One, two."] * 4 + ["Hello and I."] * 2
    assert {row.extra["answer"] for row in rows[:24]} == {"One latte."}
    lengths = {len(row.extra["codes"]) for row in rows[:24]}
    assert len(lengths) > 2, "slower and faster"
    assert all(22 <= length <= 28 for length in lengths), "by a tenth"
    assert encode_people(tokenizer, [], tmp_path / "m.jsonl") == rows, "done already"


def test_nobody_asked(tokenizer: SpeechTokenizer, tmp_path: Path) -> None:
    assert encode_people(tokenizer, [], tmp_path / "m.jsonl") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("HE SAID I'LL COME", "He said I'll come."),
        ("he said i come", "He said I come."),
        ("Ask her to bring these things.", "Ask her to bring these things."),
        ("Is it McDonald", "Is it McDonald."),
        ("三星公布了方案", "三星公布了方案。"),
        ("你好吗？", "你好吗？"),
    ],
)
def test_transcripts_are_written_as_sentences(text: str, sentence: str) -> None:
    assert as_sentence(text) == sentence


def test_the_assistant_says_what_it_has_not_said(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    asked = [
        Utterance(tmp_path / "a.wav", None, extra={"answer": answer})
        for answer in ("One latte.", "One mocha.", "One latte.", "Seven.")
    ]
    said = [
        Utterance(tmp_path / "b.wav", "Seven.", extra={"dialect": ""}),
        Utterance(tmp_path / "c.wav", "One mocha.", extra={"dialect": "british"}),
    ]
    spoken = speak_answers(tmp_path / "answers", asked, said)
    assert [one.text for one in spoken] == ["One latte.", "One mocha."]
    assert speak_answers(tmp_path / "none", [], []) == []
