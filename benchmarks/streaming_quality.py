"""Compares speech made in chunks with speech in one piece: how well it is understood, its seams.

    python benchmarks/streaming_quality.py --run runs/nano [-o streaming_quality.json]

The model answers held-out questions of a recipe's run; the codes of each answer are spoken both
ways and heard by the run's independent recognizer. A seam is where one chunk of mel was faded into
the next; jumps between neighbouring samples there are compared with those everywhere else.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from decoder.streaming import StreamConfig
from tokenizer.model import SpeechTokenizer
from voiceglm.audio import resample
from voiceglm.evaluate import RATE, word_errors
from voiceglm.language_model import Sampling, VoiceLM
from voiceglm.manifest import read_manifest, read_samples
from voiceglm.pretrained import load_chat
from voiceglm.report import commit


def seams(num_codes: int, config: StreamConfig, frames_per_code: float) -> list[tuple[int, int]]:
    """Return the mel frames of every fade: (first, past the last)."""
    found, spoken = [], 0
    while spoken + config.size(len(found)) < num_codes:
        spoken += config.size(len(found))
        end = int(spoken * frames_per_code)
        found.append((end - config.overlap, end))
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/nano"))
    parser.add_argument("--model", default="nano")
    parser.add_argument("--replies", type=int, default=100)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    chat = load_chat(args.model)
    model, decoder, config = chat.model, chat.decoder, StreamConfig()
    assert isinstance(model, VoiceLM)
    recognizer = SpeechTokenizer.from_pretrained(args.run / "recognizer" / "model")
    rate, vocabulary = decoder.sample_rate, model.vocabulary
    questions = read_manifest(args.run / "speech" / "test_questions" / "manifest.jsonl")
    rows: dict[str, list[dict[str, str]]] = {"one piece": [], "stream": []}
    at_seams: list[Tensor] = []
    elsewhere: list[Tensor] = []
    for question in tqdm(questions[: args.replies], unit="reply"):
        heard = chat.tokenizer.encode(read_samples(question, RATE), RATE)
        prompt = model.writer.opening("speech") + model.writer.speech_turn(heard)
        ids = list(model.generate(prompt, Sampling(temperature=0.0, max_new_ids=600)))
        codes = [vocabulary.code(id_) for id_ in ids if vocabulary.is_speech(id_)]
        stream = decoder.start()
        streamed = torch.cat([*(stream.push([code]) for code in codes), stream.finish()])
        for name, samples in (("one piece", decoder.decode(codes)), ("stream", streamed)):
            said = recognizer.transcribe(resample(samples, rate, RATE), RATE)
            rows[name].append({"said": model.decode_text(ids), "heard": said})
        jumps = streamed.diff().abs()
        is_seam = torch.zeros(len(jumps), dtype=torch.bool)
        hop = decoder.config.flow.hop_length
        for first, end in seams(len(codes), config, decoder.config.flow.frames_per_code):
            is_seam[first * hop : end * hop] = True
        at_seams.append(jumps[is_seam])
        elsewhere.append(jumps[~is_seam])
    joined, rest = torch.cat(at_seams), torch.cat(elsewhere)
    rank = max(1, round(0.999 * len(rest)))
    result = {
        "commit": commit(),
        "replies": args.replies,
        "word_error_percent": {k: round(word_errors(v).percent, 2) for k, v in rows.items()},
        "largest_jump_in_a_seam": float(joined.max()),
        "share_of_seam_jumps_above_the_99.9th_percentile_elsewhere": float(
            (joined > rest.kthvalue(rank).values).float().mean()
        ),
        "99.9th_percentile_elsewhere": float(rest.kthvalue(rank).values),
        "largest_jump_elsewhere": float(rest.max()),
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if args.output:
        args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
