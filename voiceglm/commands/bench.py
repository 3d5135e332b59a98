"""``voiceglm bench``: how fast a model is on this machine, part by part."""

import argparse
from pathlib import Path

from voiceglm.commands.options import add_model_arguments, positive, use_threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    add_model_arguments(parser)
    parser.add_argument("--device", default="cpu", help="where it computes, such as cuda")
    parser.add_argument(
        "--random-weights",
        action="store_true",
        help="the sizes of the released models without any checkpoint; --model is not used",
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the question")
    parser.add_argument("--reply-seconds", type=float, default=60.0, help="length of a long reply")
    parser.add_argument("--repeats", type=positive, default=20, help="timed runs")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="also write the figures")


def run(args: argparse.Namespace) -> int:
    """Print a table and, if asked, write JSON."""
    import json
    import platform
    import sys
    from dataclasses import asdict
    from datetime import UTC, datetime

    from voiceglm.audio import load_speech
    from voiceglm.bench import RATE, bench, random_chat
    from voiceglm.commands.chat import QUESTION
    from voiceglm.files import write_file
    from voiceglm.pretrained import load_chat
    from voiceglm.report import commit

    use_threads(args)
    if args.random_weights:
        chat = random_chat(device=args.device)
    else:
        chat = load_chat(args.model, device=args.device)
    sample = load_speech(QUESTION, RATE)
    num_samples = round(args.seconds * RATE)
    question = sample.repeat(-(-num_samples // len(sample)))[:num_samples]
    found = bench(chat, question, repeats=args.repeats, reply_seconds=args.reply_seconds)
    for name, spread in found.parts_ms.items():
        sys.stdout.write(f"{name:<12} {spread.p50:8.1f} ms  p95 {spread.p95:8.1f} ms\n")
    sys.stdout.write(f"{'ids':<12} {found.ids_per_second.p50:8.1f} /s\n")
    for name, spread in found.real_time_factors.items():
        sys.stdout.write(f"{name:<12} {spread.p50:8.3f} of real time\n")
    for name, megabytes in found.memory_mb.items():
        sys.stdout.write(f"{name:<12} {megabytes:8.0f} MB at most\n")
    if args.output:
        about = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": platform.processor() or platform.machine(),
            "model": "random, released sizes" if args.random_weights else str(args.model),
            "device": args.device,
            "threads": args.threads,
            "question_seconds": args.seconds,
            "reply_seconds": args.reply_seconds,
            "repeats": args.repeats,
        }
        text = json.dumps({**about, **asdict(found)}, indent=1)
        write_file(args.output, f"{text}\n".encode())
    return 0
