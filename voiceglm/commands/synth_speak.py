"""``voiceglm synth speak``: lines of text to packs of recordings with a manifest."""

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voiceglm.commands.options import add_threads_argument, positive, use_threads, write_json
from voiceglm.errors import ConfigError

if TYPE_CHECKING:
    from data_synth.synthesizers import Synthesizer
    from data_synth.texts import SpeechConfig

KEY = "OPENAI_API_KEY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "texts",
        type=Path,
        metavar="TEXTS",
        help="a .txt file, one text a line, or .jsonl with text, and if wanted voice and language",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="an earlier run goes on"
    )
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help=f"a server with OpenAI's /v1/audio/speech instead of espeak-ng; its key is read from"
        f" ${KEY}",
    )
    parser.add_argument("--model", default="tts-1", help="what the endpoint calls its model")
    parser.add_argument(
        "--voices",
        nargs="+",
        metavar="NAME",
        help="drawn for each line; training and held-out are espeak-ng's (default training; alloy"
        " of an endpoint)",
    )
    parser.add_argument("--language", default="en", help="of lines that do not say theirs")
    parser.add_argument("--sample-rate", type=positive, default=22_050, help="hertz")
    parser.add_argument("--seed", type=int, default=0, help="decides each line's voice")
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write numbers and symbols as words first",
    )
    parser.add_argument(
        "--workers", type=positive, help="processes, or requests at once (default 1, or 4)"
    )
    parser.add_argument(
        "--give-up",
        type=positive,
        default=300,
        metavar="SECONDS",
        help="after which a silent endpoint is dead",
    )
    parser.add_argument("--codes", metavar="MODEL", help="also write codes, of this model")
    add_threads_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Speak what is not spoken yet, then write what there is as one JSON line."""
    from data_synth.speak_texts import speak_texts
    from data_synth.texts import SpeechConfig

    use_threads(args)
    voices = args.voices or (["alloy"] if args.endpoint else ["training"])
    config = SpeechConfig(
        voices=tuple(voices),
        language=args.language,
        sample_rate=args.sample_rate,
        seed=args.seed,
        normalize=args.normalize,
    )
    tokenizer = _tokenizer(args.codes) if args.codes else None
    begin, about = _synthesizer(args, config)
    spoken = speak_texts(args.texts, args.output, config, begin, about=about)
    report: dict[str, Any] = {
        "manifest": str(args.output / "manifest.jsonl"),
        "spoken": len(spoken.utterances),
        "left_out": len(spoken.left_out),
        "seconds": round(sum(u.num_samples or 0 for u in spoken.utterances) / args.sample_rate, 1),
    }
    if tokenizer:
        codes = _write_codes(args.output, args.codes, tokenizer, spoken.utterances)
        report["codes"] = str(codes)
    write_json(report)
    return 0


def _tokenizer(model: str) -> Any:
    from tokenizer.model import SpeechTokenizer

    return SpeechTokenizer.from_pretrained(model)


def _synthesizer(
    args: argparse.Namespace, config: "SpeechConfig"
) -> tuple[Callable[[], "Synthesizer"], dict[str, Any]]:
    """Return how to begin to speak, and what of it the recordings depend on."""
    from data_synth.texts import GROUPS

    if not args.endpoint:
        from data_synth.synthesizers import EspeakProcesses, check_voices

        check_voices(name for name in config.voices if name not in GROUPS)
        begin = partial(EspeakProcesses, args.workers or 1, args.sample_rate)
        return begin, {"synthesizer": "espeak-ng"}
    from data_synth.speech_endpoint import Patience, SpeechEndpoint, address

    if groups := [name for name in config.voices if name in GROUPS]:
        raise ConfigError(f"--voices {groups[0]} are espeak-ng's; name voices of the endpoint")
    url = address(args.endpoint)

    begin = partial(
        SpeechEndpoint,
        url,
        args.model,
        sample_rate=args.sample_rate,
        parallel=args.workers or 4,
        key=os.environ.get(KEY),
        patience=Patience(give_up=args.give_up),
    )
    return begin, {"synthesizer": url, "model": args.model}


def _write_codes(folder: Path, model: str, tokenizer: Any, utterances: Sequence[Any]) -> Path:
    from data_synth.claims import agree
    from data_synth.codes import encode_set

    agree(folder / "codes_settings.json", {"codes": model})
    manifest = folder / "codes.jsonl"
    encode_set(tokenizer, utterances, manifest)
    return manifest
