"""A source is what its rows say, in whatever files it lies, and fits the model or is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet

from data_synth.models import load_maker
from data_synth.shards import read_shard, write_shard
from data_synth.training_sources import Opener, tokenizer_of
from tests.data_synth.tiny import documents, planned, tiny_config, tiny_model
from voiceglm.documents import Documents
from voiceglm.errors import ConfigError, SourceError
from voiceglm.language_model import VoiceLM
from voiceglm.prompt import IGNORED
from voiceglm.text_tokenizer import train_text_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def recordings(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    path = folder / "manifest.jsonl"
    with path.open("w") as file:
        for n in range(5):
            soundfile.write(folder / f"{n}.wav", rng.uniform(-0.5, 0.5, 16_000), 16_000)
            file.write(json.dumps({"path": f"{n}.wav", "text": f"it says {n}"}) + "\n")
    return path


def corpus(folder: Path, model: Path, **settings: Any) -> Path:
    """Make every shard in this process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if "kind" in settings:
        texts = recordings(folder.parent)
    else:
        texts = documents(folder.parent / "texts.jsonl", 8)
    config = tiny_config(model, documents_per_shard=3, **settings)
    plan = planned(folder, [texts], config)
    maker = load_maker(plan, folder)
    for number in range(len(plan.shards)):
        rows, counts = maker.shard(number)
        view = config.training_view
        write_shard(folder, number, rows, counts, maker.metadata(), training_view=view)
    return folder


