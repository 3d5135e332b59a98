"""The flow computes what the published one does, number by number.

Part of the recorded numbers is in this repository: the weights and the inference of one
utterance. The tests that need all of them are skipped where these do not lie beside it.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import decoder.estimator
import decoder.masking
import decoder.regulator
from decoder.config import EncoderConfig, EstimatorConfig, FlowConfig
from decoder.encoder import block_causal_mask, relative_positions
from decoder.estimator import time_embedding
from decoder.flow import FlowDraws
from decoder.flow_model import FlowModel

TINY = FlowConfig(
    num_codes=64,
    encoder=EncoderConfig(dim=32, num_heads=4, hidden_dim=64, num_layers=2),
    estimator=EstimatorConfig(
        channels=(16, 16), num_blocks=2, num_mid_blocks=2, num_heads=2, head_dim=8
    ),
)
SPEAKER_WEIGHT = "spk_embed_affine_layer.weight"  # only met with zeros, so not in this repository
PUBLISHED_SEED = 42


@pytest.fixture
def flow(golden_dir: Path) -> FlowModel:
    """A flow with the weights the numbers were made with, under their published names."""
    model = FlowModel(TINY)
    tensors = load_file(golden_dir / "flow" / "flow.safetensors")
    model.load_state_dict({SPEAKER_WEIGHT: torch.zeros(80, 192), **tensors})
    return model.eval()


@pytest.fixture
def recorded(golden_dir: Path) -> dict[str, Tensor]:
    """The results that are part of this repository."""
    return load_file(golden_dir / "flow" / "cases.safetensors")


@pytest.fixture
def whole_flow(shared_golden: Path) -> FlowModel:
    """The same flow, with the weight of the speaker."""
    model = FlowModel(TINY)
    model.load_state_dict(load_file(shared_golden / "flow" / "flow.safetensors"))
    return model.eval()


@pytest.fixture
def cases(shared_golden: Path) -> dict[str, Tensor]:
    """All inputs and results of inference, piece by piece."""
    return load_file(shared_golden / "flow" / "cases.safetensors")


@pytest.fixture
def training(shared_golden: Path) -> dict[str, Tensor]:
    """One training step, with everything it drew."""
    return load_file(shared_golden / "flow" / "training.safetensors")


@pytest.fixture
def as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let padding leak as it does in the published code, to compare padded batches with it.

    There, normalisation counts padding, padded keys keep a weight, and all items are stretched
    by the ratio of the padded lengths. Everything else stays ours.
    """

    def leaky_norm(self: torch.nn.GroupNorm, x: Tensor, mask: Tensor | None = None) -> Tensor:
        del mask
        return torch.nn.GroupNorm.forward(self, x)

    def stretch_all(code_lengths: Tensor, lengths: Tensor, size: int) -> Tensor:
        ratio = (code_lengths.max().float() / size).expand(len(lengths), 1)
        return (torch.arange(size) * ratio).long()

    def soft_keys(mask: Tensor) -> Tensor:
        return (mask.transpose(1, 2) @ mask)[:, None]

    monkeypatch.setattr(decoder.masking.MaskedGroupNorm, "forward", leaky_norm)
    monkeypatch.setattr(decoder.regulator, "nearest_codes", stretch_all)
    monkeypatch.setattr(decoder.regulator, "padding_mask", lambda *_: None)
    monkeypatch.setattr(decoder.estimator, "key_mask", soft_keys)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Compare absolutely."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def condition(mu: Tensor, speaker: Tensor, prompt: Tensor) -> Tensor:
    """Join what the published code passes one by one."""
    return torch.cat([mu, speaker[..., None].expand_as(mu), prompt], dim=1)


@torch.no_grad()
def test_encoding(flow: FlowModel, recorded: dict[str, Tensor]) -> None:
    assert torch.equal(block_causal_mask(23, 10), recorded["grid_mask_23_10"])
    close(flow.encode(recorded["enc.tokens"], recorded["enc.lengths"]), recorded["enc.out"])
    short = recorded["enc.short_tokens"]
    close(flow.encode(short, torch.tensor([7])), recorded["enc.short_out"])


@torch.no_grad()
def test_speaking(flow: FlowModel, recorded: dict[str, Tensor]) -> None:
    noise = torch.randn(1, 80, 172, generator=torch.Generator().manual_seed(PUBLISHED_SEED))
    close(flow.sample(recorded["inf.tokens"], torch.tensor([25]), noise), recorded["inf.mel"])


@torch.no_grad()
def test_encoder_pieces(whole_flow: FlowModel, cases: dict[str, Tensor]) -> None:
    close(relative_positions(23, 32), cases["enc.pos_emb"][0])
    close(time_embedding(torch.tensor([0.3]), 320), cases["est.time_embedding_of_0.3"])
    embedded = whole_flow.input_embedding(cases["enc.tokens"])
    padding = torch.arange(23) >= cases["enc.lengths"][:, None]
    close(embedded.masked_fill(padding[..., None], 0.0), cases["enc.embedded"])
    entered = whole_flow.encoder.embed(cases["enc.embedded"])
    close(entered, cases["enc.after_input_layer"])
    allowed = block_causal_mask(23, 10) & ~padding[:, None]
    layer = whole_flow.encoder.encoders[0]
    close(layer(entered, cases["enc.pos_emb"][0], allowed[:, None]), cases["enc.after_layer0"])
    close(whole_flow.encoder_proj(cases["enc.out"]), cases["enc.proj"])


