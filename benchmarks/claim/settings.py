"""What a measurement of the claim was asked for, and its arms."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from voiceglm.errors import ConfigError
from voiceglm.language_config import LanguageModelConfig
from voiceglm.train_config import TrainConfig

ARMS: Mapping[str, float] = {"none": 0.0, "half": 0.5, "full": 1.0}
"""Which share of the documents is interleaved, by the name of the arm."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is written and spoken.

    Attributes:
        texts: Documents of text, about all places.
        stories: Documents without facts, written and spoken.
        told: Documents of facts that may be heard, about all places, written and spoken.
        paired: Sentences with their speech.
        questions_per_fact: Times that a fact that may be heard is asked aloud, each by another
            voice.
        asked: Questions about only-read places; of taught places half as many are asked.
        pairs: Of endings.
        names: Sentences to be written down from speech.
    """

    texts: int = 4_800
    stories: int = 600
    told: int = 3_600
    paired: int = 7_680
    questions_per_fact: int = 6
    asked: int = 120
    pairs: int = 120
    names: int = 120


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is the same in all runs of a measurement.

    Attributes:
        model: Whose speech tokenizer and decoder are used.
        world: Which world is drawn.
        sizes: How much is written and spoken.
        language_model: Its size.
        text_vocabulary: The most text ids.
        ids_per_batch: Of every batch.
        beginning: Steps and optimizer of what all arms of a seed begin with.
        pretraining: The same of the documents.
        finetuning: The same of the questions.
        speech_loss_weight: Of each learned speech id; a text id counts 1.
    """

    model: str = "nano"
    world: int = 0
    sizes: Sizes = field(default_factory=Sizes)
    language_model: LanguageModelConfig = field(
        default_factory=lambda: LanguageModelConfig(
            hidden_size=192, num_layers=4, intermediate_size=576, context_length=512
        )
    )
    text_vocabulary: int = 1_024
    ids_per_batch: int = 4_096
    beginning: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=1_500, peak_lr=0.002, muon_lr=0.005, warmup_steps=100, save_every=250
        )
    )
    pretraining: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=1_000, peak_lr=0.002, muon_lr=0.005, warmup_steps=50, save_every=250
        )
    )
    finetuning: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=100, peak_lr=0.0007, muon_lr=0.0015, warmup_steps=20, save_every=50
        )
    )
    speech_loss_weight: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a batch that holds no document."""
        if self.ids_per_batch < self.language_model.context_length:
            raise ConfigError("a batch must hold a document as long as the model reads")
