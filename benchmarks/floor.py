"""Counts the codes that a stream with a moving log-mel floor hears otherwise than the whole.

    python benchmarks/floor.py MANIFEST [...] [--model nano] [-o floor.json]

The floor of a whole recording is its loudest value minus 8 (Whisper's rule), which a stream does
not know before it has come. Nothing else makes the two differ, so a model's own fixed floor is put
aside. With a folder of a released tokenizer as the model, this measures that tokenizer.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from tokenizer.model import SpeechTokenizer
from voiceglm.audio import check_samples
from voiceglm.errors import AudioError
from voiceglm.files import write_file
from voiceglm.manifest import read_manifest, read_samples
from voiceglm.report import commit

RATE = 16_000
CHUNK = RATE // 10


def with_moving_floor(tokenizer: SpeechTokenizer) -> SpeechTokenizer:
    """Return the same weights, without a fixed floor."""
    config = tokenizer.config
    moving = SpeechTokenizer(replace(config, features=replace(config.features, fixed_floor=None)))
    moving.load_state_dict(tokenizer.state_dict())
    return moving.eval()


def streamed(tokenizer: SpeechTokenizer, samples: Tensor) -> list[int]:
    """Return the codes of a recording that comes in tenths of a second."""
    state = tokenizer.start()
    codes = [code for chunk in samples.split(CHUNK) for code in tokenizer.step(chunk, state)]
    return codes + tokenizer.finish(state)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--model", default="nano", help="name or folder of a speech tokenizer")
    parser.add_argument("--recordings", type=int, default=200, help="of each manifest, spread out")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = with_moving_floor(SpeechTokenizer.from_pretrained(args.model))
    found = {}
    for manifest in args.manifests:
        rows = read_manifest(manifest)
        counts = torch.zeros(3, dtype=torch.long)  # codes, other codes, other after one second
        for row in tqdm(rows[:: max(1, len(rows) // args.recordings)], unit="recording"):
            samples = read_samples(row, RATE)
            try:
                check_samples(samples, RATE, what="the recording")
            except AudioError:  # one of silence has no loudest value
                continue
            whole = torch.tensor(tokenizer.encode(samples, RATE))
            other = whole != torch.tensor(streamed(tokenizer, samples))
            later = other[round(tokenizer.frame_rate) :].sum()
            counts += torch.stack([torch.tensor(len(other)), other.sum(), later])
        total, differ, later = counts.tolist()
        found[manifest.parent.name] = {
            "codes": total,
            "differ_percent": round(100 * differ / total, 2),
            "differ_after_the_first_second_percent": round(100 * later / total, 2),
        }
    result = {"commit": commit(), "model": str(args.model), "sets": found}
    text = json.dumps(result, indent=1) + "\n"
    sys.stdout.write(text)
    if args.output:
        write_file(args.output, text.encode())


if __name__ == "__main__":
    main()