@pytest.fixture(scope="module")
def interleaved(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    return corpus(tmp_path_factory.mktemp("interleaved") / "corpus", model)


@pytest.fixture
def opener(tmp_path: Path, model: Path) -> Opener:
    loaded = VoiceLM.from_pretrained(model)
    return Opener(loaded, tokenizer_of(str(model)), tmp_path / "tokens", 500)


def ids_of(found: Documents) -> list[list[int]]:
    return [list(found[n].ids) for n in range(len(found.lengths))]


def test_a_corpus_is_mapped_as_it_is(interleaved: Path, opener: Opener) -> None:
    found = opener.open(interleaved)
    rows = [row.ids for number in range(3) for row in read_shard(interleaved, number)]
    assert ids_of(found) == rows
    assert len(rows) == 8
    assert not opener.cache.exists(), "nothing had to be written"
    labels = list(found[0].labels)
    assert labels == [IGNORED, IGNORED, *rows[0][2:]]


@pytest.mark.parametrize("kind", ["speech", "asr", "tts"])
def test_what_is_given_is_not_learned(
    kind: str, tmp_path: Path, model: Path, opener: Opener
) -> None:
    made = corpus(tmp_path / "made" / "corpus", model, kind=kind)
    found = opener.open(made)
    vocabulary = opener.model.vocabulary
    last = {"asr": vocabulary.begin_of_transcription, "tts": vocabulary.begin_of_audio}
    end = {"asr": vocabulary.end_of_transcription, "tts": vocabulary.end_of_audio}
    for n in range(5):
        ids, labels = list(found[n].ids), list(found[n].labels)
        given = ids.index(last.get(kind, vocabulary.sop)) + 1
        assert labels == [IGNORED] * given + ids[given:]
        assert labels[-1] == end.get(kind, vocabulary.endoftext)


def test_parquet_without_a_training_view_is_written_as_ids_once(
    interleaved: Path, tmp_path: Path, opener: Opener, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ids_of(opener.open(interleaved))
    copy = tmp_path / "copy"
    shutil.copytree(interleaved, copy)
    shutil.rmtree(copy / "training")
    for path in (copy, copy / "corpus"):  # the second has no plan; its files name what they are of
        assert ids_of(opener.open(path)) == wanted
        assert "being written" in capsys.readouterr().err
        assert ids_of(opener.open(path)) == wanted
        assert "being written" not in capsys.readouterr().err


def test_rows_and_texts(tmp_path: Path, opener: Opener) -> None:
    rows = [
        {"kind": "asr", "codes": [1, 2], "text": "the cat"},
        {"kind": "dialogue", "turns": [{"text": "go"}, {"text": "by", "codes": [3] * 9}]},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = opener.open(path)
    for n, row in enumerate(rows):
        wanted = opener.model.writer.example(row)
        assert list(found[n].ids) == wanted.ids
        assert list(found[n].labels) == wanted.labels
    texts = ["the cat sat", "", "on a green hill " * 400]
    parquet.write_table(pa.table({"text": texts}), tmp_path / "texts.parquet")
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    encode, v = opener.model.encode_text, opener.model.vocabulary
    for name in ("texts.parquet", "texts.jsonl"):
        found = opener.open(tmp_path / name)
        assert found.lengths.max() <= 500
        assert list(found[0].ids) == [v.gmask, v.sop, *encode(texts[0]), v.endoftext]
        rest = [found[n] for n in range(1, len(found.lengths))]
        assert [i for part in rest for i in part.ids[2:]] == [*encode(texts[2]), v.endoftext]
        assert all(list(part.ids[:2]) == [v.gmask, v.sop] for part in rest)


def test_changed_files_are_read_anew(tmp_path: Path, opener: Opener) -> None:
    path = tmp_path / "texts.jsonl"
    for text in ("the cat", "the hill"):
        path.write_text(json.dumps({"text": text}) + "\n")
        assert opener.model.decode_text(opener.open(path)[0].ids) == text


def test_what_does_not_fit_the_model_is_refused(
    interleaved: Path, tmp_path: Path, model: Path, opener: Opener
) -> None:
    texts = train_text_tokenizer(["another language"] * 5, 300)
    other = VoiceLM.untrained(opener.model.config, like=opener.model)  # type: ignore[arg-type]
    assert ids_of(Opener(other, None, tmp_path, 500).open(interleaved))
    for stranger in (
        VoiceLM.new(opener.model.config, texts, num_codes=20),  # type: ignore[arg-type]
        VoiceLM.new(opener.model.config, opener.model.text_tokenizer, num_codes=21),  # type: ignore[arg-type]
    ):
        refuser = Opener(stranger, None, tmp_path / "tokens", 500)
        for path in (interleaved, interleaved / "corpus"):
            with pytest.raises(SourceError, match="made for another vocabulary"):
                refuser.open(path)
    shutil.copytree(model / "tokenizer", tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "trained_on").write_text("more")
    refuser = Opener(opener.model, tmp_path / "tokenizer", tmp_path / "tokens", 500)
    with pytest.raises(SourceError, match="another speech tokenizer"):
        refuser.open(interleaved)


def test_a_corpus_of_an_older_plan_is_known_by_its_model(
    interleaved: Path, tmp_path: Path, opener: Opener
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(interleaved, copy)
    plan = json.loads((copy / "plan.json").read_text())
    del plan["models"]["vocabulary"]
    (copy / "plan.json").write_text(json.dumps(plan))
    assert ids_of(opener.open(copy)) == ids_of(opener.open(interleaved))
    plan["config"]["model"] = str(tmp_path / "gone")
    (copy / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(SourceError, match="another vocabulary"):
        opener.open(copy)


def test_missing_and_damaged_sources(
    interleaved: Path, tmp_path: Path, model: Path, opener: Opener
) -> None:
    with pytest.raises(SourceError, match=r"no such file or folder: .*nothing"):
        opener.open(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="nothing to read"):
        opener.open(tmp_path / "empty")
    texts = documents(tmp_path / "texts.jsonl", 3)
    planned(tmp_path / "planned", [texts], tiny_config(model))
    with pytest.raises(SourceError, match="no finished shard; make it with: voiceglm synth run"):
        opener.open(tmp_path / "planned")
    (tmp_path / "rows.jsonl").write_text('{"kind": "text", "text": "a"}\n{"kind": "asr"}\n')
    with pytest.raises(ConfigError, match=r"rows\.jsonl, line 2: .*lacks"):
        opener.open(tmp_path / "rows.jsonl")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"cannot read .*bad\.parquet"):
        opener.open(tmp_path / "bad.parquet")
    (tmp_path / "blank.jsonl").write_text('{"text": ""}\n')
    with pytest.raises(ConfigError, match="no documents"):
        opener.open(tmp_path / "blank.jsonl")
