"""``voiceglm chat``: one question in, the answer as text and as a WAV out."""

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voiceglm.commands.options import (
    add_model_arguments,
    add_voice_arguments,
    use_threads,
    write_json,
)
from voiceglm.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from voiceglm.chat import VoiceChat

QUESTION = Path(__file__).parent.parent / "assets" / "question.wav"


@dataclass(frozen=True)
class Answer:
    """A whole reply and how long it took."""

    text: str
    samples: "Tensor | None"  # (num_samples,), None if the model said nothing aloud
    sample_rate: int  # hertz, 0 without samples
    end: str  # why the reply ended: finished, length or cancelled
    first_audio_seconds: float | None  # from the question to the first sound
    total_seconds: float

    @property
    def audio_seconds(self) -> float:
        """How long the spoken reply lasts."""
        return len(self.samples) / self.sample_rate if self.samples is not None else 0.0

    @property
    def real_time_factor(self) -> float | None:
        """Total time over the length of the speech; under 1 is faster than real time."""
        return self.total_seconds / self.audio_seconds if self.samples is not None else None


@dataclass(frozen=True)
class Report:
    """What the task says about one turn; ``--json`` prints it as it is."""

    question: str | None  # as written, or as heard
    reply: str
    audio: str | None  # path of the answer
    end: str
    first_audio_seconds: float | None
    total_seconds: float
    audio_seconds: float
    real_time_factor: float | None
    load_seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    question = parser.add_mutually_exclusive_group()
    question.add_argument(
        "audio",
        nargs="?",
        type=Path,
        metavar="IN.wav",
        help="a spoken question; without one the bundled sample is asked",
    )
    question.add_argument("--text", help="a written question instead of a spoken one")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("answer.wav"), metavar="OUT.wav", help="to write"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choices the model makes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_voice_arguments(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask, write the answer's WAV, and print the turn with its timing."""
    from voiceglm.audio import load_speech, save_audio
    from voiceglm.files import check_place
    from voiceglm.pretrained import load_chat

    if args.text is not None and not args.text.strip():
        raise ConfigError("--text is empty, expected a question")
    check_place(args.output)
    question = args.text if args.text is not None else load_speech(args.audio or QUESTION)
    use_threads(args)
    start = time.perf_counter()
    chat = load_chat(args.model, device="cpu", voice=args.voice, voices=args.voices)
    load_seconds = time.perf_counter() - start
    answer = ask(chat, question, args.seed)
    if answer.samples is not None:
        save_audio(args.output, answer.samples, answer.sample_rate)
    report = Report(
        question=args.text or chat.tokenizer.transcribe(question, 16_000),
        reply=answer.text,
        audio=str(args.output) if answer.samples is not None else None,
        end=answer.end,
        first_audio_seconds=_rounded(answer.first_audio_seconds),
        total_seconds=round(answer.total_seconds, 3),
        audio_seconds=round(answer.audio_seconds, 3),
        real_time_factor=_rounded(answer.real_time_factor),
        load_seconds=round(load_seconds, 3),
    )
    if args.json:
        write_json(asdict(report))
    else:
        sys.stdout.write(describe(report))
    return 0


def ask(chat: "VoiceChat", question: "str | Tensor", seed: int) -> Answer:
    """Take a whole turn, on the clock.

    Args:
        chat: Who answers.
        question: Text, or (num_samples,) at 16 kHz.
        seed: Of the choices the model makes.
    """
    import torch

    from voiceglm.events import AudioDelta, TextDelta, TurnEnd

    text, pieces, rate, end, first = "", [], 0, "", None
    start = time.perf_counter()
    for event in chat.reply(question, seed=seed):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, AudioDelta) and len(event.samples):
            first = time.perf_counter() - start if first is None else first
            pieces.append(event.samples)
            rate = event.sample_rate
        elif isinstance(event, TurnEnd):
            end = event.reason
    total = time.perf_counter() - start
    return Answer(text.strip(), torch.cat(pieces) if pieces else None, rate, end, first, total)


def describe(report: Report) -> str:
    """Return the turn as lines for a person."""
    cut = " (cut off: it became too long)" if report.end == "length" else ""
    lines = [f"question  {report.question}", f"reply     {report.reply}{cut}"]
    if report.audio is None:
        lines.append("answer    nothing was spoken")
        lines.append(f"timing    whole reply {report.total_seconds:.2f} s")
    else:
        lines.append(f"answer    {report.audio} ({report.audio_seconds:.2f} s)")
        lines.append(
            f"timing    first audio {report.first_audio_seconds:.2f} s, "
            f"whole reply {report.total_seconds:.2f} s, "
            f"real-time factor {report.real_time_factor:.2f}"
        )
    return "\n".join(lines) + "\n"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
