"""``voiceglm synth manifest``: a corpus in a known layout to a list of its utterances."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from data_synth.intake import Intake
    from voiceglm.manifest import Utterance

LAYOUTS = ("ljspeech", "librispeech", "common-voice", "aishell", "lhotse", "dialogues", "folder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="SRC",
        help="the corpus' folder, a Common Voice .tsv or Lhotse's cuts.jsonl.gz",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT.jsonl", help="the list to write"
    )
    parser.add_argument(
        "--layout", choices=LAYOUTS, help="how the folder is laid out (default: it is looked at)"
    )
    parser.add_argument(
        "--language", help="said of every utterance, such as de (default: what the layout knows)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the manifest and say what was taken and what was left out."""
    import sys

    from tqdm import tqdm

    from data_synth.intake import Intake
    from data_synth.layouts import convert, detect_layout
    from voiceglm.errors import ConfigError
    from voiceglm.files import check_place
    from voiceglm.manifest import write_manifest

    check_place(args.output)
    layout = args.layout or detect_layout(args.source)
    intake = Intake(args.source)
    found = convert(args.source, intake, layout=layout, language=args.language)
    utterances = list(tqdm(found, desc=layout, unit="utterance", disable=None))
    if not utterances:
        raise ConfigError(
            f"{args.source} gave no utterance as {layout}"
            f" ({_reasons(intake) or 'it holds no rows'}); see --layout"
        )
    write_manifest(args.output, utterances)
    sys.stdout.writelines(f"{line}\n" for line in _summary(layout, utterances, intake))
    return 0


def _summary(layout: str, utterances: "Sequence[Utterance]", intake: "Intake") -> Iterator[str]:
    from data_synth.check_report import plain

    hours = sum(float(one.extra.get("seconds", 0.0)) for one in utterances) / 3600
    speakers = len({one.speaker for one in utterances if one.speaker})
    yield f"{'layout':<12} {layout}"
    yield f"{'utterances':<12} {len(utterances):,}, {hours:.2f} hours, {speakers:,} named speakers"
    yield f"{'transcripts':<12} {sum(one.text is not None for one in utterances):,}"
    yield f"{'left out':<12} {intake.rejected.total():,}"
    for reason, count in intake.rejected.most_common():
        yield f"{count:>12,} {reason}: {plain('; '.join(intake.examples[reason]))}"


def _reasons(intake: "Intake") -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in intake.rejected.most_common())
