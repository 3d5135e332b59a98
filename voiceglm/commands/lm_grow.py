"""``voiceglm lm grow``: a text model of transformers becomes one of text and speech."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument(
        "source",
        metavar="TEXT_MODEL",
        help="a folder or hub name: GLM, GLM-4, Llama 3, Qwen2 or Qwen3 as transformers stores it",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--speech",
        default="nano",
        metavar="MODEL",
        help="a whole model: its tokenizer says how many codes there are, and goes along with its"
        " decoder",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the new rows")


def run(args: argparse.Namespace) -> int:
    """Grow the model and write it."""
    from tokenizer.model import SpeechTokenizer
    from voiceglm.commands.training import finish
    from voiceglm.files import check_folder_place
    from voiceglm.language_model import VoiceLM
    from voiceglm.language_run import save_whole

    check_folder_place(args.output)
    num_codes = SpeechTokenizer.from_pretrained(args.speech).num_codes
    model = VoiceLM.grow(args.source, num_codes, seed=args.seed)
    save_whole(model, args.output, companions=args.speech)
    return finish(
        args.output, f"train it with: voiceglm lm pretrain SOURCE... --model {args.output}"
    )
