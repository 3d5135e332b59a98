"""Training: what a batch is, what is cut and prompted, and that the loss falls."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from decoder.config import EncoderConfig, EstimatorConfig, FlowConfig
from decoder.data import FlowDataset, FlowItem, collate
from decoder.flow_model import FlowModel
from decoder.train_flow import FlowTrainingModel, draw_prompt_lengths, train_flow
from voiceglm.audio import save_audio
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, write_manifest
from voiceglm.training import TrainConfig

CONFIG = FlowConfig(
    num_codes=4,
    mel_mean=-6.0,
    mel_std=3.0,
    content_weight=1.0,
    encoder=EncoderConfig(dim=16, num_heads=2, hidden_dim=32, num_layers=1, dropout=0.0),
    estimator=EstimatorConfig(
        channels=(32,), num_blocks=1, num_mid_blocks=0, num_heads=2, head_dim=8
    ),
)
SAMPLES_PER_CODE = 1764


def tones(codes: list[int]) -> Tensor:
    """Speak every code as a tone of its own: (num_samples,)."""
    time = torch.arange(SAMPLES_PER_CODE) / 22_050
    return torch.cat([0.3 * torch.sin(2 * torch.pi * 300 * (c + 1) * time) for c in codes])


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve recordings of a voice that sings its codes."""
    generator = torch.Generator().manual_seed(0)
    utterances = []
    for number in range(12):
        codes = torch.randint(4, (12 + number % 3,), generator=generator).tolist()
        path = tmp_path / f"{number}.wav"
        save_audio(path, tones(codes)[:-900], 22_050)  # the last code is not full
        utterances.append(Utterance(path=path, text="la", extra={"codes": codes}))
    write_manifest(tmp_path / "manifest.jsonl", utterances)
    return tmp_path / "manifest.jsonl"


def test_frames_follow_from_codes(manifest: Path) -> None:
    dataset = FlowDataset(manifest, CONFIG)
    assert dataset.lengths == [12, 13, 14] * 4
    item = dataset[1]
    assert item.codes.shape == (13,)
    assert item.mel.shape == (80, int(13 * 6.890625))
    assert torch.equal(item.mel, dataset[1].mel)


def test_a_batch_is_cut_to_its_shortest() -> None:
    items = [FlowItem(torch.arange(n), torch.randn(80, int(n * 6.890625))) for n in (9, 7, 8)]
    batch = collate(CONFIG)(items)
    assert batch["codes"].shape == (3, 7)
    assert batch["mel"].shape == (3, 80, 48)
    assert torch.equal(batch["mel"][0], items[0].mel[:, :48])


@pytest.mark.parametrize("codes", [None, [1, 4], [-1]])
def test_recordings_without_good_codes_are_refused(tmp_path: Path, codes: list[int] | None) -> None:
    extra = {} if codes is None else {"codes": codes}
    write_manifest(
        tmp_path / "m.jsonl", [Utterance(path=tmp_path / "a.wav", text="a", extra=extra)]
    )
    with pytest.raises(ConfigError, match=r"a\.wav needs 'codes' in 0\.\.3"):
        FlowDataset(tmp_path / "m.jsonl", CONFIG)


def test_an_empty_manifest_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.jsonl", [])
    with pytest.raises(ConfigError, match="no recordings"):
        FlowDataset(tmp_path / "m.jsonl", CONFIG)


def test_prompts_are_drawn_as_published() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prompts = draw_prompt_lengths(torch.full((4000,), 100), CONFIG)
    assert 0.45 < float((prompts == 0).float().mean()) < 0.55
    assert int(prompts.max()) == 80
    assert 35 < float(prompts[prompts > 0].float().mean()) < 45


def test_batches_are_cut_after_whole_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FlowTrainingModel(FlowModel(CONFIG))
    seen: set[int] = set()
    losses = model.flow.losses

    def watch(codes: Tensor, code_lengths: Tensor, mel: Tensor, *rest: Tensor, **named: object):
        assert mel.shape[-1] == int(codes.shape[1] * 6.890625)
        assert code_lengths.tolist() == [codes.shape[1]]
        seen.add(codes.shape[1])
        return losses(codes, code_lengths, mel, *rest, **named)

    monkeypatch.setattr(model.flow, "losses", watch)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(30):
            model(codes=torch.zeros(1, 25, dtype=torch.long), mel=torch.randn(1, 80, 172))
    assert seen == {10, 20, 25}


def test_the_loss_falls(manifest: Path, tmp_path: Path) -> None:
    train = TrainConfig(
        steps=60, batch_size=4, peak_lr=5e-3, warmup_steps=5, log_every=15, precision="float32"
    )
    flow = train_flow(manifest, CONFIG, train, tmp_path / "run")
    assert not flow.training
    rows = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    logged = [row for row in rows if "flow_loss" in row]
    assert logged[-1]["flow_loss"] < 0.8 * logged[0]["flow_loss"]
    assert logged[-1]["content_loss"] < 0.5 * logged[0]["content_loss"]
    for name in ("loss", "flow_loss", "content_loss"):
        assert logged[-1][name] > 0


def test_resuming_equals_never_having_stopped(manifest: Path, tmp_path: Path) -> None:
    train = TrainConfig(steps=3, batch_size=4, save_every=2, log_every=1, precision="float32")
    whole = train_flow(manifest, CONFIG, train, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoint-3")
    assert (tmp_path / "run" / "checkpoint-2").is_dir()
    resumed = train_flow(manifest, CONFIG, train, tmp_path / "run")
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
