"""``voiceglm synth dialogues``: spoken dialogues for fine-tuning from written ones."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from voiceglm.commands.options import positive
from voiceglm.errors import ConfigError

if TYPE_CHECKING:
    from data_synth.dialogue_voices import EndpointConfig
    from data_synth.spoken_dialogues import Report

_SHOWN = 10  # things that could not be done, most frequent first


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "written", type=Path, metavar="WRITTEN.jsonl", help="a dialogue a line (docs/data.md)"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--model", default="nano", help="whose codes and ids: a name or a folder")
    parser.add_argument(
        "--views",
        choices=("both", "text", "speech", "two"),
        default="both",
        help="what is learned of a dialogue: text and speech in one row, one of them, or two rows"
        " with one of them each",
    )
    parser.add_argument("--workers", type=positive, default=2, help="processes that speak")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other users' voices")
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="a server with OpenAI's /v1/audio/speech instead of espeak-ng; its key is read from"
        " $OPENAI_API_KEY",
    )
    of_endpoint = parser.add_argument_group("with --endpoint")
    of_endpoint.add_argument("--tts-model", metavar="NAME", help="what it calls its model (tts-1)")
    of_endpoint.add_argument(
        "--user-voices", nargs="+", metavar="NAME", help="drawn for each dialogue"
    )
    of_endpoint.add_argument("--assistant-voice", metavar="NAME", help="of every reply (alloy)")
    of_endpoint.add_argument("--parallel", type=positive, help="requests at once, a worker (4)")
    of_endpoint.add_argument(
        "--give-up",
        type=positive,
        metavar="SECONDS",
        help="after which a silent endpoint is dead (300)",
    )


def run(args: argparse.Namespace) -> int:
    """Speak, and say what was made and what was left out."""
    import sys

    from data_synth.processes import processes
    from data_synth.spoken_dialogues import SpokenConfig, speak_dialogues

    config = SpokenConfig(
        model=args.model, views=args.views, seed=args.seed, endpoint=_endpoint(args)
    )
    with processes(args.workers) as executor:
        report = speak_dialogues(args.written, args.output, config, executor)
    sys.stdout.writelines(f"{line}\n" for line in _summary(report))
    return 0


def _endpoint(args: argparse.Namespace) -> "EndpointConfig | None":
    """Return the speech server that is asked for."""
    from data_synth.dialogue_voices import EndpointConfig
    from data_synth.speech_endpoint import address

    given = {
        "model": args.tts_model,
        "users": tuple(args.user_voices) if args.user_voices else None,
        "assistant": args.assistant_voice,
        "parallel": args.parallel,
        "give_up": args.give_up,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if args.endpoint:
        return EndpointConfig(url=address(args.endpoint), **given)
    if given:
        raise ConfigError("voices and the like are an endpoint's; add --endpoint URL")
    return None


def _summary(report: "Report") -> Iterator[str]:
    yield f"{'dialogues':<12} {report.dialogues:,}"
    yield f"{'turns':<12} {report.turns:,}, {report.seconds / 3600:.2f} hours"
    yield f"{'left out':<12} {report.left_out.total():,}"
    for reason, count in report.left_out.most_common():
        yield f"{count:>12,} {reason}"
    yield f"{'styles unmet':<12} {report.unmet.total():,}"
    for wish, count in report.unmet.most_common(_SHOWN):
        yield f"{count:>12,} {wish}"
