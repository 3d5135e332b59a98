"""The dry run: known counts of known models, arithmetic that adds up, loud misfits."""

import json
from dataclasses import replace
from functools import cache

import pytest

from voiceglm.cli import main
from voiceglm.dry_run import GB, Estimate, dry_run
from voiceglm.errors import ConfigError
from voiceglm.growth import grown_vocabulary
from voiceglm.recipe_config import Expected, Machine, load_recipe
from voiceglm.workloads import vocabulary_rows

WHISPER = {"9b": (1_543_490_560, 1_280), "small": (241_734_912, 768)}
"""Parameters of openai/whisper-large-v3 and openai/whisper-small, and their width."""
TEXT_MODEL = {"9b": 9_399_951_360, "small": 494_032_768}
"""Parameters of GLM-4-9B and Qwen2.5-0.5B."""
TRAIN = "language_model.finetuning.train"


@cache
def estimates(name: str) -> dict[str, Estimate]:
    recipe = load_recipe(name)
    return {estimate.stage: estimate for estimate in dry_run(recipe, recipe.machine)}


@pytest.mark.parametrize("name", ["nano-smoke", "nano", "small", "9b"])
def test_every_recipe_fits_its_machine(name: str) -> None:
    found = estimates(name)
    assert all(estimate.fits for estimate in found.values())
    assert all(estimate.flop > 0 and estimate.hours > 0 for estimate in found.values())
    assert all(sum(e.parts.values()) >= e.trainable for e in found.values())
    assert {"tokenizer", "codes", "vocoder", "flow", "pretraining", "finetuning"} < set(found)


def test_the_parts_of_9b_have_their_published_sizes() -> None:
    found = estimates("9b")
    assert found["codes"].parameters == found["tokenizer"].parts["encoder"] == 343_599_360
    assert found["flow"].parameters == 111_166_208
    assert found["vocoder"].parts["vocoder"] == 20_460_591


@pytest.mark.parametrize("name", WHISPER)
def test_what_learns_to_hear_is_whisper_but_for_its_positions(name: str) -> None:
    whisper, width = WHISPER[name]
    fixed, pooled = 1_500 * width, 375 * width  # of the first table, learned in the second
    assert estimates(name)["tokenizer"].trainable == whisper - fixed + pooled


@pytest.mark.parametrize("name", TEXT_MODEL)
def test_the_language_model_is_the_text_model_and_its_new_rows(name: str) -> None:
    recipe = load_recipe(name)
    sizes = recipe.language_model.architecture
    matrices = 1 if sizes["tie_word_embeddings"] else 2
    rows = vocabulary_rows(recipe.language_model, recipe.num_codes)
    new = (rows - sizes["vocab_size"]) * sizes["hidden_size"] * matrices
    assert estimates(name)["pretraining"].parameters == TEXT_MODEL[name] + new
    assert 0 <= rows - sizes["vocab_size"] - recipe.num_codes < 18 + 64


def test_a_grown_vocabulary_has_the_rows_it_will_have() -> None:
    small, large = (load_recipe(name).language_model for name in ("small", "9b"))
    # As their tokenizers come: Qwen's without our special ids, GLM-4's with ten of them.
    first = ["<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>"]
    first += [f"<|{name}|>" for name in ("system", "user", "assistant", "observation")]
    glm = {name: large.text_vocabulary + number for number, name in enumerate(first)}
    for recipe, added, codes in ((small, {}, 8_192), (large, glm, 16_384)):
        rows = recipe.architecture["vocab_size"]
        grown = grown_vocabulary(recipe.text_vocabulary, added, rows, codes)
        assert vocabulary_rows(recipe, codes) == grown.size


def test_the_synthesis_takes_the_published_gpu_hours() -> None:
    # 455B ids at 25,000 a second are 5,060 hours of an H800.
    assert estimates("9b")["interleaving"].gpu_hours == pytest.approx(5_060, rel=0.01)


def test_pretraining_reads_the_published_ids() -> None:
    found = estimates("9b")["pretraining"]
    assert found.amount == pytest.approx(1.056e12, rel=1e-3)
    # 6 N D, what attention adds at 8,192 ids, and a third more for layers computed twice.
    by_hand = 6 * found.parts["layers"] * found.amount * 4 / 3
    assert 1.0 < found.flop / by_hand < 1.5


TINY = [
    "machine={gpus: 1, gpu_memory: 1.0}",
    "tokenizer.model.encoder={width: 32, num_heads: 2, feedforward_width: 64, num_layers: 4,"
    " max_frames: 1500, pool_after: 2, quantize_after: 2, encoder_only: false}",
    "tokenizer.model.quantizer.codebook_size=64",
    "tokenizer.model.recognizer.num_layers=1",
    "tokenizer.train.batch_size=4",
    "flow.model.num_codes=64",
    "flow.model.encoder={dim: 32, num_heads: 2, hidden_dim: 64, num_layers: 1}",
    "flow.model.estimator={channels: [32], num_blocks: 1, num_mid_blocks: 1, num_heads: 2,"
    " head_dim: 16}",
    "flow.train.batch_size=4",
    "language_model.architecture.hidden_size=32",
    "language_model.architecture.num_hidden_layers=2",
    "language_model.architecture.num_attention_heads=4",
    "language_model.architecture.intermediate_size=64",
    "language_model.architecture.head_dim=8",
    "language_model.architecture.vocab_size=200",
    "language_model.text_vocabulary=180",
    "language_model.pretraining.objective.plan={ids_per_batch: 256, row_length: 128,"
    " batching: packed}",
]


