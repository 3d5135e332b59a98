"""The released layout gives the numbers of the reference."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import GlmForCausalLM

from voiceglm.chatglm import convert_config, convert_tensors
from voiceglm.checkpoint import load_into
from voiceglm.errors import CheckpointError


@pytest.fixture(params=["committed", "full"])
def golden(request: pytest.FixtureRequest) -> Path:
    name = "golden_dir" if request.param == "committed" else "shared_golden"
    return request.getfixturevalue(name) / "lm"


@pytest.fixture
def network(golden: Path) -> GlmForCausalLM:
    values = json.loads((golden / "config.json").read_text())["config"]
    config = convert_config(values)
    network = config.network(values["padded_vocab_size"])
    tensors = convert_tensors(load_file(golden / "chatglm.safetensors"), config)
    load_into(network, tensors, where=golden)
    return network


@pytest.fixture
def cases(golden: Path) -> dict[str, Tensor]:
    return load_file(golden / "cases.safetensors")


def test_logits(network: GlmForCausalLM, cases: dict[str, Tensor]) -> None:
    with torch.inference_mode():
        logits = network(cases["input_ids"]).logits
    torch.testing.assert_close(logits, cases["logits"], atol=1e-4, rtol=0)


def test_left_padded_logits(network: GlmForCausalLM, cases: dict[str, Tensor]) -> None:
    with torch.inference_mode():
        logits = network(
            cases["input_ids"],
            attention_mask=cases["attention_mask"],
            position_ids=cases["position_ids"],
        ).logits
    real = cases["attention_mask"].bool()
    torch.testing.assert_close(logits[real], cases["logits_left_padded"][real], atol=1e-4, rtol=0)


def test_greedy_continuation(network: GlmForCausalLM, cases: dict[str, Tensor]) -> None:
    ids = cases["input_ids"][:1]
    with torch.inference_mode():
        for expected in cases["greedy"][0]:
            chosen = network(ids).logits[:, -1].argmax(-1)
            assert chosen == expected
            ids = torch.cat([ids, chosen[None]], dim=1)


def test_a_foreign_tensor_is_named(golden: Path) -> None:
    config = convert_config(json.loads((golden / "config.json").read_text())["config"])
    with pytest.raises(CheckpointError, match=r"tensor blocks\.0 is not part"):
        convert_tensors({"blocks.0": torch.zeros(1)}, config)


def test_another_kind_of_network_is_refused(golden: Path) -> None:
    values = json.loads((golden / "config.json").read_text())["config"]
    with pytest.raises(CheckpointError, match="rmsnorm = False"):
        convert_config(values | {"rmsnorm": False})
    with pytest.raises(CheckpointError, match="'kv_channels' is missing"):
        convert_config({k: v for k, v in values.items() if k != "kv_channels"})
