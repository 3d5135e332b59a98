"""Rows of a corpus as text: which are drawn, and that what was spoken is found again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_synth.models import load_synthesis
from data_synth.plan import Plan, read_plan
from data_synth.preview import CHANGED, GONE, Previewer, Sample, draw, spoken_texts
from data_synth.shards import CORPUS, DONE, read_shard, write_shard
from data_synth.spans import Segment, SpanConfig
from tests.data_synth.tiny import LENIENT, WORDS, documents, planned, tiny_config, tiny_model
from voiceglm.cli import main
from voiceglm.errors import CheckpointError, SourceError

SHARDS, SIZE = 4, 10
STRICT = replace(LENIENT, attempts=1)  # so that some spans stay text


def made(folder: Path, texts: Path, model: Path, **changes: Any) -> Plan:
    """Make a corpus in this process."""
    settings = {"documents_per_shard": SIZE, "filters": STRICT, **changes}
    plan = planned(folder, [texts], tiny_config(model, **settings))
    synthesis = load_synthesis(plan, folder)
    for number in range(len(plan.shards)):
        rows, counts = synthesis.shard(number)
        write_shard(folder, number, rows, counts, synthesis.metadata(), training_view=False)
    return plan


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A folder with texts and what was made of them."""
    home = tmp_path_factory.mktemp("home")
    texts = documents(home / "texts.jsonl", SHARDS * SIZE)
    made(home / "corpus", texts, model)
    return home


@pytest.fixture
def folder(tmp_path: Path, home: Path) -> Path:
    """The same corpus, to be damaged."""
    shutil.copytree(home / "corpus", tmp_path / "corpus")
    return tmp_path / "corpus"


def drawn(folder: Path, count: int = 1_000, seed: int = 0) -> list[Sample]:
    plan = read_plan(folder)
    return Previewer.from_plan(plan).samples(folder, plan, count, seed)


def whole(sample: Sample) -> str:
    """Put a sample together again, what is spoken included."""
    return "".join(
        piece if isinstance(piece, str) else piece.text or "?" for piece in sample.pieces
    )


def texts_of(path: Path) -> dict[str, str]:
    return {row["id"]: row["text"] for row in map(json.loads, path.read_text().splitlines())}


def test_the_same_seed_draws_the_same_rows_and_another_others(home: Path) -> None:
    folder = home / "corpus"
    names = [[sample.id for sample in drawn(folder, 6, seed)] for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]
    assert all(len(set(each)) == 6 for each in names), "no row comes twice"
    assert len(drawn(folder, 1_000)) == SHARDS * SIZE, "there are no more"


def test_every_row_can_be_drawn_and_is_as_likely_as_any(home: Path) -> None:
    folder, plan = home / "corpus", read_plan(home / "corpus")
    seen: dict[tuple[int, int], int] = {}
    for seed in range(400):
        for shard, rows in draw(folder, plan, 4, seed).items():
            for row in rows:
                seen[shard, row] = seen.get((shard, row), 0) + 1
    assert set(seen) == {(shard, row) for shard in range(SHARDS) for row in range(SIZE)}
    assert 15 <= min(seen.values()) <= max(seen.values()) <= 75, "40 times each, about"


def test_shards_of_which_nothing_is_drawn_are_not_read(folder: Path) -> None:
    plan = read_plan(folder)
    wanted = draw(folder, plan, 2, 0)
    for path in (folder / CORPUS).iterdir():
        if int(path.stem) not in wanted:
            path.unlink()
    assert len(drawn(folder, 2)) == 2
    assert len(wanted) < SHARDS


