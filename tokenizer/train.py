"""Trains a tokenizer: recognize the text through the codes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import set_seed

from tokenizer.asr import CtcRecognizer
from tokenizer.config import TokenizerConfig
from tokenizer.data import Collate, SpeechDataset
from tokenizer.encoder import FEATURE_STRIDE
from tokenizer.features import LogMel
from tokenizer.model import SpeechTokenizer
from voiceglm.augmentation import AugmentationConfig
from voiceglm.batches import ItemBatches
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance
from voiceglm.train_config import TrainConfig
from voiceglm.training import fit, plain_attention


@dataclass(frozen=True, kw_only=True)
class TokenizerTrainConfig:
    """A tokenizer and how it is trained."""

    model: TokenizerConfig
    train: TrainConfig
    augmentation: AugmentationConfig | None = field(default_factory=AugmentationConfig)
    start_from: str | None = None
    """Folder or Hugging Face name of a Whisper model or a tokenizer."""


def train_tokenizer(
    utterances: Sequence[Utterance], config: TokenizerTrainConfig, folder: Path
) -> SpeechTokenizer:
    """Train a tokenizer, from scratch or from where a stopped run left off.

    Args:
        utterances: Recordings; those without text are left out.
        config: Architecture, optimizer, disturbance.
        folder: Checkpoints and metrics are kept here.

    Raises:
        ConfigError: If there is nothing to train on.
        TrainingError: If the loss is not finite.
    """
    spoken = [utterance for utterance in utterances if utterance.text]
    if not spoken:
        raise ConfigError("no utterance has a text, and the tokenizer learns from text")
    if config.start_from is not None:
        raise ConfigError(f"cannot start from {config.start_from}: that is not built yet")
    set_seed(config.train.seed)
    tokenizer = SpeechTokenizer(config.model)
    recognizer = tokenizer.recognizer
    if not isinstance(recognizer, CtcRecognizer):
        raise ConfigError("model.recognizer.kind must be ctc; nothing else can be trained yet")
    sizes = config.model
    rate = sizes.features.sample_rate
    dataset = SpeechDataset(
        spoken,
        recognizer,
        sample_rate=rate,
        augmentation=config.augmentation,
    )
    collate = Collate(
        LogMel(sizes.features),
        space=recognizer.alphabet.index(" ") + 1,
        max_samples=sizes.encoder.max_frames * FEATURE_STRIDE * sizes.features.hop,
    )
    batches = ItemBatches(
        dataset,
        collate,
        batch_size=config.train.items_per_batch,
        lengths=[_size(utterance) for utterance in spoken],
        seed=config.train.seed,
    )
    with plain_attention(tokenizer.encoder.layer_config):
        fit(tokenizer, batches, config.train, folder)
    return tokenizer.eval()


def _size(utterance: Utterance) -> int:
    """About how long an utterance is; only its order among others matters."""
    if utterance.num_samples is not None:
        return utterance.num_samples
    return int(float(utterance.extra.get("seconds", 0.0)) * 16_000)
