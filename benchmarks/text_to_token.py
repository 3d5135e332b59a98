"""How well the text-to-token model speaks held-out sentences, read back in two ways; its speed.

    python benchmarks/text_to_token.py MODEL RECOGNIZER MANIFEST -o benchmarks/text_to_token.json

MODEL is a model's folder with ``text_to_token/`` (or ``nano``), RECOGNIZER a tokenizer
that shares nothing with it, MANIFEST lists recordings with texts that nothing was trained on. The
texts are spoken by the text-to-token model; beside it stand the recordings' own codes.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from data_synth.batch_lm import Choice
from data_synth.local_lm import LocalEngine
from data_synth.models import speech_ids
from decoder.model import SpeechDecoder
from tokenizer.model import SpeechTokenizer
from voiceglm.checkpoint import resolve
from voiceglm.error_rate import character_errors, word_errors
from voiceglm.language_model import VoiceLM
from voiceglm.manifest import read_manifest, read_samples
from voiceglm.report import commit

RATE = 16_000
LEAST, PER_LETTER = 25, 3.0  # codes a sentence may have


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("recognizer", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--trained", type=Path, help="rows.jsonl; what occurs in it is left out")
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--temperature", type=float, default=Choice.temperature)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    known = args.trained.read_text() if args.trained else ""
    unseen = [
        one for one in read_manifest(args.manifest) if json.dumps(one.text)[1:-1] not in known
    ]
    utterances = unseen[: args.sentences]
    texts = [one.text or "" for one in utterances]
    tokenizer = SpeechTokenizer.from_pretrained(args.model)
    model = VoiceLM.from_pretrained(resolve(args.model, "text_to_token"))
    choice = Choice(temperature=args.temperature)
    spoken, seconds = speak(model, texts, choice, args.seed)
    recorded = tokenizer.encode_batch([read_samples(one, RATE) for one in utterances], RATE)
    judge = SpeechTokenizer.from_pretrained(args.recognizer)
    decoder = SpeechDecoder.from_pretrained(args.model)
    found: dict[str, Any] = {
        "commit": commit(),
        "machine": f"{platform.machine()}, 1 thread",
        "model": str(args.model),
        "sentences": len(texts),
        "temperature": args.temperature,
        "codes_per_second": round(sum(map(len, spoken)) / seconds),
        "code_length_ratio": round(sum(map(len, spoken)) / sum(map(len, recorded)), 3),
    }
    raw = {}
    for name, codes in (("text_to_token", spoken), ("recordings", recorded)):
        rows = read_back(tokenizer, decoder, judge, texts, codes, title=name)
        raw[name] = rows
        found[name] = {
            how: {
                "word_error_percent": round(word_errors(rows, heard=how).percent, 2),
                "character_error_percent": round(character_errors(rows, heard=how).percent, 2),
            }
            for how in ("from_codes", "decoded")
        }
    args.output.write_text(f"{json.dumps({**found, 'raw': raw}, indent=1)}\n")
    sys.stdout.write(f"{json.dumps(found, indent=1)}\n")


def speak(
    model: VoiceLM, texts: Sequence[str], choice: Choice, seed: int
) -> tuple[list[list[int]], float]:
    """Return the codes of each text, and the seconds that took."""
    vocabulary = model.vocabulary
    end = vocabulary.end_of_audio
    engine = LocalEngine(model.network, speech_ids(vocabulary), end, choice)
    prompts = [model.writer.speaking_prompt(text) for text in texts]
    rooms = [max(LEAST, round(PER_LETTER * len(text))) for text in texts]
    began = time.monotonic()
    found = engine.generate(prompts, rooms, seed)
    seconds = time.monotonic() - began
    return [[vocabulary.code(i) for i in ids if i != end] for ids in found], seconds


def read_back(
    tokenizer: SpeechTokenizer,
    decoder: SpeechDecoder,
    judge: SpeechTokenizer,
    texts: Sequence[str],
    codes: Sequence[Sequence[int]],
    *,
    title: str,
) -> list[dict[str, str]]:
    """Return what is read off the codes, and off the sound that is made of them."""
    rows = []
    for text, each, read in zip(tqdm(texts, desc=title), codes, tokenizer.read(codes), strict=True):
        samples = decoder.decode(each, generator=torch.Generator().manual_seed(0))
        heard = judge.transcribe(samples, decoder.sample_rate)
        rows.append({"said": text, "from_codes": read, "decoded": heard})
    return rows


if __name__ == "__main__":
    main()
