"""The flow learns several voices, keeps its default one, and goes on from another flow."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from decoder.data import Collate, FlowDataset, FlowItem, VoicesConfig, embed_rows
from decoder.flow import FlowDraws
from decoder.flow_model import FlowModel
from decoder.speaker import SpeakerConfig, SpeakerEncoder
from decoder.train_flow import EMBEDDINGS, FlowTrainingModel, Start, train_flow
from tests.decoder.buzzers import write_buzzers
from tests.decoder.test_train_flow import CONFIG
from voiceglm.batches import Shared
from voiceglm.errors import CheckpointError, ConfigError
from voiceglm.manifest import read_manifest
from voiceglm.train_config import TrainConfig

FLOW = replace(CONFIG, speaker_dim=12, prompt_probability=0.0, crop_probability=0.0)
TRAIN = TrainConfig(steps=4, batch_size=4, save_every=2, log_every=1, precision="float32")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings of each of four speakers."""
    return write_buzzers(tmp_path_factory.mktemp("buzz"), 4)


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    """An encoder with random weights: it, too, tells buzzes apart."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpeakerEncoder(SpeakerConfig(channels=8, dim=12, dilations=(1,))).eval()


def test_each_row_comes_with_its_speaker(
    manifest: Path, encoder: SpeakerEncoder, tmp_path: Path
) -> None:
    rows = embed_rows(encoder, manifest, tmp_path / EMBEDDINGS)
    assert rows.shape == (16, 12)
    data = FlowDataset(manifest, FLOW, VoicesConfig(default="ben", hidden=0.3), rows)
    names = [one.speaker for one in read_manifest(manifest)]
    for number, name in enumerate(names):
        item = data.draw(number, torch.Generator())
        assert item.speaker is not None
        assert torch.equal(item.speaker, rows[number])
        assert item.untold == (0.3 if name == "ben" else 0.0)
    everybody = FlowDataset(manifest, FLOW, VoicesConfig(hidden=0.3), rows)
    assert {everybody.draw(n, torch.Generator()).untold for n in range(16)} == {0.3}


def test_only_one_speaker_is_learned_from(
    manifest: Path, encoder: SpeakerEncoder, tmp_path: Path
) -> None:
    rows = embed_rows(encoder, manifest, tmp_path / EMBEDDINGS)
    data = FlowDataset(manifest, FLOW, VoicesConfig(speaker="cid"), rows)
    assert len(data) == 4
    places = [n for n, one in enumerate(read_manifest(manifest)) if one.speaker == "cid"]
    found = [data.draw(number, torch.Generator()).speaker for number in range(4)]
    assert all(torch.equal(rows[n], one) for n, one in zip(places, found, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("setting", ["speaker", "default"])
def test_a_speaker_nobody_knows_is_refused(manifest: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"voices.{setting} is 'eve'.*known: ann, ben, cid, dora"):
        FlowDataset(manifest, FLOW, replace(VoicesConfig(), **{setting: "eve"}))  # type: ignore[arg-type]


def test_embeddings_are_computed_once(
    manifest: Path, encoder: SpeakerEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / EMBEDDINGS
    first = embed_rows(encoder, manifest, kept)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:100])  # as a kill leaves nothing of ours, but a disk may
    assert torch.equal(embed_rows(encoder, manifest, kept), first)
    monkeypatch.setattr(encoder, "embed", lambda *_: pytest.fail("computed again"))
    assert torch.equal(embed_rows(encoder, manifest, kept), first)


def items(count: int, untold: float) -> list[FlowItem]:
    """Draw recordings of speakers that are told apart by one number."""
    return [
        FlowItem(
            torch.zeros(3).long(),
            torch.zeros(80, 20),
            torch.Generator().manual_seed(n),
            torch.full((12,), 1.0 + n),
            untold,
        )
        for n in range(count)
    ]


def joined(given: list[FlowItem]) -> dict[str, Tensor]:
    return Collate(FLOW)(given, Shared(torch.Generator().manual_seed(0), [3] * len(given)))


def test_a_batch_says_who_speaks_but_for_a_share() -> None:
    assert joined(items(2, 0.0))["speaker"].tolist() == [[1.0] * 12, [2.0] * 12]
    assert not joined(items(2, 1.0))["speaker"].any()
    some = joined(items(2000, 0.3))["speaker"]
    told = some.any(1)
    assert torch.equal(some[told][:, 0], 1.0 + torch.arange(2000.0)[told])
    assert 0.27 < 1 - float(told.float().mean()) < 0.33


def test_one_voice_draws_what_it_drew_before_there_were_several() -> None:
    several = joined(items(4, 0.5))
    one = joined([replace(item, speaker=None) for item in items(4, 0.5)])
    assert one.keys() == several.keys() - {"speaker"}
    for name, value in one.items():
        assert torch.equal(value, several[name]), name


def test_who_speaks_is_learned_only_where_it_is_told() -> None:
    model = FlowTrainingModel(FlowModel(replace(FLOW, guidance_dropout=0.0)))
    weight = model.flow.spk_embed_affine_layer.weight
    for untold in (0.0, 1.0):
        weight.grad = None
        batch = joined([replace(item, mel=torch.randn(80, 20)) for item in items(4, untold)])
        model(**batch | {"hidden": torch.zeros(4, dtype=torch.bool)})["loss"].backward()
        assert weight.grad is not None
        assert bool(weight.grad.any()) == (untold == 0.0)


def test_resuming_equals_never_having_stopped(
    manifest: Path, encoder: SpeakerEncoder, tmp_path: Path
) -> None:
    voices, start = VoicesConfig(default="ann", hidden=0.5), Start(encoder=encoder)
    train = replace(TRAIN, steps=3)
    whole = train_flow(manifest, FLOW, train, tmp_path, voices=voices, start=start)
    shutil.rmtree(tmp_path / "checkpoint-3")
    resumed = train_flow(manifest, FLOW, train, tmp_path, voices=voices, start=start)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_the_second_stage_starts_from_the_first(manifest: Path, tmp_path: Path) -> None:
    first = train_flow(manifest, FLOW, TRAIN, tmp_path / "many")
    train = replace(TRAIN, steps=1, peak_lr=1e-9)
    start = Start(tensors=first.state_dict(), where="the first stage")
    voices = VoicesConfig(speaker="ann")
    second = train_flow(manifest, FLOW, train, tmp_path / "one", voices=voices, start=start)
    for name, weight in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], weight, rtol=0, atol=1e-6)
    wider = replace(FLOW, speaker_dim=13)
    with pytest.raises(CheckpointError, match="the first stage does not fit FlowModel"):
        train_flow(manifest, wider, train, tmp_path / "wide", start=start)


def test_an_encoder_of_another_size_is_refused(
    manifest: Path, encoder: SpeakerEncoder, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"model\.speaker_dim is 192, .* gives 12 numbers"):
        train_flow(manifest, CONFIG, TRAIN, tmp_path, start=Start(encoder=encoder))


def test_guidance_hides_content_speaker_and_prompt_together() -> None:
    """As published: all conditions of an item are hidden at once."""
    flow = FlowModel(FLOW).eval()
    generator = torch.Generator().manual_seed(0)
    mel, noise = torch.randn(2, 3, 80, 20, generator=generator)
    lengths = torch.full((3,), 20)

    def error(codes: int, who: float, prompt: int, *, hidden: bool) -> float:
        draws = FlowDraws(torch.full((3,), 0.5), noise, torch.full((3,), hidden))
        given = (torch.full((3, 3), codes), torch.full((3,), 3), mel, lengths, lengths * 0 + prompt)
        with torch.no_grad():
            return float(flow.losses(*given, draws=draws, speaker=torch.full((3, 12), who)).flow)

    assert error(0, 1.0, 0, hidden=True) == error(3, -1.0, 10, hidden=True)
    shown = {error(0, 1.0, 0, hidden=False), error(3, 1.0, 0, hidden=False)}
    shown |= {error(0, -1.0, 0, hidden=False), error(0, 1.0, 10, hidden=False)}
    assert len(shown) == 4
