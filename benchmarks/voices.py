"""Whether a voice changes who speaks, and leaves what is said.

    python benchmarks/voices.py MODEL RECOGNIZER SPEAKERS TEST -o benchmarks/voices.json \
        --speakers alice bruno

MODEL is a model's folder with a speaker encoder, RECOGNIZER a tokenizer that shares nothing with
it, SPEAKERS a manifest of recordings of those speakers, TEST one of recordings in other voices that
nothing was trained on. Each speaker's first recordings become a voice, the codes of TEST are spoken
with every voice, and the rest of the speaker's recordings say what it should sound like.
"""

import argparse
import json
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from decoder.features import LogMel, mel_config
from decoder.model import SpeechDecoder, VoicedDecoder
from decoder.reconstruction import median_pitch
from decoder.speaker import SpeakerEncoder, centre, similarity
from decoder.voice import MIN_SECONDS, Recording, make_voice
from tokenizer.model import SpeechTokenizer
from voiceglm.audio import resample
from voiceglm.error_rate import character_errors
from voiceglm.files import write_file
from voiceglm.manifest import Utterance, read_manifest, read_samples
from voiceglm.report import commit

HEARD = 16_000  # hertz


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "recognizer"):
        parser.add_argument(name)
    for name in ("manifest", "test"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--speakers", nargs="+", required=True)
    parser.add_argument("--recordings", type=int, default=5, help="that a voice is made from")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    decoder = SpeechDecoder.from_pretrained(args.model)
    encoder = SpeakerEncoder.from_pretrained(args.model)
    by_speaker = {
        name: [one for one in read_manifest(args.manifest) if one.speaker == name]
        for name in args.speakers
    }
    real = {
        name: speaker(decoder, encoder, name, spoken, args.recordings)
        for name, spoken in by_speaker.items()
    }
    tests = read_manifest(args.test)[: args.clips]
    tokenizer = SpeechTokenizer.from_pretrained(args.model)
    clips = [(one, tokenizer.encode(read_samples(one, HEARD), HEARD)) for one in tests]
    recognizer = SpeechTokenizer.from_pretrained(args.recognizer)
    rows = {
        name: speak(who, decoder, encoder, recognizer, clips, real)
        for name, who in [
            ("default", decoder),
            *((name, one["voice"]) for name, one in real.items()),
        ]
    }
    figures = {name: summary(part, list(real)) for name, part in rows.items()}
    print(json.dumps(figures, indent=1))  # noqa: T201
    report = {
        "command": " ".join(["python", *sys.argv]),
        "machine": platform.processor() or platform.machine(),
        "commit": commit(),
        "torch": torch.__version__,
        "recordings": {n: {k: v for k, v in r.items() if k in KEPT} for n, r in real.items()},
        "summary": figures,
        "rows": rows,
    }
    write_file(args.output, json.dumps(report, indent=1).encode())


KEPT = ("median_pitch_hz", "clips", "similarity")


def speaker(
    decoder: SpeechDecoder,
    encoder: SpeakerEncoder,
    name: str,
    spoken: list[Utterance],
    count: int,
) -> dict[str, Any]:
    """Make a voice from a speaker's first recordings, and measure the others."""
    rate, log_mel = decoder.sample_rate, LogMel(mel_config(decoder.config.vocoder))
    heard = [Recording(str(one.path), read_samples(one, rate), rate) for one in spoken]
    heard = [one for one in heard if one.seconds >= MIN_SECONDS]
    voice = make_voice(name, heard[:count], encoder, sample_rate=rate, decoder=decoder.fingerprint)
    others = heard[count : count + 20]
    middle = centre([encoder.embed(one.samples, rate) for one in others])
    return {
        "voice": decoder.in_voice(voice),
        "centre": middle,
        "clips": len(others),
        "median_pitch_hz": round(
            statistics.median(median_pitch(one.samples, log_mel) for one in others), 1
        ),
        "similarity": round(similarity(voice.vector()[0], middle), 4),
    }


def speak(
    who: SpeechDecoder | VoicedDecoder,
    decoder: SpeechDecoder,
    encoder: SpeakerEncoder,
    recognizer: SpeechTokenizer,
    clips: list[tuple[Utterance, list[int]]],
    real: dict[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """Speak codes with one voice; compare it with every speaker's recordings."""
    rows, log_mel = [], LogMel(mel_config(decoder.config.vocoder))
    for utterance, codes in tqdm(clips, unit="clip"):
        samples = who.decode(codes)
        embedding = encoder.embed(samples, decoder.sample_rate)
        heard = resample(samples, decoder.sample_rate, HEARD)
        rows.append(
            {
                "said": utterance.text,
                "heard": recognizer.transcribe(heard, HEARD),
                "pitch_hz": round(median_pitch(samples, log_mel), 1),
                "similarity": {
                    name: round(similarity(embedding, one["centre"]), 4)
                    for name, one in real.items()
                },
            }
        )
    return rows


def summary(rows: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Return the figures of one voice."""
    voiced = [row["pitch_hz"] for row in rows if row["pitch_hz"]]
    return {
        "median_pitch_hz": round(statistics.median(voiced), 1),
        "similarity": {
            name: round(statistics.fmean(row["similarity"][name] for row in rows), 3)
            for name in names
        },
        "nearest_percent": {
            name: round(
                100
                * sum(max(row["similarity"], key=row["similarity"].get) == name for row in rows)
                / len(rows),
                1,
            )
            for name in names
        },
        "character_errors_percent": round(character_errors(rows).percent, 2),
    }


if __name__ == "__main__":
    main()