@pytest.mark.parametrize("name", ["small", "9b"])
def test_every_size_in_a_recipe_is_obeyed(name: str) -> None:
    recipe = load_recipe(name, TINY)
    stages = ["tokenizer", "flow", "pretraining"]
    found = {e.stage: e for e in dry_run(recipe, recipe.machine, "ddp", stages)}
    assert found["pretraining"].parts["vocabulary"] % 32 == 0
    assert 200 + 64 <= vocabulary_rows(recipe.language_model, 64) < 200 + 64 + 18 + 64
    assert found["tokenizer"].parts["encoder"] < 200_000
    assert all(e.fits and e.parameters < 4_000_000 for e in found.values())


def one(stage: str, machine: Machine | None = None, *settings: str) -> Estimate:
    """Estimate one stage of the smallest recipe."""
    recipe = load_recipe("nano-smoke", settings)
    (found,) = dry_run(recipe, machine or recipe.machine, only=[stage])
    return found


SMALL = Machine(gpus=1, gpu_memory=4.0, gpu_tflops=0.1, utilisation=0.4)


def test_hours_follow_from_the_machine() -> None:
    fast = replace(SMALL, gpu_tflops=0.3, utilisation=0.2)
    assert one("codes", fast).hours == pytest.approx(one("codes", SMALL).hours / 1.5)
    assert one("codes", replace(SMALL, gpus=4)).hours == pytest.approx(
        one("codes", SMALL).hours / 4
    )
    many = replace(SMALL, gpus=4)
    assert one("finetuning", many).hours == pytest.approx(one("finetuning", SMALL).hours / 4)


def test_steps_and_batches_multiply() -> None:
    before = one("finetuning")
    after = one(
        "finetuning",
        None,
        "language_model.finetuning.train.steps=80",
        "language_model.finetuning.train.accumulate=2",
    )
    assert (before.steps, after.steps) == (40, 80)
    assert after.flop == pytest.approx(4 * before.flop)
    assert after.epochs == pytest.approx(4 * before.epochs)


def test_sharding_divides_what_adamw_keeps() -> None:
    recipe = load_recipe("nano-smoke", ["language_model.pretraining.train.muon_lr=null"])
    machine = replace(SMALL, gpus=4)
    whole, parted = (
        next(iter(dry_run(recipe, machine, way, ["pretraining"]))) for way in ("ddp", "fsdp")
    )
    assert parted.memory.optimizer == whole.memory.optimizer / 4
    assert parted.memory.weights == whole.memory.weights / 4
    assert whole.memory.optimizer == 8 * whole.trainable
    assert whole.memory.gradients == 2 * 4 * whole.trainable  # and the buckets of DDP


def test_muon_keeps_one_average_of_a_matrix() -> None:
    adamw, muon = one("finetuning", None, f"{TRAIN}.muon_lr=null"), one("finetuning")
    assert adamw.memory.optimizer == 8 * adamw.trainable
    layers = adamw.parts["layers"]
    saved = adamw.memory.optimizer - muon.memory.optimizer
    assert 0.95 * 4 * layers < saved < 4 * layers  # all of them but norms and biases


def test_a_misfit_is_loud_and_says_what_helps(capsys: pytest.CaptureFixture[str]) -> None:
    memory = str(one("finetuning").memory.total / GB)  # a tenth of it is not to be used
    given = ["--only", "finetuning", "--gpu-memory", memory]
    assert main(["recipe", "nano", "--smoke", "--dry-run", *given]) == 1
    out = capsys.readouterr().out
    assert "DOES NOT FIT: finetuning needs" in out
    assert "it fits with train.accumulate=2 and objective.plan.ids_per_batch=1024" in out


def test_what_is_advised_fits() -> None:
    tight = replace(SMALL, gpu_memory=one("finetuning").memory.total / GB)
    misfit = one("finetuning", tight)
    assert not misfit.fits
    assert misfit.advice == "it fits with train.accumulate=2 and objective.plan.ids_per_batch=1024"
    stage = "language_model.finetuning"
    plan = f"{stage}.objective.plan={{ids_per_batch: 1024, row_length: 1024}}"
    helped = one("finetuning", tight, f"{TRAIN}.accumulate=2", plan)
    assert helped.fits
    assert helped.flop == pytest.approx(misfit.flop)


def test_what_fits_nowhere_says_so() -> None:
    found = one("flow", replace(SMALL, gpu_memory=1e-4))
    assert found.advice == "it fits with no setting: take GPUs of more memory, or more of them"


def test_the_numbers_are_the_same_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--only", "codes", "--only", "pretraining", "--gpus", "2"]
    assert main(["recipe", "nano-smoke", "--dry-run", "--json", *asked]) == 0
    told = json.loads(capsys.readouterr().out)
    machine = replace(load_recipe("nano-smoke").machine, gpus=2)
    counted = [one(stage, machine) for stage in ("codes", "pretraining")]
    assert [stage["stage"] for stage in told["stages"]] == ["codes", "pretraining"]
    assert told["flop"] == sum(e.flop for e in counted)
    assert [s["memory"]["total"] for s in told["stages"]] == [e.memory.total for e in counted]
    assert told["machine"]["gpus"] == 2


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ConfigError, match="no stage called 'flaw'"):
        list(dry_run(load_recipe("nano-smoke"), SMALL, only=["flaw"]))


def test_a_recipe_that_does_not_say_what_to_expect_is_refused() -> None:
    recipe = load_recipe("nano-smoke")
    bare = replace(recipe, expected={**recipe.expected})
    del bare.expected["tokenizer"]
    with pytest.raises(ConfigError, match=r"expected\.tokenizer is missing"):
        list(dry_run(bare, bare.machine))
    with pytest.raises(ConfigError, match="either seconds"):
        Expected(items=3)
