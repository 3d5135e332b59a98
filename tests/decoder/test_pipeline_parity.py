"""The published streaming loop, call by call: given its inputs, every call gives its numbers.

Its chunks differ from ours on purpose (docs/porting.md, streaming), so only single calls are equal.
The recorded numbers are too large for this repository; the tests are skipped where they are not
beside it.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from decoder.model import Prompt, SpeechDecoder
from tests.released import write_decoder

CHUNKS = (25, 50, 20)


@pytest.fixture
def recorded(shared_golden: Path) -> dict[str, Tensor]:
    return load_file(shared_golden / "pipeline" / "streaming.safetensors")


@pytest.fixture
def published(shared_golden: Path, tmp_path: Path) -> SpeechDecoder:
    return SpeechDecoder.from_pretrained(write_decoder(tmp_path / "decoder", shared_golden))


def noise(num_frames: int) -> Tensor:
    """What the published loop draws at every call."""
    return torch.randn(1, 80, num_frames, generator=torch.Generator().manual_seed(42))[0]


def close(actual: Tensor, expected: Tensor, within: float) -> None:
    torch.testing.assert_close(actual, expected, atol=within, rtol=0)


@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_the_mel_of_a_chunk(
    published: SpeechDecoder, recorded: dict[str, Tensor], chunk: int
) -> None:
    codes = recorded["tokens"][0].tolist()
    start, end = sum(CHUNKS[:chunk]), sum(CHUNKS[: chunk + 1])
    prompt = None
    if chunk:
        said = [recorded[f"web.{n}.vocoder_mel"][0] for n in range(chunk)]
        prompt = Prompt(codes[:start], torch.cat(said, dim=1))
    frames = int(published.flow.num_frames(torch.tensor([end])))
    mel = published.mel(codes[start:end], noise=noise(frames), prompt=prompt)
    close(mel, recorded[f"web.{chunk}.flow_mel"][0], within=1e-4)


@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_the_samples_of_a_chunk(
    published: SpeechDecoder, recorded: dict[str, Tensor], chunk: int
) -> None:
    mel, source = (recorded[f"web.{chunk}.{name}"] for name in ("vocoder_mel", "source"))
    with torch.inference_mode():
        samples = published.vocoder.synthesize(mel, source)
    sent = recorded[f"web.{chunk}.wav"]
    close(samples[:, : sent.shape[1]], sent, within=1e-3)


def test_a_whole_reply(published: SpeechDecoder, recorded: dict[str, Tensor]) -> None:
    codes = recorded["tokens"][0, :40].tolist()
    mel = published.mel(codes, noise=noise(275))
    with torch.inference_mode():
        samples = published.vocoder.synthesize(mel[None], recorded["offline40.source"])
    close(samples, recorded["offline40.wav"], within=1e-3)


def test_no_frame_is_lost_as_in_the_published_loop(
    published: SpeechDecoder, recorded: dict[str, Tensor]
) -> None:
    """There, blocks of 10 give 273 of 275 frames and the demo's chunks 653 of 654."""
    codes = recorded["tokens"][0].tolist()
    assert recorded["stream40.wav"].shape[1] == 273 * 256
    for count, frames in ((40, 275), (95, 654)):
        stream = published.start()
        parts = [stream.push([code]) for code in codes[:count]]
        assert sum(map(len, [*parts, stream.finish()])) == frames * 256
