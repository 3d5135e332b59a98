"""``voiceglm synth preview``: some rows of a corpus, to read and to hear."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from voiceglm.commands.options import add_threads_argument, positive, use_threads

if TYPE_CHECKING:
    from data_synth.preview import Sample, Span
    from data_synth.preview_sound import Heard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with a plan, worked on")
    parser.add_argument("--samples", type=positive, default=8, metavar="N", help="rows to draw")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other rows")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PAGE.html", help="a page to read, hear and look at"
    )
    parser.add_argument("--play", action="store_true", help="through the loudspeaker")
    add_threads_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the rows, write the page, play the spans."""
    from data_synth.plan import read_plan
    from data_synth.preview import Previewer
    from data_synth.preview_page import Preview, page
    from data_synth.preview_sound import listen
    from data_synth.statistics import status
    from tokenizer.model import SpeechTokenizer
    from voiceglm.files import check_place, write_file

    if args.output:
        check_place(args.output)
    plan = read_plan(args.folder)
    use_threads(args)
    samples = Previewer.from_plan(plan).samples(args.folder, plan, args.samples, args.seed)
    tokenizer = SpeechTokenizer.from_pretrained(plan.config.model)
    for sample in samples:
        sys.stdout.writelines(f"{line}\n" for line in lines(sample, tokenizer.frame_rate))
    if not args.output and not args.play:
        return 0
    heard = listen(samples, plan.config.model, tokenizer, args.seed, _watched)
    if args.output:
        title = f"Preview of {args.folder.resolve().name}"
        found = status(args.folder, plan).to_json()
        max_error = plan.config.filters.max_error
        write_file(args.output, page(Preview(title, found, samples, heard, max_error)))
    for note in heard.notes:
        sys.stderr.write(f"{note}\n")
    if args.play and heard.sounds:
        _play(heard)
    return 0


def lines(sample: "Sample", code_rate: float) -> Iterator[str]:
    """Yield a sample as lines for a person; spoken spans are in double brackets."""
    from data_synth.check_report import plain
    from data_synth.preview_page import span_text

    part = f" part {sample.part + 1}" if sample.part else ""
    share = f"{100 * sample.speech_share:.1f} % speech"
    yield f"{plain(sample.id)}{part}  {plain(sample.language)}  {share}"
    text = "".join(
        piece
        if isinstance(piece, str)
        else f"[[{span_text(piece)}]] ({len(piece.codes) / code_rate:.2f} s)"
        for piece in sample.pieces
    )
    yield from (f"    {plain(line)}" for line in text.splitlines())
    yield ""


def _watched(spans: "list[Span]") -> "Iterable[Span]":
    from tqdm import tqdm

    return tqdm(spans, desc="speaking", unit="span", disable=None)


def _play(heard: "Heard") -> None:
    from data_synth.loudspeaker import PLAYERS, find_player, play

    player = find_player()
    if player is None:
        names = ", ".join(PLAYERS)
        sys.stderr.write(f"nothing is played: none of {names} is installed; see --output\n")
        return
    for _, sound in sorted(heard.sounds.items()):
        play(sound.samples, sound.sample_rate, player)
