"""``voiceglm samples``: a model to listen to, as pages."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from voiceglm.commands.options import (
    add_model_arguments,
    add_recordings_argument,
    use_threads,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from voiceglm.chat import VoiceChat


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new one, for the pages")
    add_model_arguments(parser)
    parser.add_argument(
        "--run",
        type=Path,
        default=Path("runs/nano"),
        help="folder of a recipe's run: its test sets are asked",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other samples")
    add_recordings_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Draw, ask, compare, write the pages."""
    from datetime import UTC, datetime

    from tqdm import tqdm

    from voiceglm.files import check_folder_place
    from voiceglm.report import commit
    from voiceglm.samples.comparison import assistants, compare
    from voiceglm.samples.conversations import answers, play
    from voiceglm.samples.pages import About
    from voiceglm.samples.publish import model_digest, publish
    from voiceglm.samples.scenes import draw_scenes

    use_threads(args)
    check_folder_place(args.folder)
    _, *others = assistants(args.model).values()
    scenes = draw_scenes(args.run, seed=args.seed, voices=others, recordings=args.recordings)
    shown = tqdm(scenes, desc="conversations", unit="scene", disable=None)
    played = list(play(shown, _opener(args.model), seed=args.seed))
    comparisons = compare(args.model, args.run, seed=args.seed)
    about = About(
        model=args.model,
        digest=model_digest(args.model),
        commit=commit(),
        command=_command(args),
        seed=args.seed,
        date=datetime.now(UTC).date().isoformat(),
    )
    size = publish(args.folder, about, played, comparisons)
    right = [reply.is_right for reply in answers(played)]
    write_json(
        {
            "folder": str(args.folder),
            "scenes": len(played),
            "replies": len(right),
            "right": sum(right),
            "sentences": len(comparisons),
            "bytes": size,
        }
    )
    return 0


def _opener(model: str) -> "Callable[[str], VoiceChat]":
    """Return what opens a conversation in a voice of the model's own; each is loaded once."""
    from functools import cache

    from decoder.voices import FOLDER
    from voiceglm.chat import VoiceChat
    from voiceglm.checkpoint import resolve
    from voiceglm.pretrained import load_chat

    @cache
    def loaded(voice: str) -> VoiceChat:
        return load_chat(model, voice=voice, voices=resolve(model) / FOLDER)

    def opened(voice: str) -> VoiceChat:
        chat = loaded(voice)
        return VoiceChat(chat.tokenizer, chat.model, chat.decoder)

    return opened


def _command(args: argparse.Namespace) -> str:
    words = ["voiceglm", "samples", str(args.folder), "--model", args.model, "--run", str(args.run)]
    for manifest in args.recordings:
        words += ["--recordings", str(manifest)]
    return shlex.join([*words, "--seed", str(args.seed)])
