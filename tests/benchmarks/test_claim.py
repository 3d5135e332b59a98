"""The claim in small: what is only read is never heard, arms have the same ids, runs go on."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.claim import run
from benchmarks.claim.arms import beginning, finetuning, pretraining, text_corpus
from benchmarks.claim.material import Material, Row, make_material, spoken_parts
from benchmarks.claim.measure import nearest
from benchmarks.claim.run import Bench, count_ids, measure_run, open_bench
from benchmarks.claim.settings import ARMS, Settings, Sizes
from benchmarks.claim.table import draw, table
from benchmarks.claim.world import PLACES, RELATIONS, VALUES, World, ending, story, story_sentence
from data_synth.tts import ASSISTANT, held_out_voices, training_voices
from voiceglm.errors import ConfigError
from voiceglm.language_config import LanguageModelConfig
from voiceglm.language_model import VoiceLM
from voiceglm.prompt import IGNORED, Example
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.train import Source
from voiceglm.train_config import TrainConfig

SIZES = Sizes(
    texts=600, stories=20, told=120, paired=64, questions_per_fact=2, asked=2, pairs=1, names=1
)
NUM_CODES = 128  # of ASCII: a letter is a code, so that what is heard can be read again
CONTEXT = 700


class Spelling:
    """Speaks every letter as one code, and keeps who spoke what."""

    def __init__(self) -> None:
        self.voices: dict[str, list[str]] = {}

    def speak(self, rows: Sequence[Row], title: str) -> None:
        for line in (line for row in rows for line in spoken_parts(row)):
            self.voices.setdefault(title, []).append(line.pop("voice").name)
            line["codes"] = list(line["text"].encode())


@pytest.fixture(scope="module")
def world() -> World:
    return World.draw(3)


@pytest.fixture(scope="module")
def speaker() -> Spelling:
    return Spelling()


@pytest.fixture(scope="module")
def material(world: World, speaker: Spelling, tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    return make_material(folder, world, 3, SIZES, speaker)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def bench(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    train = TrainConfig(steps=4, warmup_steps=1, save_every=2, log_every=1, precision="float32")
    tiny = LanguageModelConfig(
        hidden_size=16,
        num_layers=1,
        num_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        context_length=CONTEXT,
    )
    settings = Settings(
        sizes=SIZES,
        language_model=tiny,
        beginning=train,
        pretraining=train,
        finetuning=train,
        ids_per_batch=CONTEXT,
    )
    text_tokenizer = train_text_tokenizer(text_corpus(material), 512)
    folder = tmp_path_factory.mktemp("bench")
    return Bench(folder, settings, material, text_tokenizer, NUM_CODES, None)


@pytest.fixture(scope="module")
def model(bench: Bench) -> VoiceLM:
    return VoiceLM.new(
        bench.settings.language_model, bench.text_tokenizer, num_codes=bench.num_codes
    )


def examples(sources: Sequence[Source]) -> Iterator[Example]:
    for source in sources:
        yield from (source.documents[n] for n in range(len(source.documents.lengths)))


def read_off(model: VoiceLM, example: Example) -> tuple[str, str]:
    """Return what is heard in an example, and all of it as text."""
    vocabulary = model.vocabulary
    heard, whole = "", ""
    for id_ in example.ids:
        if vocabulary.is_speech(id_):
            heard += chr(vocabulary.code(id_))
            whole += chr(vocabulary.code(id_))
        elif vocabulary.is_text(id_):
            whole += model.decode_text([id_])
    return heard, whole


@pytest.mark.parametrize("arm", ARMS)
def test_no_sound_comes_with_a_fact_that_is_only_read(
    arm: str, world: World, material: Material, model: VoiceLM
) -> None:
    num_heard = named = 0
    writer = model.writer
    sources = [
        *beginning(material, writer),
        *pretraining(material, arm, writer),
        *finetuning(material, writer),
    ]
    for example in examples(sources):
        heard, whole = read_off(model, example)
        if heard:
            num_heard += 1
            named += any(place in whole for place in world.only_read)
            assert not world.tells(whole), whole
    assert num_heard > 500
    assert named > 20, "names of only-read places are heard, beside no answer"


def test_what_is_asked_says_no_answer(world: World, material: Material) -> None:
    for asked in material.asked:
        assert not VALUES & set(asked["text"].strip("?").lower().split())
        assert asked["taught"] == (asked["place"] in world.taught)
    assert {asked["taught"] for asked in material.asked} == {True, False}


def test_every_fact_is_read_somewhere(world: World) -> None:
    rng = random.Random(0)
    facts = world.tested_facts(world.only_read)
    assert len(facts) == 120
    for fact in facts:
        assert world.tells(fact.said(rng, named=True))


def test_stories_hold_no_answer() -> None:
    rng = random.Random(0)
    for number in range(500):
        words = f"{story(rng)} {story_sentence(PLACES[number % len(PLACES)], rng)}"
        assert not VALUES & {word.strip(".,?").lower() for word in words.split()}


def test_worlds_give_every_answer_equally_often_on_both_sides(world: World) -> None:
    for side in (world.taught, world.only_read):
        counts = Counter((fact.relation, fact.value) for fact in world.tested_facts(side))
        assert set(counts.values()) == {2}
        assert len(counts) == len(VALUES)


def test_who_asks_in_the_test_was_never_heard_before(speaker: Spelling, material: Material) -> None:
    del material  # spoken by now
    tested = {name for title in ("asked", "endings", "names") for name in speaker.voices[title]}
    trained = {
        name
        for title in ("stories", "told", "paired", "questions", "answers")
        for name in speaker.voices[title]
    }
    assert tested <= set(held_out_voices())
    assert trained <= {*training_voices(), ASSISTANT.name}


def test_all_arms_learn_the_same_ids(material: Material, model: VoiceLM) -> None:
    counts = {}
    for arm in ARMS:
        found = list(examples(pretraining(material, arm, model.writer)))
        ids = Counter(id_ for example in found for id_ in example.ids)
        learned = sum(label != IGNORED for example in found for label in example.labels)
        counts[arm] = (ids, learned, len(found))
    assert counts["none"] == counts["half"] == counts["full"]


def test_runs_of_all_arms_go_through_about_as_many_ids(bench: Bench, model: VoiceLM) -> None:
    longer = replace(bench.settings, pretraining=replace(bench.settings.pretraining, steps=300))
    counts = [
        count_ids(model, pretraining(bench.material, arm, model.writer), longer, 0) for arm in ARMS
    ]
    assert max(counts) < 1.05 * min(counts)
    assert max(counts) <= 300 * longer.ids_per_batch


@pytest.mark.parametrize(("arm", "share"), ARMS.items())
def test_an_arm_mixes_text_and_speech_in_its_share_of_the_documents(
    arm: str, share: float, material: Material, model: VoiceLM
) -> None:
    vocabulary = model.vocabulary
    mixed = 0
    documents = list(examples(pretraining(material, arm, model.writer)[2:]))
    for example in documents:
        kinds = {vocabulary.is_speech(id_) for id_ in example.ids[2:-1]}
        mixed += len(kinds) == 2
    assert mixed == pytest.approx(share * len(documents), abs=0.05 * len(documents))


class Killed(BaseException):
    """Stands for a signal."""


@pytest.fixture(scope="module")
def undisturbed(bench: Bench) -> list[Row]:
    """Rows of a run that nothing stopped."""
    return measure_run(bench, "half", 1)


@pytest.mark.parametrize("where", ["compare", "finetuning", "ask"])
def test_a_killed_run_goes_on_to_the_same_rows(
    where: str,
    undisturbed: list[Row],
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = replace(bench, folder=tmp_path)
    trained: list[Path] = []
    train = run.train_language_model

    def counted(*args: Any) -> VoiceLM:
        trained.append(args[-1].parent)
        return train(*args)

    def killed(*args: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(run, "train_language_model", counted)
        patch.setattr(run, where, killed)
        with pytest.raises(Killed):
            measure_run(bench, "half", 1)
    monkeypatch.setattr(run, "train_language_model", counted)
    assert measure_run(bench, "half", 1) == undisturbed
    assert len(trained) == len(set(trained)) == 3, "no stage is trained twice"
    monkeypatch.setattr(run, "_measured", killed)
    assert measure_run(bench, "half", 1) == undisturbed, "done is done"


def test_arms_of_a_seed_begin_with_one_model(
    undisturbed: list[Row], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert undisturbed
    trained: list[str] = []
    train = run.train_language_model

    def counted(*args: Any) -> VoiceLM:
        trained.append(args[-1].parent.name)
        return train(*args)

    monkeypatch.setattr(run, "train_language_model", counted)
    measure_run(bench, "none", 1)
    assert trained == ["pretraining", "finetuning"], "it is there"


class Hearing:
    """Stands for decoder and recognizer: a code is a letter."""

    def hear(self, codes: Sequence[int], relation: str, value: str) -> Row:
        return {"heard": "".join(map(chr, codes)), "right_heard": False, "right_nearest": False}


def test_replies_can_be_heard_later(undisturbed: list[Row], bench: Bench) -> None:
    heard = measure_run(replace(bench, judge=Hearing()), "half", 1)  # type: ignore[arg-type]
    assert len(heard) == len(undisturbed)
    for row, before in zip(heard, undisturbed, strict=True):
        assert ("heard" in row) == (row["measure"] == "S->T")
        assert before.items() <= row.items()
        if "heard" in row:
            assert row["heard"] == "".join(map(chr, row["codes"]))


def test_another_seed_is_another_run(undisturbed: list[Row], bench: Bench, tmp_path: Path) -> None:
    other = measure_run(replace(bench, folder=tmp_path), "half", 0)
    assert [row["measure"] for row in other] == [row["measure"] for row in undisturbed]
    assert other != [{**row, "seed": 0} for row in undisturbed]


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    run._check_settings(tmp_path / "settings.json", Settings(world=1))
    run._check_settings(tmp_path / "settings.json", Settings(world=1))
    with pytest.raises(ConfigError, match=r"begun with another world: 1, now 2"):
        open_bench(tmp_path, Settings(world=2))


def test_the_closest_answer_is_taken_and_a_tie_is_none() -> None:
    assert nearest("eeght is the harse", "animal") == "horse"
    assert nearest("", "animal") is None
    assert nearest("it is the", "colour") is None


def test_a_wrong_end_is_of_the_same_kind(world: World) -> None:
    rng = random.Random(0)
    for fact in world.tested_facts(world.only_read):
        pair = ending(fact, rng)
        assert fact.place in pair.before
        assert fact.value in pair.right
        assert pair.wrong.replace("\n", "") != pair.right
        assert any(
            pair.wrong == pair.right.replace(fact.value, other)
            for other in RELATIONS[fact.relation].values
        )


def rows_of(right: Sequence[int]) -> list[Row]:
    return [
        {"measure": "S->T", "item": n, "taught": False, "right": bool(each)}
        for n, each in enumerate(right)
    ]


def test_the_table_says_what_interleaving_changes(tmp_path: Path) -> None:
    runs = {
        "full": {0: rows_of([1, 1, 1, 0]), 1: rows_of([1, 1, 0, 0])},
        "none": {0: rows_of([1, 0, 0, 0]), 1: rows_of([0, 0, 0, 0])},
    }
    text = table(runs)
    (line,) = [line for line in text.splitlines() if line.startswith("| only read, S->T")]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[1] == "8.3"
    assert cells[2].startswith("12.5 [")
    assert cells[2].endswith("(25.0 / 0.0)")
    assert cells[3].startswith("62.5 [")
    assert cells[4].startswith("50.0 [")
    assert "S->S" not in text, "nobody listened"
    draw(runs, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
