"""What nano loses by hearing: the same questions in writing and aloud, new voices and known ones.

    python -m benchmarks.hearing RUN [--model nano] [--items N] [-o JSON]

RUN is the folder of ``voiceglm recipe nano``, which has the recordings. Asked are the first N
held-out questions of each language in writing and aloud, the first N of the training aloud
(voice and wording known; those that mean nothing alone, and wishes for a style, are left out), and
the first N held-out orders aloud. A reply is right as in the tables: its text is the one right
answer, case and punctuation aside.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import torch

from voiceglm import VoiceChat, load_chat
from voiceglm.evaluate import RATE, is_right, written_reply
from voiceglm.evaluation.nano_world import held_out
from voiceglm.files import write_file
from voiceglm.manifest import Utterance, read_manifest, read_samples
from voiceglm.report import commit


def rows(chat: VoiceChat, questions: Iterable[Utterance], aloud: bool) -> list[dict[str, object]]:
    """Return what was asked and answered, each question in a conversation of its own."""
    found = []
    for question in questions:
        asked = read_samples(question, RATE) if aloud else question.text or ""
        reply = written_reply(VoiceChat(chat.tokenizer, chat.model, chat.decoder), asked)
        right = is_right(reply, question)
        found.append({"question": question.text, "reply": reply, "right": right})
    return found


def alone(run: Path, language: str, skills: set[str]) -> Iterable[Utterance]:
    """Yield the training questions that begin a dialogue and are of those skills."""
    for each in read_manifest(run / "speech" / f"questions_{language}" / "manifest.jsonl"):
        known = each.language == language and each.extra["skill"] in skills
        if known and each.turn == 0 and not each.extra["style"]:
            yield each


def main() -> None:
    """Ask and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    chat = load_chat(args.model)
    sets: dict[str, list[dict[str, object]]] = {}
    for language in ("en", "zh"):
        held = held_out(args.run, f"questions_{language}") or []
        known = alone(args.run, language, {each.extra["skill"] for each in held})
        first = held[: args.items]
        sets[f"{language}, held out, in writing"] = rows(chat, first, aloud=False)
        sets[f"{language}, held out, aloud"] = rows(chat, first, aloud=True)
        trained = islice(known, args.items)
        sets[f"{language}, of the training, aloud"] = rows(chat, trained, aloud=True)
    orders = held_out(args.run, "orders") or []
    sets["en, held-out orders, aloud"] = rows(chat, orders[: args.items], aloud=True)
    right = {name: sum(bool(row["right"]) for row in each) for name, each in sets.items()}
    result = {"commit": commit(), "model": args.model, "right": right, "rows": sets}
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if args.output:
        write_file(args.output, f"{text}\n".encode())
    sys.stdout.write(f"{json.dumps(right, indent=1)}\n")


if __name__ == "__main__":
    main()
