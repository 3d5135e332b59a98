"""Training: what a batch is, what is cut and prompted, and that the loss falls."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from decoder.config import EncoderConfig, EstimatorConfig, FlowConfig, VocoderConfig
from decoder.data import Collate, FlowDataset, FlowItem
from decoder.train_flow import Start, train_flow
from decoder.vocoder import HiFTGenerator
from voiceglm.audio import load_audio, save_audio
from voiceglm.batches import Shared
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, write_manifest
from voiceglm.train_config import TrainConfig

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
    item, again = (dataset.draw(1, torch.Generator()) for _ in range(2))
    assert item.codes.shape == (13,)
    assert item.mel.shape == (80, int(13 * 6.890625))
    assert torch.equal(item.mel, again.mel)


def items(*num_codes: int) -> list[FlowItem]:
    """Recordings whose mel says in which frame one is."""
    return [
        FlowItem(
            torch.arange(n),
            torch.arange(int(n * 6.890625)).float().expand(80, -1),
            torch.Generator().manual_seed(n),
        )
        for n in num_codes
    ]


def shared(lengths: list[int], seed: int = 0) -> Shared:
    return Shared(torch.Generator().manual_seed(seed), lengths)


def test_a_batch_is_cut_to_its_shortest() -> None:
    batch = Collate(CONFIG)(items(9, 7, 8), shared([9, 7, 8]))
    assert batch["codes"].shape == (3, 7)
    assert batch["mel"].shape == batch["noise"].shape == (3, 80, 48)
    assert batch["codes"][0].tolist() == list(range(7))
    assert batch["mel"][0, 0].tolist() == list(range(48))


def test_the_shares_of_a_batch_are_the_batch() -> None:
    lengths = [25, 24, 26, 23]
    for seed in range(20):
        whole = Collate(CONFIG)(items(*lengths), shared(lengths, seed))
        halves = [
            Collate(CONFIG)(items(*half), shared(lengths, seed)) for half in ([25, 24], [26, 23])
        ]
        for name, value in whole.items():
            assert torch.equal(value, torch.cat([half[name] for half in halves])), name


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


def test_prompts_and_hidden_conditions_are_drawn_as_published() -> None:
    config = replace(CONFIG, crop_probability=0.0)
    drawn = [Collate(config)([item], shared([15])) for item in many(15, 4000)]
    prompts = torch.cat([batch["prompt_lengths"] for batch in drawn])
    assert 0.45 < float((prompts == 0).float().mean()) < 0.55
    assert int(prompts.max()) == int(0.8 * 103 + 1)
    assert 36 < float(prompts[prompts > 0].float().mean()) < 46
    assert 0.18 < float(torch.cat([batch["hidden"] for batch in drawn]).float().mean()) < 0.22


def many(num_codes: int, count: int) -> Iterator[FlowItem]:
    """The same recording, drawn anew."""
    (item,) = items(num_codes)
    for seed in range(count):
        yield replace(item, generator=torch.Generator().manual_seed(seed))


def test_batches_are_cut_at_blocks() -> None:
    seen = set()
    for seed in range(60):
        batch = Collate(CONFIG)(items(25), shared([25], seed))
        codes, frames = batch["codes"][0], batch["mel"][0, 0]
        assert len(frames) == int(len(codes) * 6.890625)
        assert frames[0] == int(int(codes[0]) * 6.890625)
        seen.add((int(codes[0]), len(codes)))
    assert seen == {(0, 10), (10, 10), (0, 20), (0, 25)}


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


def test_it_lets_hear_what_it_speaks(manifest: Path, tmp_path: Path) -> None:
    vocoder = HiFTGenerator(
        VocoderConfig(
            base_channels=16,
            f0_channels=8,
            f0_num_layers=1,
            num_harmonics=1,
            resblock_kernel_sizes=(3,),
            resblock_dilations=(1,),
            source_resblock_kernel_sizes=(3, 3),
            source_resblock_dilations=(1,),
        )
    )
    train = TrainConfig(steps=2, batch_size=4, sample_every=1, log_every=1, precision="float32")
    train_flow(manifest, CONFIG, train, tmp_path / "run", start=Start(vocoder=vocoder))
    first, second = (
        load_audio(tmp_path / "run" / "samples" / f"step_{step}" / "0_spoken.wav", 22_050)
        for step in (1, 2)
    )
    recorded = load_audio(tmp_path / "run" / "samples" / "step_1" / "0_recorded.wav", 22_050)
    assert len(first) == len(second)
    assert abs(len(first) - len(recorded)) < 2 * SAMPLES_PER_CODE
    assert not torch.equal(first, second), "the model of each step is heard"