@torch.no_grad()
def test_regulator(whole_flow: FlowModel, cases: dict[str, Tensor]) -> None:
    lengths = whole_flow.num_frames(cases["enc.lengths"])
    assert torch.equal(lengths, cases["enc.feat_len"])
    out = whole_flow.length_regulator(cases["enc.proj"], cases["enc.lengths"], lengths)
    close(out[0].T, cases["enc.mu"][0])  # the longest item has no padding to leak


@torch.no_grad()
@pytest.mark.usefixtures("as_published")
def test_padded_regulator(whole_flow: FlowModel, cases: dict[str, Tensor]) -> None:
    lengths = cases["enc.feat_len"]
    out = whole_flow.length_regulator(cases["enc.proj"], cases["enc.lengths"], lengths)
    real = torch.arange(int(lengths.max())) < lengths[:, None]
    close(out.transpose(1, 2) * real[..., None], cases["enc.mu"])


@torch.no_grad()
@pytest.mark.parametrize("name", ["even", "odd"])
def test_estimator(whole_flow: FlowModel, cases: dict[str, Tensor], name: str) -> None:
    case = {k.rpartition(".")[2]: v for k, v in cases.items() if k.startswith(f"est.{name}.")}
    given = condition(case["mu"], case["spks"], case["cond"])
    out = whole_flow.decoder.estimator(case["x"], case["mask"], given, case["t"])
    alone = case["mask"].all(-1)[:, 0]
    close(out[alone], case["out"][alone])


@torch.no_grad()
@pytest.mark.usefixtures("as_published")
@pytest.mark.parametrize("name", ["even", "odd"])
def test_padded_estimator(whole_flow: FlowModel, cases: dict[str, Tensor], name: str) -> None:
    case = {k.rpartition(".")[2]: v for k, v in cases.items() if k.startswith(f"est.{name}.")}
    given = condition(case["mu"], case["spks"], case["cond"])
    out = whole_flow.decoder.estimator(case["x"], case["mask"], given, case["t"])
    close(out, case["out"])
    same_time = torch.full((2,), 0.41)
    out = whole_flow.decoder.estimator(case["x"], case["mask"], given, same_time)
    close(out, case["out_scalar_t"])


@torch.no_grad()
def test_solver(whole_flow: FlowModel, cases: dict[str, Tensor]) -> None:
    given = condition(cases["ode.mu"], cases["ode.spks"], cases["ode.cond"])
    close(whole_flow.decoder.solve(cases["ode.z"], None, given), cases["ode.out"])
    estimator = whole_flow.decoder.estimator
    for step in range(2):
        x, time = cases["ode.x_at_step"][step : step + 1], cases["ode.t_at_step"][step : step + 1]
        close(estimator(x, None, given, time)[0], cases["ode.cond_velocity"][step])
        hidden = torch.zeros_like(given)
        close(estimator(x, None, hidden, time)[0], cases["ode.uncond_velocity"][step])


@torch.no_grad()
def test_every_step_of_the_solver(
    whole_flow: FlowModel, cases: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    velocity = whole_flow.decoder.velocity

    def watch(x: Tensor, mask: Tensor | None, condition: Tensor, time: Tensor) -> Tensor:
        seen.append(x)
        return velocity(x, mask, condition, time)

    monkeypatch.setattr(whole_flow.decoder, "velocity", watch)
    given = condition(cases["ode.mu"], cases["ode.spks"], cases["ode.cond"])
    whole_flow.decoder.solve(cases["ode.z"], None, given)
    close(torch.cat(seen), cases["ode.x_at_step"])


@torch.no_grad()
def test_speaking_with_stored_noise(whole_flow: FlowModel, cases: dict[str, Tensor]) -> None:
    out = whole_flow.sample(cases["inf.tokens"], torch.tensor([25]), cases["inf.noise"])
    close(out, cases["inf.mel"])


@torch.no_grad()
def test_continuing_a_prompt(whole_flow: FlowModel, cases: dict[str, Tensor]) -> None:
    prompt = cases["infp.prompt_feat"].transpose(1, 2)
    out = whole_flow.sample(
        torch.cat([cases["infp.prompt_tokens"], cases["infp.tokens"]], dim=1),
        torch.tensor([22]),
        cases["infp.noise"],
        prompt=prompt,
        speaker=cases["infp.embedding"],
    )
    close(out[..., prompt.shape[-1] :], cases["infp.mel"])


@pytest.mark.usefixtures("as_published")
def test_training(whole_flow: FlowModel, training: dict[str, Tensor]) -> None:
    given = training["seen.cond"].abs().sum(1).gt(0).sum(-1)
    losses = whole_flow.losses(
        training["batch.speech_token"],
        training["batch.speech_token_len"],
        training["batch.speech_feat"].transpose(1, 2),
        training["batch.speech_feat_len"],
        given,
        draws=FlowDraws(
            training["draw.t_uniform"].flatten(),
            training["draw.z"],
            training["draw.cfg_uniform"] <= TINY.guidance_dropout,
        ),
        speaker=training["batch.embedding"],
    )
    close(losses.flow, training["loss"], 1e-5)
    losses.flow.backward()
    names = [name.removeprefix("grad.") for name in training if name.startswith("grad.")]
    assert len(names) == 3
    for name in names:
        gradient = whole_flow.get_parameter(name).grad
        assert gradient is not None
        close(gradient, training[f"grad.{name}"], 1e-5)
