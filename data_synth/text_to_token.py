"""The text-to-token model: a language model that only ever says what is written.

Speech for interleaved pre-training is written by it as codes; no sound is made of them (Zeng et al.
2024, arXiv 2411.17607, section 2.2). It is a :class:`VoiceLM` trained on pairs of text and codes.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from data_synth.corpus import user_voice
from data_synth.documents import document
from data_synth.spans import SpanConfig, segments
from data_synth.speak import Line
from data_synth.tts import ASSISTANT, in_accent
from data_synth.world import LANGUAGES
from voiceglm.errors import ConfigError
from voiceglm.files import write_json_lines
from voiceglm.language_model import LanguageModelConfig, VoiceLM
from voiceglm.manifest import Utterance
from voiceglm.train import LanguageTraining, read_source, train_language_model
from voiceglm.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TextToTokenConfig:
    """The model and its training."""

    model: LanguageModelConfig
    objective: LanguageTraining = field(default_factory=LanguageTraining)
    train: TrainConfig


@dataclass(frozen=True, kw_only=True)
class TextToTokenTask(TextToTokenConfig):
    """A training by command: all that it is asked for."""

    manifests: tuple[str, ...]
    tokenizer: str
    """Model whose tokenizer makes codes where a manifest has none."""


def spoken_span(rng: random.Random) -> Line:
    """Draw a stretch of a document as the interleaving would, to be read aloud by anybody."""
    language = rng.choice(LANGUAGES)
    while True:
        text = document(rng, language=language)
        found = [part.text for part in segments(text, SpanConfig()) if part.is_spoken]
        if found:
            break
    assistant = rng.random() < 0.5
    voice = in_accent(ASSISTANT, language) if assistant else user_voice(rng, "train", language)
    return Line(" ".join(rng.choice(found).split()), voice, language=language)


def write_pairs(path: Path, utterances: Iterable[Utterance]) -> int:
    """Write training rows of recordings that have a text and ``codes``; return how many.

    Raises:
        ConfigError: If there is none.
        OutputError: If the file cannot be written.
    """
    rows = [
        {"kind": "tts", "text": one.text, "codes": codes}
        for one in utterances
        if one.text and (codes := one.extra.get("codes"))
    ]
    if not rows:
        raise ConfigError(
            "no recording has both a text and codes; see voiceglm synth speak --codes"
        )
    write_json_lines(path, rows)
    return len(rows)


def train_text_to_token(
    pairs: Path,
    text_tokenizer: Tokenizer,
    num_codes: int,
    config: TextToTokenConfig,
    folder: Path,
) -> VoiceLM:
    """Train a model, or go on where a stopped run left off.

    Args:
        pairs: What :func:`write_pairs` wrote.
        text_tokenizer: Text to ids.
        num_codes: Of the codebook.
        config: Size and training.
        folder: Checkpoints and metrics.

    Raises:
        ConfigError: If a row cannot be used.
        TrainingError: If the training diverges.
    """
    model = VoiceLM.new(config.model, text_tokenizer, num_codes=num_codes, seed=config.train.seed)
    source = read_source(pairs, model.writer)
    return train_language_model(model, [source], config.objective, config.train, folder)