def test_shards_that_are_not_finished_are_left_alone(folder: Path) -> None:
    (folder / DONE / "00001.json").unlink()
    kept = {sample.id for sample in drawn(folder)}
    assert kept == {f"doc-{n}" for n in range(SHARDS * SIZE) if n // SIZE != 1}


def test_written_and_spoken_are_the_document(home: Path) -> None:
    texts = texts_of(home / "texts.jsonl")
    samples = drawn(home / "corpus")
    assert {sample.id: whole(sample) for sample in samples} == texts
    numbers = [span.number for sample in samples for span in sample.spans]
    assert numbers == list(range(len(numbers)))


def test_codes_and_shares_are_those_of_the_row(home: Path) -> None:
    plan = read_plan(home / "corpus")
    start = Previewer.from_plan(plan)._vocabulary.speech_start_id
    rows = [row for n in range(SHARDS) for row in read_shard(home / "corpus", n)]
    samples = drawn(home / "corpus")
    for row, sample in zip(rows, samples, strict=True):
        speech = [id_ - start for id_ in row.ids if id_ >= start]
        assert [code for span in sample.spans for code in span.codes] == speech
        assert len(sample.spans) == len(row.spans)
        assert sample.speech_share == len(speech) / len(row.ids)


def test_spans_that_stayed_text_shift_no_other(home: Path) -> None:
    """The mark says that some did; the text is whole all the same, see above."""
    plan = read_plan(home / "corpus")
    marks = [json.loads(path.read_text()) for path in (home / "corpus" / DONE).iterdir()]
    left = sum(mark["counts"]["spans_left_text"] for mark in marks)
    spans = sum(mark["counts"]["spans"] for mark in marks)
    spoken = [span for sample in drawn(home / "corpus") for span in sample.spans]
    assert left > 0
    assert len(spoken) == spans - left > 10
    assert plan.config.filters == STRICT
    assert all(span.text and span.missing is None for span in spoken)


def test_what_is_said_is_in_words(tmp_path: Path, model: Path) -> None:
    text = tmp_path / "texts.jsonl"
    rows = [{"id": "a", "text": "there are 12 boats & 7 cats here"}]
    text.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lenient = replace(LENIENT, attempts=9)
    every = SpanConfig(share=1.0, mean_length=30, max_length=7)
    made(tmp_path / "corpus", text, model, filters=lenient, spans=every)
    [sample] = drawn(tmp_path / "corpus")
    [span] = sample.spans
    assert span.text is not None
    assert "12" in span.text
    assert span.said is not None
    assert "twelve" in span.said
    assert not any(letter.isdigit() for letter in span.said)


def test_long_documents_and_names_that_come_twice(tmp_path: Path, model: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    documents(texts, SIZE)
    lines = [{**json.loads(line), "id": "same"} for line in texts.read_text().splitlines()]
    texts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made(tmp_path / "corpus", texts, model, max_units=20)
    samples = drawn(tmp_path / "corpus")
    assert {(sample.id, sample.part) for sample in samples} == {("same", 0), ("same", 1)}
    assert any(sample.spans for sample in samples)
    pairs = zip(samples[::2], samples[1::2], strict=True)
    together = [whole(one) + whole(two) for one, two in pairs]
    assert together == [line["text"] for line in lines]


def test_chinese_and_line_ends_are_found_again(tmp_path: Path, model: Path) -> None:
    text = "猫坐在绿色的山上，看见七只船。\n\tthe cat sat on a hill\n\n傍晚的太阳。" * 3
    (tmp_path / "texts.jsonl").write_text(json.dumps({"id": "a", "text": text}) + "\n")
    made(tmp_path / "corpus", tmp_path / "texts.jsonl", model)
    [sample] = drawn(tmp_path / "corpus")
    assert sample.language == "zh"
    assert sample.spans
    assert whole(sample) == text


@pytest.fixture
def elsewhere(tmp_path: Path, model: Path) -> tuple[Path, Path]:
    """A corpus with a source of its own."""
    texts = documents(tmp_path / "texts.jsonl", SIZE)
    made(tmp_path / "corpus", texts, model)
    return tmp_path / "corpus", texts


def test_without_the_source_the_written_text_is_left(elsewhere: tuple[Path, Path]) -> None:
    folder, texts = elsewhere
    before = drawn(folder)
    texts.unlink()
    after = drawn(folder)
    spans = [span for sample in after for span in sample.spans]
    assert spans
    assert all((s.text, s.said, s.missing) == (None, None, GONE) for s in spans)
    assert [[p for p in s.pieces if isinstance(p, str)] for s in after] == [
        [p for p in s.pieces if isinstance(p, str)] for s in before
    ]


@pytest.mark.parametrize("word", ["green", "seven", "evening"])
def test_a_source_that_changed_is_not_believed(elsewhere: tuple[Path, Path], word: str) -> None:
    folder, texts = elsewhere
    texts.write_text(texts.read_text().replace(word, "a" * len(word)))
    spans = [span for sample in drawn(folder) for span in sample.spans]
    assert spans
    assert all(span.text is None and span.missing == CHANGED for span in spans)


def test_texts_between_spans_must_fit_to_the_last_letter() -> None:
    segments = [Segment("a ", False), Segment("b", True), Segment(" c ", False), Segment("d", True)]
    assert spoken_texts(["a ", " c ", ""], segments) == ["b", "d"]
    assert spoken_texts(["a b c ", ""], segments) == ["d"], "the first stayed text"
    assert spoken_texts(["a ", " c d"], segments) == ["b"]
    assert spoken_texts(["a b c d"], segments) == []
    assert spoken_texts(["a ", " c ", "."], segments) is None
    assert spoken_texts(["a ", " x ", ""], segments) is None
    assert spoken_texts(["a b", " d"], segments) is None, "no span begins there"


def test_another_vocabulary_is_refused(folder: Path) -> None:
    plan = read_plan(folder)
    known = Previewer.from_plan(plan)
    smaller = replace(known._vocabulary, num_codes=1)
    with pytest.raises(CheckpointError, match=r"not of this model's vocabulary"):
        Previewer(smaller, known._text_tokenizer).samples(folder, plan, 99, 0)


def test_nothing_finished_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / DONE)
    assert main(["synth", "preview", str(folder)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "go on with: voiceglm synth run" in captured.err
    assert captured.err.count("\n") == 1


def test_a_shard_shorter_than_its_mark_is_named(folder: Path) -> None:
    for path in (folder / DONE).iterdir():
        mark = json.loads(path.read_text())
        mark["counts"]["rows"] += 5
        path.write_text(json.dumps(mark))
    with pytest.raises(SourceError, match=r"shard 0000\d of .* has 10 rows, fewer than its mark"):
        drawn(folder)


def test_rows_are_printed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home / "corpus"
    assert main(["synth", "preview", str(folder), "--samples", "40"]) == 0
    out = capsys.readouterr().out
    for sample in drawn(folder):
        share = f"{100 * sample.speech_share:.1f} % speech"
        assert f"{sample.id}  en  {share}\n" in out
        for span in sample.spans:
            assert f"[[{span.text}]] ({len(span.codes) / 12.5:.2f} s)" in out
    assert all(word in out for word in WORDS)


def test_no_terminal_obeys_a_document(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"{' '.join(WORDS)} \u202e \x1b]0;title\x07 \u2028 end"
    row = {"id": "a\x1b[31m\nb", "text": text}
    (tmp_path / "texts.jsonl").write_text(json.dumps(row) + "\n")
    made(tmp_path / "corpus", tmp_path / "texts.jsonl", model)
    assert main(["synth", "preview", str(tmp_path / "corpus")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(r"a\x1b[31m\nb  en  ")
    assert all(letter.isprintable() or letter == "\n" for letter in out)
