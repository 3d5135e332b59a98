"""docs/data.md is true: its tables name what there is, and its example is computed again."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import soundfile

from data_synth.check import ERRORS, WARNINGS, Limits
from data_synth.layouts import LAYOUTS
from voiceglm.commands.chat import QUESTION
from voiceglm.manifest import ROLES, Utterance, read_manifest, read_samples

DOC = (Path(__file__).parent.parent.parent / "docs" / "data.md").read_text(encoding="utf-8")


def chapter(title: str) -> str:
    return re.split(r"^## ", DOC.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def table(text: str, head: str) -> dict[str, list[str]]:
    """Return the rows of the table whose first column is called ``head`` by their first cell."""
    rows = text.split(f"\n| {head} |")[1].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    cells = ([cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows)
    return {first.strip("`"): rest for first, *rest in cells}


def blocks() -> list[Any]:
    """Return the numbers of the example, step by step."""
    found = re.findall(r"```json\n(.*?)\n```", chapter("One example, worked down to ids"))
    return [json.loads(block) for block in found]


def test_every_field_of_the_manifest_is_described() -> None:
    described = table(chapter("The manifest"), "field")
    assert list(described) == [field.name for field in fields(Utterance) if field.name != "extra"]
    assert all(f"`{role}`" in described["role"][2] for role in ROLES)
    for field in fields(Utterance)[2:-1]:
        said = described[field.name][1].strip("`")
        assert json.loads(said) == field.default, field.name


def test_every_layout_has_its_section() -> None:
    assert re.findall(r"^### (.*)$", chapter("Corpora"), flags=re.MULTILINE) == list(LAYOUTS)


def test_every_finding_and_every_limit_is_described() -> None:
    text = chapter("The check")
    assert tuple(table(text, "error")) == ERRORS
    assert tuple(table(text, "warning")) == WARNINGS
    limits = {name: json.loads(cells[0]) for name, cells in table(text, "limit").items()}
    assert limits == {field.name: field.default for field in fields(Limits)}


def test_the_lines_of_the_example_are_a_manifest(tmp_path: Path) -> None:
    row, codes, *_ = blocks()
    (tmp_path / "m.jsonl").write_text(json.dumps({**row, "codes": codes}) + "\n")
    (tmp_path / "question.wav").symlink_to(QUESTION)
    [utterance] = read_manifest(tmp_path / "m.jsonl")
    assert soundfile.info(QUESTION).frames == utterance.num_samples
    assert len(read_samples(utterance, 16_000)) == utterance.num_samples
    text = chapter("The manifest")
    dialogue = text.split("```\n")[-2]
    (tmp_path / "d.jsonl").write_text(dialogue)
    assert [turn.role for turn in read_manifest(tmp_path / "d.jsonl")] == [
        "system",
        "user",
        "assistant",
    ]


def test_the_codes_of_the_example_are_what_nano_hears(nano: Path) -> None:
    from tokenizer.model import SpeechTokenizer
    from voiceglm.audio import load_audio

    codes = blocks()[1]
    heard = SpeechTokenizer.from_pretrained(nano).encode(load_audio(QUESTION), 16_000)
    assert len(heard) == len(codes)
    same = sum(a == b for a, b in zip(heard, codes, strict=True))
    assert same >= len(codes) - 1, "another processor may take the other of two near codes"


def test_the_ids_of_the_example_are_what_nano_reads(nano: Path) -> None:
    from voiceglm.language_model import VoiceLM

    row, codes, vocabulary, text_ids, document, turn = blocks()
    model = VoiceLM.from_pretrained(nano)
    assert model.vocabulary.to_dict() == vocabulary
    assert model.encode_text(row["text"]) == text_ids
    example = model.writer.example({"kind": "asr", "codes": codes, "text": row["text"]})
    assert list(example.ids) == document
    assert [label for label in example.labels if label != -100] == document[-10:]
    assert model.writer.speech_turn(codes) == turn
    for name, number in (
        ("begin_of_audio", 2574),
        ("end_of_audio", 2575),
        ("begin_of_transcription", 2576),
        ("end_of_transcription", 2577),
    ):
        assert getattr(model.vocabulary, name) == number
