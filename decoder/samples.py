"""What flow and vocoder sound like while they are trained."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from decoder.clips import Clips
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.vocoder import HiFTGenerator
from voiceglm.audio import save_audio
from voiceglm.manifest import Utterance, read_samples

SHOWN = 3


class FlowSamples:
    """Speaks some recordings anew, with the default voice.

    Args:
        flow: In training.
        vocoder: Of the same mel.
        utterances: With their ``codes``; the first few are taken.

    Raises:
        ConfigError: If flow and vocoder speak different mels.
    """

    def __init__(
        self, flow: FlowModel, vocoder: HiFTGenerator, utterances: Sequence[Utterance]
    ) -> None:
        self._decoder = SpeechDecoder(flow, vocoder)
        heard = (one for one in utterances if one.extra.get("codes"))
        self._utterances = tuple(islice(heard, SHOWN))

    def __call__(self, folder: Path) -> None:
        """Write ``N_recorded.wav`` and ``N_spoken.wav`` of each into a folder."""
        rate = self._decoder.sample_rate
        for number, utterance in enumerate(self._utterances):
            spoken = self._decoder.decode(utterance.extra["codes"]).cpu()
            save_audio(folder / f"{number}_recorded.wav", read_samples(utterance, rate), rate)
            save_audio(folder / f"{number}_spoken.wav", spoken, rate)


@torch.no_grad()
def show_copies(generator: HiFTGenerator, clips: Clips, folder: Path) -> None:
    """Write clips as they were recorded and as they come out of their own mel.

    Args:
        generator: In training; goes on in it.
        clips: The first few are taken; there may be none.
        folder: Gets ``N_recorded.wav`` and ``N_made.wav``.
    """
    rate, device = generator.config.sample_rate, generator.window.device
    generator.eval()
    for number in range(min(SHOWN, len(clips))):
        folder.mkdir(parents=True, exist_ok=True)
        clip = clips[number]
        draws = torch.Generator().manual_seed(0)
        made = generator(clip.mel[None].to(device), generator=draws)[0].cpu()
        save_audio(folder / f"{number}_recorded.wav", clip.samples.float() / 32_767, rate)
        save_audio(folder / f"{number}_made.wav", made, rate)
    generator.train()
