"""Made-up speakers: each a buzz of a pitch and a timbre of their own, singing codes."""

import math
from pathlib import Path

import torch
from torch import Tensor

from voiceglm.audio import save_audio
from voiceglm.manifest import Utterance, write_manifest

RATE = 22_050
SAMPLES_PER_CODE = 1_764
PITCHES = {"ann": 210.0, "ben": 110.0, "cid": 150.0, "dora": 260.0}
NUM_CODES = 4


def buzz(speaker: str, codes: list[int], level: float = 0.2) -> Tensor:
    """Sing codes, louder and louder: (num_samples,).

    A code is the harmonics that are loud, the speaker the pitch.
    """
    hertz = PITCHES[speaker]
    time = torch.arange(SAMPLES_PER_CODE * len(codes)) / RATE
    loud = torch.tensor(codes).repeat_interleave(SAMPLES_PER_CODE)
    parts = [
        torch.sin(2 * math.pi * hertz * n * time) / n * (1 + 4 * (loud == n % NUM_CODES))
        for n in range(1, 13)
    ]
    return level * torch.stack(parts).sum(0) / 4 * torch.linspace(0.2, 1, len(time))


def write_buzzers(folder: Path, lines_each: int, *, seed: int = 0, num_codes: int = 14) -> Path:
    """Record every speaker, with codes, and return the manifest."""
    generator = torch.Generator().manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    utterances = []
    for number in range(lines_each):
        for speaker in PITCHES:
            codes = torch.randint(NUM_CODES, (num_codes,), generator=generator).tolist()
            path = folder / f"{speaker}_{number}.wav"
            save_audio(path, buzz(speaker, codes), RATE)
            row = {"codes": codes}
            utterances.append(Utterance(path=path, text="la la", speaker=speaker, extra=row))
    write_manifest(folder / "manifest.jsonl", utterances)
    return folder / "manifest.jsonl"
