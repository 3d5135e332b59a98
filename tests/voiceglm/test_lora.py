"""Adapters learn, are kept or merged to the same model, and leave the voice what it was."""

import shutil
from pathlib import Path

import pytest
import torch

from decoder.model import SpeechDecoder
from tests.voiceglm.test_growth import CODES, text_model
from voiceglm.documents import ListedDocuments
from voiceglm.errors import CheckpointError, ConfigError
from voiceglm.interleave import REPLY, Kind
from voiceglm.language_model import Sampling, VoiceLM
from voiceglm.lora import Adapter, LoraSettings, merge
from voiceglm.packing import BatchPlan
from voiceglm.train import LanguageTraining, Source, train_language_model
from voiceglm.train_config import TrainConfig

RANK = LoraSettings(rank=4)
WRITTEN = [("What is the capital of France?", "It is Paris."), ("Who are you?", "I am nano.")]


def steps(count: int) -> TrainConfig:
    return TrainConfig(
        steps=count, peak_lr=1e-2, warmup_steps=1, precision="float32", save_every=3, log_every=1
    )


def grown(folder: Path, kind: str) -> VoiceLM:
    return VoiceLM.grow(folder if folder.exists() else text_model(folder, kind), CODES)


def train(model: VoiceLM, folder: Path, count: int = 3) -> Adapter:
    row = {"kind": "streaming", "text": "two plus two is four", "codes": list(range(CODES))}
    adapter = Adapter(model, RANK, seed=1)
    source = Source(ListedDocuments("some", [model.writer.example(row)] * 4))
    plan = BatchPlan(ids_per_batch=512, row_length=256)
    train_language_model(model, [source], LanguageTraining(plan=plan), steps(count), folder)
    return adapter


def logits(model: VoiceLM) -> torch.Tensor:
    ids = [*model.encode_text("two plus two"), *model.vocabulary.special_ids[:3]]
    with torch.inference_mode():
        return model.network(torch.tensor([[*ids, *model.writer.speech([0, 7])]])).logits


@pytest.mark.parametrize("kind", ["glm", "qwen2"])  # a head of its own, and one that is tied
def test_adapters_are_kept_or_merged_to_the_same_model(tmp_path: Path, kind: str) -> None:
    model = grown(tmp_path / "text", kind)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    untouched = logits(model)
    adapter = train(model, tmp_path / "run")
    trained = logits(model)
    assert (trained - untouched).abs().max() > 1e-2
    adapter.save(tmp_path / "adapter")
    adapter.merge()
    torch.testing.assert_close(logits(model), trained, atol=1e-5, rtol=0)
    after = model.network.state_dict()
    assert after.keys() == before.keys()
    old = model.vocabulary.special_ids[0]
    for name, rows in before.items():
        kept = name.endswith(("norm.weight", "bias"))
        if "embed" in name or "lm_head" in name:
            assert torch.equal(after[name][:old], rows[:old]), "old rows stay"
            assert not torch.equal(after[name][old:], rows[old:]), "new rows are learned"
        else:
            assert torch.equal(after[name], rows) == kept, name
    again = grown(tmp_path / "text", kind)
    merge(again, tmp_path / "adapter")
    torch.testing.assert_close(logits(again), trained, atol=1e-5, rtol=0)


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    straight = grown(tmp_path / "text", "llama")
    train(straight, tmp_path / "run", 6).merge()
    shutil.rmtree(tmp_path / "run" / "checkpoint-6")
    resumed = grown(tmp_path / "text", "llama")
    train(resumed, tmp_path / "run", 6).merge()
    assert torch.equal(logits(resumed), logits(straight))
    assert (tmp_path / "run" / "checkpoint-6").is_dir()


def test_only_what_is_asked_for_is_learned(tmp_path: Path) -> None:
    model = grown(tmp_path / "text", "glm")
    Adapter(model, LoraSettings(rank=2, new_rows=False))
    learned = [name for name, weight in model.network.named_parameters() if weight.requires_grad]
    assert learned
    assert all("lora_" in name and ".layers." in name for name in learned)
    parts = {name.split(".lora_")[0].rpartition(".")[2] for name in learned}
    assert parts == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"}


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    train(grown(tmp_path / "text", "glm"), tmp_path / "run", 1).save(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=r"another model|no adapter of this model"):
        merge(grown(tmp_path / "other", "llama"), tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is missing"):
        merge(grown(tmp_path / "text", "glm"), tmp_path / "text")
    with pytest.raises(ConfigError, match=r"lora\.rank"):
        LoraSettings(rank=0)


def spoken(model: VoiceLM, nano: Path) -> tuple[list[int], float]:
    """Return the ids of a reply and how loud it is (RMS)."""
    prompt = model.writer.opening("text") + model.writer.text_turn("What is two plus two?")
    reply = list(model.generate(prompt, Sampling(temperature=0, max_new_ids=300)))
    codes = [model.vocabulary.code(i) for i in reply if model.vocabulary.is_speech(i)]
    samples = SpeechDecoder.from_pretrained(nano).decode(codes)
    return reply, float(samples.square().mean().sqrt())


def test_a_model_whose_text_was_tuned_still_speaks(nano: Path, tmp_path: Path) -> None:
    """Rows without any speech teach what is written, never to fall silent behind it."""
    model = VoiceLM.from_pretrained(nano)
    before, loudness = spoken(model, nano)
    turns = [{"kind": "dialogue", "turns": [{"text": q}, {"text": a}]} for q, a in WRITTEN]
    rows = ListedDocuments("written", [model.writer.example(row) for row in turns] * 4)
    plan = BatchPlan(ids_per_batch=512, row_length=256)
    with pytest.raises(ConfigError, match="teaches no speech, so the model would unlearn"):
        train_language_model(
            model, [Source(rows)], LanguageTraining(plan=plan), steps(1), tmp_path / "refused"
        )
    adapter = Adapter(model, LoraSettings())
    objective = LanguageTraining(plan=plan, allow_text_only=True)
    gentle = TrainConfig(steps=4, peak_lr=5e-4, warmup_steps=1, precision="float32", log_every=1)
    train_language_model(model, [Source(rows)], objective, gentle, tmp_path / "run")
    adapter.merge()
    after, loudness_after = spoken(model, nano)
    position = REPLY.start()
    for id_ in after[:-1]:
        position = position.step(Kind.SPEECH if model.vocabulary.is_speech(id_) else Kind.TEXT)
    assert after[-1] in model.vocabulary.stop_ids
    codes = [sum(map(model.vocabulary.is_speech, reply)) for reply in (before, after)]
    assert codes[1] > 0.5 * codes[0] > 0
    assert 0.5 < loudness_after / loudness < 2
