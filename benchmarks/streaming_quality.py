"""Compares speech made in chunks with speech in one piece: how well it is understood, its seams.

    python benchmarks/streaming_quality.py --run runs/nano [-o streaming_quality.json]

The model answers held-out questions of a recipe's run; the codes of each answer are spoken both
ways and heard by the run's independent recognizer. Jumps between neighbouring samples are looked at
where samples of two calls join, and where one chunk of mel is faded into the next, beside the same
frames of the speech in one piece; outside the fades they tell what is usual.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from decoder.model import shared_decoder
from decoder.streaming import StreamConfig
from tokenizer.model import SpeechTokenizer
from voiceglm.audio import resample
from voiceglm.error_rate import word_errors
from voiceglm.evaluate import RATE
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
    parser.add_argument(
        "--seeds", type=int, default=3, help="of the noise each reply is spoken from"
    )
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    chat = load_chat(args.model)
    model, decoder, config = chat.model, shared_decoder(chat.decoder), StreamConfig()
    assert isinstance(model, VoiceLM)
    recognizer = SpeechTokenizer.from_pretrained(args.run / "recognizer" / "model")
    rate, vocabulary = decoder.sample_rate, model.vocabulary
    questions = read_manifest(args.run / "speech" / "test_questions_en" / "manifest.jsonl")
    rows: dict[str, list[dict[str, str]]] = {"one piece": [], "stream": []}
    jumps: dict[str, list[Tensor]] = {
        name: [] for name in ("joins", "fades", "same frames", "rest")
    }
    hop = decoder.config.flow.hop_length
    for question in tqdm(questions[: args.replies], unit="reply"):
        heard = chat.tokenizer.encode(read_samples(question, RATE), RATE)
        prompt = model.writer.opening("speech") + model.writer.speech_turn(heard)
        ids = list(model.generate(prompt, Sampling(temperature=0.0, max_new_ids=600)))
        codes = [vocabulary.code(id_) for id_ in ids if vocabulary.is_speech(id_)]
        for seed in range(args.seeds):
            stream = decoder.start(generator=torch.Generator().manual_seed(seed))
            pieces = [*(stream.push([code]) for code in codes), stream.finish()]
            whole = decoder.decode(codes, generator=torch.Generator().manual_seed(seed))
            streamed = torch.cat(pieces)
            for name, samples in (("one piece", whole), ("stream", streamed)):
                said = recognizer.transcribe(resample(samples, rate, RATE), RATE)
                rows[name].append({"said": model.decode_text(ids), "heard": said})
            fades = torch.zeros(len(streamed) - 1, dtype=torch.bool)
            for first, end in seams(len(codes), config, decoder.config.flow.frames_per_code):
                fades[first * hop : end * hop] = True
            ends = torch.tensor([len(piece) for piece in pieces]).cumsum(0).unique()
            jump = streamed.diff().abs()
            jumps["joins"].append(jump[ends[(ends > 0) & (ends < len(streamed))] - 1])
            jumps["fades"].append(jump[fades])
            jumps["same frames"].append(whole.diff().abs()[fades])
            jumps["rest"].append(jump[~fades])
    found = {name: torch.cat(parts) for name, parts in jumps.items()}
    usual = found["rest"].kthvalue(max(1, round(0.999 * len(found["rest"])))).values
    errors = {
        name: torch.tensor([word_errors([row]).edits for row in each])
        for name, each in rows.items()
    }
    words = word_errors(rows["stream"]).length
    difference = (errors["stream"] - errors["one piece"]).float().view(-1, args.seeds).sum(dim=1)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(difference), (10_000, len(difference)), generator=generator)
    spread = 100 / words * difference[drawn].sum(dim=1).quantile(torch.tensor([0.025, 0.975]))
    result = {
        "commit": commit(),
        "replies": len(difference),
        "seeds": args.seeds,
        "words": words,
        "word_error_percent": {k: round(word_errors(v).percent, 2) for k, v in rows.items()},
        "points_more_in_a_stream": round(100 / words * float(difference.sum()), 2),
        "95_percent_of_resamplings": [round(float(value), 2) for value in spread],
        "replies_worse_and_better": [int((difference > 0).sum()), int((difference < 0).sum())],
        "99.9th_percentile_of_jumps_outside_seams": round(float(usual), 4),
        "jumps": {
            name: {
                "count": len(each),
                "largest": round(float(each.max()), 4),
                "percent_above": round(100 * float((each > usual).float().mean()), 4),
            }
            for name, each in found.items()
        },
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if args.output:
        args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
