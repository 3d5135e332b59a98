"""Likelihoods: those of the network, of the right ids, in every published layout."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.voiceglm.evaluation.tiny import figure, models, reasons, record, rows, subject
from voiceglm.errors import ConfigError
from voiceglm.evaluation.pairs import Pair, PairSet, Side, nano_pairs, read_gold, read_stories
from voiceglm.evaluation.spoken_lm import _figures, _ids, log_likelihoods, measure
from voiceglm.manifest import read_samples


def stories(folder: Path, *, whole: bool) -> Path:
    """Make two stories as published, out of order, and one that lacks its other ending."""
    for number in (10, 2):
        for end in ("correct", "incorrect", *(() if whole else ("mutual",))):
            record(folder / f"{number}_{end}.wav", hertz=200 + number)
            (folder / f"{number}_{end}.txt").write_text(f"{end} {number}\n")
    record(folder / "7_correct.wav")
    return folder


def gold(folder: Path) -> Path:
    """Make ZeroSpeech's list: two voices of a pair, a row without a file, one without its other."""
    lines = ["id,filename,voice,frequency,word,phones,length,correct"]
    for voice in ("A", "B"):
        for correct, word in ((1, "brick"), (0, "blick")):
            record(folder / f"x{voice}{correct}.wav")
            lines.append(f"7,x{voice}{correct},{voice},3,{word},B R IH K,4,{correct}")
    lines += ["8,missing,A,3,a,AH,1,1", "9,xA1,A,3,b,B,1,1"]
    (folder / "gold.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_likelihood_is_that_of_one_id_after_the_other() -> None:
    _, model = models()
    ids = [3, 1, 4, 1, 5]
    found = log_likelihoods(model, ids[:2], ids[2:])
    for number in range(2, 5):
        with torch.inference_mode():
            logits = model.network(torch.tensor([ids[:number]])).logits[0, -1]
        expected = logits.log_softmax(-1)[ids[number]]
        assert float(found[number - 2]) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize(("given", "scored"), [([], [1]), ([1], []), ([1] * 3, [1] * 9_999)])
def test_what_cannot_be_scored_is_refused(given: list[int], scored: list[int]) -> None:
    with pytest.raises(ConfigError):
        log_likelihoods(models()[1], given, scored)


def test_the_ids_are_those_of_pretraining(tmp_path: Path) -> None:
    one = subject(tmp_path)
    tokenizer, model = models()
    (pair, *_) = read_stories(stories(tmp_path / "s", whole=False))
    start = [model.vocabulary.gmask, model.vocabulary.sop]
    assert pair.before
    assert pair.before.audio
    before, right = (read_samples(side.audio, 16_000) for side in (pair.before, pair.right))  # type: ignore[arg-type]
    heard = model.writer.speech(tokenizer.encode(before, 16_000))
    whole = model.writer.speech(tokenizer.encode(torch.cat([before, right]), 16_000))
    said = model.writer.speech(tokenizer.encode(right, 16_000))
    text, after = model.encode_text("mutual 2"), model.encode_text(" correct 2")
    expected = {
        "S->S": (start, whole),
        "S->T": ([*start, *heard], after),
        "T->S": ([*start, *text], said),
        "T->T": ([*start, *text], after),
    }
    for setting, ids in expected.items():
        assert _ids(one, model, pair.before, pair.right, setting) == ids
    assert _ids(one, model, None, pair.right, "S->S") == (start, said)


def test_stories_come_by_number_and_only_whole(tmp_path: Path) -> None:
    pairs = list(read_stories(stories(tmp_path, whole=False)))
    assert [pair.id for pair in pairs] == ["2", "10"]
    assert (pairs[0].right.text, pairs[0].wrong.text) == ("correct 2", "incorrect 2")
    assert pairs[0].before == Side(pairs[0].before and pairs[0].before.audio, "mutual 2")


def test_gold_rows_are_paired_by_id_and_voice(tmp_path: Path) -> None:
    pairs = list(read_gold(gold(tmp_path)))
    assert [(pair.id, pair.right.text, pair.wrong.text) for pair in pairs] == [
        ("7", "brick", "blick")
    ] * 2
    (tmp_path / "gold.csv").write_text("id,filename\n1,x\n")
    with pytest.raises(ConfigError, match="lacks the column 'correct'"):
        list(read_gold(tmp_path))
    with pytest.raises(ConfigError, match="cannot read"):
        list(read_gold(tmp_path / "nowhere"))


def test_ties_count_half_and_voices_of_one_item_are_averaged() -> None:
    def row(id_: str, right: float, wrong: float) -> dict[str, object]:
        return {
            "id": id_,
            "right_mean": right,
            "wrong_mean": wrong,
            "right_sum": -right,
            "wrong_sum": -wrong,
        }

    made = [row("a", -1, -2), row("a", -2, -1), row("b", -1, -1), row("c", -1, -2)]
    mean, by_sum = _figures(PairSet("x", [], "StoryCloze"), "S->S", made)
    assert mean.value == pytest.approx(100 * (0.5 + 0.5 + 1) / 3)
    assert mean.count == 3
    assert by_sum.value == pytest.approx(100 * (0.5 + 0.5 + 0) / 3)
    assert (mean.column, by_sum.column) == ("StoryCloze", "")


def test_every_set_that_is_there_is_measured_in_the_settings_it_has(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    data = tmp_path / "data"
    stories(data / "tSC", whole=True)
    stories(data / "sSC", whole=False)
    gold(data / "lexical" / "dev")
    table = measure(subject(tmp_path / "out", data=data))
    what = "right one likelier"
    assert figure(table, what, "StoryCloze", "S->T").count == 2
    assert figure(table, what, "Topic-StoryCloze", "S->S").count == 2
    assert figure(table, what, "sWUGGY", "S->S").count == 1, "two voices, one word"
    assert figure(table, what, "nano world, another fact, en", "T->S").count == 3
    left_out = reasons(table)
    assert {"sBLIMP", "Topic-StoryCloze, S->T", "sWUGGY, S->T"} <= set(left_out)
    kept = rows(tmp_path / "out" / "spoken-lm" / "storycloze_s_t.jsonl")
    assert kept[0]["right"] == "correct 2"
    assert kept[0]["right_mean"] < 0


def test_pairs_of_the_nano_world_differ_in_their_ending_alone(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    one = subject(tmp_path, num_pairs=8)
    pairs = nano_pairs(one, "fact")
    for pair in pairs:
        assert pair.right.text
        assert pair.wrong.text
        assert pair.right.text != pair.wrong.text
        assert pair.right.text.split()[0] == pair.wrong.text.split()[0]
        assert pair.right.audio
        assert pair.wrong.audio
        assert pair.right.audio.speaker == pair.wrong.audio.speaker, "no voice gives it away"
    assert pairs == nano_pairs(one, "fact")
    other = replace(one, settings=replace(one.settings, seed=9))
    assert [p.right.text for p in nano_pairs(other, "fact")] != [p.right.text for p in pairs]


def test_chinese_pairs_differ_behind_their_verb_and_no_blank_is_put_before_them(
    tmp_path: Path,
) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
    one = subject(tmp_path, num_pairs=4)
    _, model = models()
    for pair in nano_pairs(one, "fact", "zh"):
        assert pair.right.text
        assert pair.wrong.text
        assert pair.right.text != pair.wrong.text
        assert pair.right.text.split("是")[0] == pair.wrong.text.split("是")[0]
        assert pair.right.audio
        assert pair.right.audio.language == "zh"
        _, scored = _ids(one, model, pair.before, pair.right, "T->T")
        assert scored == model.encode_text(pair.right.text)


def test_a_pair_longer_than_the_model_reads_is_counted(tmp_path: Path, monkeypatch) -> None:
    long = Side(None, "word " * 5_000)
    pairs = PairSet("long", [Pair("1", long, long, Side(None, "x"))])
    monkeypatch.setattr("voiceglm.evaluation.spoken_lm.pair_sets", lambda subject: ([pairs], []))
    table = measure(subject(tmp_path))
    assert "the model reads at most" in reasons(table)["long, T->T"]
