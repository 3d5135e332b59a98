"""What several people who talk at once do to a recording: babble of held-out voices behind it."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from data_synth.joined import at_once
from voiceglm.augmentation import at_snr, stretch_of
from voiceglm.manifest import Utterance

RATIO_DB = 10.0
"""Of the mean powers of a whole recording and of the babble behind it."""
_SOUNDS = 24  # of ten seconds; every recording gets a stretch of one of them


class Babble:
    """Puts babble behind recordings, the same for the same voices, seed and place.

    Args:
        voices: Who babbles.
        seed: Decides who says what, and where a stretch begins.

    Raises:
        AudioError: If a voice's recording cannot be read.
    """

    def __init__(self, voices: Sequence[Utterance], seed: int):
        self._seed = seed
        rngs = (random.Random(f"babble/{seed}/{number}") for number in range(_SOUNDS))
        self._sounds = [at_once(voices, rng) for rng in rngs]  # (num_samples,) each, at 16 kHz

    def behind(self, samples: Tensor, place: int) -> Tensor:
        """Return a recording with babble behind it, its peak at most 1.

        Args:
            samples: (num_samples,) at 16 kHz.
            place: Of the recording in its set; decides the babble.
        """
        rng = random.Random(f"babble/{self._seed}/place/{place}")
        generator = torch.Generator().manual_seed(rng.getrandbits(32))
        noise = stretch_of(rng.choice(self._sounds), len(samples), generator)
        mixed = samples + at_snr(noise, samples, RATIO_DB)
        return mixed / mixed.abs().max().clamp_min(1.0)
