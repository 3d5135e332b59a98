"""A part comes out of its own checkpoint, out of a decoder, and back into training."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from decoder.config import VocoderConfig
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.parts import load_vocoder, new_flow, new_vocoder, read_flow, read_vocoder
from decoder.vocoder import HiFTGenerator
from tests.decoder.test_streaming import FLOW, VOCODERS
from voiceglm.checkpoint import write_checkpoint
from voiceglm.errors import CheckpointError

VOCODER = VOCODERS["as nano"]


@pytest.fixture
def parts() -> tuple[FlowModel, HiFTGenerator]:
    """A flow and a vocoder as they are trained, weights normalised."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FlowModel(FLOW).eval(), HiFTGenerator(VOCODER).eval()


def test_parts_of_a_decoder_and_of_a_run_are_the_same(
    parts: tuple[FlowModel, HiFTGenerator], tmp_path: Path
) -> None:
    flow, vocoder = parts
    SpeechDecoder(flow, vocoder).save(tmp_path / "model" / "decoder")
    for name, part in (("flow", flow), ("vocoder", vocoder)):
        write_checkpoint(tmp_path / name, asdict(part.config), part.state_dict())
    mel = torch.randn(1, 80, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = vocoder(mel, generator=torch.Generator().manual_seed(0))
        for place in (tmp_path / "model", tmp_path / "model" / "decoder", tmp_path / "vocoder"):
            found = new_vocoder(read_vocoder(place))
            again = found(mel, generator=torch.Generator().manual_seed(0))
            torch.testing.assert_close(again, expected, rtol=0, atol=1e-6)
            names = dict(found.named_parameters()).keys()
            assert names == dict(vocoder.named_parameters()).keys(), "as it is trained"
    for place in (tmp_path / "model", tmp_path / "flow"):
        found_flow = new_flow(read_flow(place))
        for name, weight in flow.state_dict().items():
            assert torch.equal(found_flow.state_dict()[name], weight)


def test_what_does_not_fit_is_refused(
    parts: tuple[FlowModel, HiFTGenerator], tmp_path: Path
) -> None:
    flow, vocoder = parts
    SpeechDecoder(flow, vocoder).save(tmp_path / "model" / "decoder")
    write_checkpoint(tmp_path / "vocoder", asdict(vocoder.config), vocoder.state_dict())
    with pytest.raises(CheckpointError, match="holds no flow: unknown setting"):
        read_flow(tmp_path / "vocoder")
    wide = HiFTGenerator(VocoderConfig(**{**asdict(VOCODER), "base_channels": 32}))
    for place in (tmp_path / "model", tmp_path / "vocoder"):
        with pytest.raises(CheckpointError, match="does not fit"):
            load_vocoder(wide, read_vocoder(place))
    with pytest.raises(CheckpointError, match="no model called"):
        read_flow("nonsense")
