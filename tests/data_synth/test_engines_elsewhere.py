"""The same corpus through vLLM's interface, and through datatrove's executor for Slurm."""

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GlmForCausalLM

from data_synth.batch_lm import Choice, VllmEngine
from data_synth.cluster import submit_to_slurm
from data_synth.models import EXPORT, load_maker, load_synthesis
from data_synth.run import run
from data_synth.shards import finished
from data_synth.step import SynthesisStep
from tests.data_synth.tiny import corpus_of, documents, planned, tiny_config, tiny_model
from voiceglm.errors import ConfigError, DependencyError, EngineError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


class FakeVllm(types.ModuleType):
    """What of vLLM's offline interface is used, greedy, with a network of transformers."""

    class SamplingParams:
        def __init__(self, **settings: Any):
            self.__dict__ = settings

    class LLM:
        def __init__(self, model: str, *, skip_tokenizer_init: bool):
            assert skip_tokenizer_init
            self.network = GlmForCausalLM.from_pretrained(model)

        def generate(self, prompts: list[Any], settings: list[Any], *, use_tqdm: bool) -> list[Any]:
            assert not use_tqdm
            return [self._one(p["prompt_token_ids"], s) for p, s in zip(prompts, settings)]  # noqa: B905

        def _one(self, ids: list[int], settings: Any) -> Any:
            legal = torch.tensor(sorted(settings.allowed_token_ids))
            assert not settings.detokenize
            said: list[int] = []
            with torch.inference_mode():
                while len(said) < settings.max_tokens:
                    logits = self.network(torch.tensor([[*ids, *said]])).logits[0, -1, legal]
                    said.append(int(legal[logits.argmax()]))
                    if said[-1] in settings.stop_token_ids:
                        break
            output = types.SimpleNamespace(token_ids=said)
            return types.SimpleNamespace(outputs=[output])


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> FakeVllm:
    fake = FakeVllm("vllm")
    monkeypatch.setitem(sys.modules, "vllm", fake)
    return fake


def test_vllm_says_what_the_local_engine_says(tmp_path: Path, model: Path, vllm: FakeVllm) -> None:
    texts = documents(tmp_path / "texts.jsonl", 3)
    greedy = Choice(temperature=0.0)
    rows = {}
    for engine in ("local", "vllm"):
        folder = tmp_path / engine
        plan = planned(folder, [texts], tiny_config(model, engine=engine, choice=greedy))
        rows[engine] = load_maker(plan, folder).shard(0)[0]
    assert rows["local"] == rows["vllm"]
    assert (tmp_path / "vllm" / EXPORT / "config.json").is_file()


def test_an_engine_that_dies_is_an_engine_error(
    tmp_path: Path, model: Path, vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(
        tmp_path / "c", [documents(tmp_path / "t.jsonl", 3)], tiny_config(model, engine="vllm")
    )
    synthesis = load_synthesis(plan, tmp_path / "c")
    prompts, rooms = synthesis.prompts(0)
    monkeypatch.setattr(vllm.LLM, "generate", lambda *_, **__: [])
    with pytest.raises(EngineError, match=f"answered 0 of {len(prompts)}"):
        synthesis.engine.generate(prompts, rooms, 0)

    def die(*args: Any, **settings: Any) -> None:
        raise RuntimeError("EngineDeadError")

    monkeypatch.setattr(vllm.LLM, "generate", die)
    with pytest.raises(EngineError, match="vLLM failed: EngineDeadError"):
        synthesis.engine.generate(prompts, rooms, 0)


def test_without_vllm_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(DependencyError, match="an environment of its own"):
        VllmEngine("folder", [1], 1, Choice())


def test_what_runs_beside_vllm_loads_no_training_stack() -> None:
    code = (
        "import sys, data_synth.batch_lm;"
        "print([name for name in ('torch', 'transformers', 'datatrove') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_slurm_is_handed_the_same_step(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = documents(tmp_path / "texts.jsonl", 60)
    alone = tmp_path / "alone"
    planned(alone, [texts], tiny_config(model))
    run(alone, 1)
    folder = tmp_path / "corpus"
    plan = planned(folder, [texts], tiny_config(model))
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    keep = f'for each; do [ -f "$each" ] && cat "$each" >> {tmp_path}/job.sh; done'
    sbatch.write_text(f"#!/bin/sh\n{keep}\necho Submitted batch job 7\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
    submit_to_slurm(folder, 2, {"time": "1:00:00", "partition": "cpu"})
    job = (tmp_path / "job.sh").read_text()
    assert "--array=0-2%2" in job
    assert "--partition=cpu" in job
    with pytest.raises(ConfigError, match=r"slurm: .*nonsense"):
        submit_to_slurm(folder, 2, {"time": "1", "partition": "cpu", "nonsense": 1})
    for rank in range(len(plan.shards)):  # what each of the jobs does
        list(SynthesisStep(str(folder)).run(rank=rank, world_size=len(plan.shards)))
    assert corpus_of(folder) == corpus_of(alone)
    with pytest.raises(ConfigError, match="3 shards, there are 2 ranks"):
        list(SynthesisStep(str(folder)).run(rank=0, world_size=2))


def test_marks_of_datatrove_that_are_older_than_ours_do_not_count(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "corpus"
    planned(folder, [documents(tmp_path / "t.jsonl", 60)], tiny_config(model))
    run(folder, 1)
    (folder / "done" / "00001.json").unlink()
    handed: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "data_synth.cluster.SlurmPipelineExecutor",
        lambda **settings: handed.append(settings) or types.SimpleNamespace(run=lambda: None),
    )
    submit_to_slurm(folder, 2, {})
    left = sorted(path.name for path in (folder / "logs" / "completions").iterdir())
    assert left == ["00000", "00002"]
    assert handed[0]["tasks"] == 3
    assert finished(folder, 3) == [0, 2]
    assert json.loads((folder / "plan.json").read_text())
