"""Arguments that several tasks share, and how a task writes its data."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which model to use, and on how many threads."""
    parser.add_argument("--model", default="nano", help="a bundled model or a model's folder")
    add_threads_argument(parser)


def add_voice_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare who speaks."""
    parser.add_argument(
        "--voice", default="default", help="the name of a voice, or its file (voiceglm voice list)"
    )
    add_voices_argument(parser)


def add_voices_argument(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declare where voices are that a user added, by default as ``--voices``."""
    parser.add_argument(
        *(names or ("--voices",)),
        dest="voices",
        type=Path,
        metavar="FOLDER",
        help="of voices that were added; by default one of the user's, by the model's name",
    )


def add_threads_argument(parser: argparse.ArgumentParser) -> None:
    """Declare on how many threads to work."""
    parser.add_argument(
        "--threads",
        type=positive,
        default=1,
        help="torch threads; more than idle cores makes every task slower",
    )


def add_recordings_argument(parser: argparse.ArgumentParser) -> None:
    """Declare manifests of recordings of people."""
    parser.add_argument(
        "--recordings",
        action="append",
        default=[],
        type=Path,
        metavar="MANIFEST",
        help="recordings of people (repeatable): one speaker in eight is measured, the others may"
        " be trained on",
    )


def add_digits_argument(parser: argparse.ArgumentParser) -> None:
    """Declare a folder of digits that people say."""
    parser.add_argument(
        "--digits",
        type=Path,
        metavar="FOLDER",
        help="people's spoken digits as those of the Free Spoken Digit Dataset"
        " (DIGIT_SPEAKER_INDEX.wav); speaker nicolas is measured, the others are trained on",
    )


def add_settings_arguments(parser: argparse.ArgumentParser, *, example: str) -> None:
    """Declare a file of settings, and single ones that go before it."""
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings (docs/data.md)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"one setting, as in {example} (repeatable)",
    )


def read_settings(
    args: argparse.Namespace, standard: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the settings of the file, over the standard ones, with the single ones over both.

    Raises:
        ConfigError: If the file cannot be read, or a setting is no setting.
    """
    from voiceglm.config import load_yaml, override

    given = load_yaml(args.config) if args.config else {}
    return override(_over(standard or {}, given), args.set)


def _over(standard: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Put given settings over standard ones, part by part."""
    parts = {
        name: _over(standard[name], value)
        for name, value in given.items()
        if isinstance(value, Mapping) and isinstance(standard.get(name), Mapping)
    }
    return {**standard, **given, **parts}


def use_threads(args: argparse.Namespace) -> None:
    """Obey ``--threads``."""
    import torch

    torch.set_num_threads(args.threads)


def positive(text: str) -> int:
    """Read a whole number of at least one, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def write_json(row: Mapping[str, Any]) -> None:
    """Write one JSON object as a line of stdout, at once."""
    sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    sys.stdout.flush()
