"""``voiceglm decode``: lines of ids to speech files."""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from voiceglm.commands.options import (
    add_model_arguments,
    add_voice_arguments,
    use_threads,
    write_json,
)
from voiceglm.errors import ConfigError


@dataclass(frozen=True)
class Line:
    """One utterance to speak."""

    number: int  # of the line in its file, from 1
    name: str  # of the file to write, without its ending
    ids: list[int]  # 12.5 per second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "ids", metavar="IDS.jsonl", help="what voiceglm encode writes; - reads stdin"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="a folder to make"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise that speech is made from")
    add_voice_arguments(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write one WAV per line into a new folder, and where it is and how long to stdout."""
    import torch

    from decoder.model import SpeechDecoder
    from decoder.voices import speaking
    from voiceglm.audio import save_audio
    from voiceglm.files import check_folder_place, new_folder

    lines = read_lines(args.ids)
    check_folder_place(args.output)
    use_threads(args)
    decoder = SpeechDecoder.from_pretrained(args.model)
    for line in lines:
        _check_range(line, decoder.num_codes, args.ids)
    speaker = speaking(decoder, args.voice, args.model, args.voices)
    rows = []
    with new_folder(args.output) as draft:
        for line in lines:
            generator = torch.Generator().manual_seed(args.seed)
            samples = speaker.decode(line.ids, generator=generator)
            save_audio(draft / f"{line.name}.wav", samples, decoder.sample_rate)
            seconds = round(len(samples) / decoder.sample_rate, 3)
            rows.append({"path": str(args.output / f"{line.name}.wav"), "seconds": seconds})
    for row in rows:
        write_json(row)
    return 0


def read_lines(source: str) -> list[Line]:
    """Read lines of ``{"ids": [...], "path": ...}`` or of bare lists, from a file or ``-``.

    Raises:
        ConfigError: Naming the line that is none of these.
    """
    lines: list[Line] = []
    for number, text in enumerate(_read_text(source).splitlines(), start=1):
        if text.strip():
            taken = {line.name for line in lines}
            lines.append(_parse(text, number, taken, source))
    if not lines:
        raise ConfigError(f"{source} is empty, expected one JSON object per line")
    return lines


def _read_text(source: str) -> str:
    path = Path(source)
    if source != "-" and path.is_dir():
        raise ConfigError(f"{source} is a folder, expected a file of JSON lines")
    try:
        return sys.stdin.read() if source == "-" else path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no such file: {source}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{source} is not text, expected one JSON object per line") from None
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {error.strerror}") from None


def _parse(text: str, number: int, taken: set[str], source: str) -> Line:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError(f"{source} line {number} is not JSON: {text[:60]!r}") from None
    path, ids = (row.get("path"), row.get("ids")) if isinstance(row, dict) else (None, row)
    if not isinstance(ids, list) or not ids or any(type(i) is not int for i in ids):
        raise ConfigError(f'{source} line {number} holds no ids, expected {{"ids": [1, 2, ...]}}')
    name = Path(path).stem if isinstance(path, str) and path else f"{number:05d}"
    return Line(number, f"{name}-{number:05d}" if name in taken else name, ids)


def _check_range(line: Line, num_codes: int, source: str) -> None:
    wrong = next((i for i in line.ids if not 0 <= i < num_codes), None)
    if wrong is not None:
        raise ConfigError(
            f"{source} line {line.number} holds the id {wrong}, expected 0 to {num_codes - 1}"
        )
