"""A tiny model with random weights that speaks and ends, and texts for it."""

import json
from pathlib import Path
from typing import Any

import torch

from data_synth.batch_lm import Choice
from data_synth.filters import FilterConfig
from data_synth.models import model_digests, model_folders
from data_synth.plan import Plan, SynthesisConfig, make_plan, read_plan, write_plan
from data_synth.step import SynthesisStep
from tokenizer.config import TokenizerConfig
from tokenizer.model import SpeechTokenizer
from voiceglm.config import build
from voiceglm.language_model import LanguageModelConfig, VoiceLM
from voiceglm.text_tokenizer import train_text_tokenizer

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "green",
    "hill",
    "and",
    "saw",
    "seven",
    "boats",
    "go",
    "by",
    "in",
    "the",
    "evening",
    "sun",
]
SIZE = LanguageModelConfig(
    hidden_size=32, num_layers=2, num_heads=2, num_key_value_heads=1, intermediate_size=48
)
LENIENT = FilterConfig(
    min_codes_per_letter=0.0,
    max_codes_per_letter=99.0,
    max_repeats=99,
    checked_share=0.3,
    max_error=99.0,
)


def tiny_model(folder: Path) -> Path:
    """Write a whole model of 20 codes; about one in twenty ids of its speech is the end."""
    texts = train_text_tokenizer([" ".join(WORDS)] * 20, 300)
    for part, seed in (("language_model", 1), ("text_to_token", 2)):
        VoiceLM.new(SIZE, texts, num_codes=20, seed=seed).save(folder / part)
    torch.manual_seed(0)
    values: dict[str, Any] = {
        "features": {"num_mel_bins": 20, "fixed_floor": -5.0},
        "encoder": {
            "width": 16, "num_heads": 2, "feedforward_width": 32, "num_layers": 2,
            "max_frames": 720, "pool_after": 1, "quantize_after": 1, "encoder_only": False,
            "block_frames": 40,
        },
        "quantizer": {"codebook_size": 20},
        "recognizer": {"kind": "ctc", "upsample": 4},
    }  # fmt: skip
    SpeechTokenizer(build(TokenizerConfig, values)).eval().save(folder / "tokenizer")
    return folder


def tiny_config(model: Path, **changes: Any) -> SynthesisConfig:
    """Return settings under which what a random model says is good enough."""
    settings: dict[str, Any] = {
        "model": str(model),
        "documents_per_shard": 20,
        "filters": LENIENT,
        "choice": Choice(temperature=1.0, top_k=20, top_p=1.0, batch_size=16),
    }
    return SynthesisConfig(**{**settings, **changes})


def documents(path: Path, count: int) -> Path:
    """Write JSON lines, no two alike."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            start = number % len(WORDS)
            words = [*WORDS[start:], *WORDS[:start], f"number {number}", *WORDS]
            row = {"id": f"doc-{number}", "text": " ".join(words), "language": "en"}
            file.write(json.dumps(row) + "\n")
    return path


def planned(folder: Path, paths: list[Path], config: SynthesisConfig) -> Plan:
    """Freeze a plan in a folder."""
    plan = make_plan(paths, config, model_digests(model_folders(config)))
    write_plan(plan, folder)
    return plan


def make(folder: Path, *, backwards: bool = False) -> None:
    """Make every shard in this process, each by a step of its own, as workers do."""
    total = len(read_plan(folder).shards)
    for rank in sorted(range(total), reverse=backwards):
        list(SynthesisStep(str(folder)).run(rank=rank, world_size=total))


def corpus_of(folder: Path) -> dict[str, bytes]:
    """Return every byte that a reader of the corpus sees."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in ("corpus", "training", "done")
        for path in sorted((folder / part).iterdir())
    }
