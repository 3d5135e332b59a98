"""What a recipe is: every stage's sizes and settings, what it learns from, the machine it is for.

A recipe is one YAML file, of this package or anybody's. Its data are either made up (``data``, as
nano's are) or corpora on disk (``corpora``); its models are new or start from others
(``start_from``).
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from data_synth.speech_sets import DataConfig
from data_synth.text_to_token import TextToTokenConfig
from decoder.config import FlowConfig, VocoderConfig
from decoder.data import VoicesConfig
from decoder.train_speaker import SpeakerTraining
from decoder.train_vocoder import VocoderTrainConfig
from tokenizer.train import TokenizerTrainConfig
from voiceglm.config import build, load_yaml, override
from voiceglm.errors import ConfigError
from voiceglm.language_model import LanguageModelConfig
from voiceglm.train import LanguageTraining
from voiceglm.train_config import TrainConfig

KINDS = ("interleaved", "speech", "pairs", "text", "dialogues_speech", "dialogues_text")
"""Of data for the language model: speech and text by turns; speech alone; pairs to transcribe and
to speak out; text alone; dialogues."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a recipe is planned for, and what the dry run reckons with."""

    gpus: int = 1
    gpu_memory: float = 24.0
    """GB (10^9 bytes) of each."""
    gpu_tflops: float = 165.0
    """Most it computes in bfloat16, dense, in 10^12 operations a second."""
    utilisation: float = 0.4
    """Share of that which training reaches."""

    def __post_init__(self) -> None:
        """Refuse a machine that computes nothing."""
        for name in ("gpus", "gpu_memory", "gpu_tflops"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"machine.{name} must be positive, got {getattr(self, name)}")
        if not 0 < self.utilisation <= 1:
            raise ConfigError(f"machine.utilisation must be in 0 .. 1, got {self.utilisation}")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """How much data a stage will see. The dry run reads no data, so it has to be told."""

    items: int
    """Recordings, or documents."""
    seconds: float | None = None
    """Of a recording, on average; ``None`` for documents."""
    ids: float | None = None
    """Of a document, on average; ``None`` for recordings."""
    learned: float = 1.0
    """Share of a document's ids that are learned."""
    letters: int | None = None
    """Characters that recordings are written in, where a tokenizer finds its alphabet itself."""
    ids_per_second: float | None = None
    """What one GPU writes, where ids are written and that was measured."""

    def __post_init__(self) -> None:
        """Refuse what has no size."""
        if (self.seconds is None) == (self.ids is None):
            raise ConfigError("expected needs either seconds (of recordings) or ids (of documents)")


@dataclass(frozen=True, kw_only=True)
class Corpora:
    """What a recipe learns from, where nothing is made up for it.

    Manifests and rows are those of ``docs/data.md``. A path that is not absolute is looked for
    where the recipe is carried out.
    """

    transcribed: tuple[Path, ...] = ()
    """Manifests of recordings with the texts people wrote."""
    pseudo_labelled: tuple[Path, ...] = ()
    """Manifests of recordings whose texts a recognizer wrote; the tokenizer alone learns them."""
    pseudo_per_transcribed: float = 3.0
    """Recordings of the second kind that the tokenizer hears for each of the first."""
    speech: tuple[Path, ...] = ()
    """Manifests of further recordings, with or without texts."""
    assistant: tuple[Path, ...] = ()
    """Manifests of the one voice that replies are to have."""
    texts: tuple[Path, ...] = ()
    """Written documents (JSON lines, Parquet), learned as they are and partly spoken."""
    dialogues_speech: tuple[Path, ...] = ()
    """Rows of spoken dialogues, each to be learned for its speech."""
    dialogues_text: tuple[Path, ...] = ()
    """The same for their text."""


@dataclass(frozen=True, kw_only=True)
class OneVoice:
    """The second stage of the flow, on the assistant's voice alone."""

    train: TrainConfig
    crop_probability: float = 0.5
    """In this stage, see :class:`decoder.config.FlowConfig`."""


@dataclass(frozen=True, kw_only=True)
class FlowRecipe:
    """The flow and its training."""

    model: FlowConfig
    train: TrainConfig
    one_voice: OneVoice | None = None
    """``None``: there is one stage."""
    voices: VoicesConfig = field(default_factory=VoicesConfig)
    """Whose recordings teach what, where several voices are learned."""


@dataclass(frozen=True, kw_only=True)
class VocoderRecipe:
    """The vocoder and its training."""

    model: VocoderConfig
    train: VocoderTrainConfig


@dataclass(frozen=True, kw_only=True)
class LanguageStage:
    """One of the two trainings of the language model."""

    objective: LanguageTraining
    train: TrainConfig
    shares: dict[str, float] = field(default_factory=dict)
    """Of the ids of the run, by kind of data (``KINDS``); for corpora."""
    epochs: dict[str, float] = field(default_factory=dict)
    """How often the rows of a kind are seen, where that is given instead of a share."""

    def __post_init__(self) -> None:
        """Refuse unknown kinds, and shares that do not add up."""
        for name in (*self.shares, *self.epochs):
            if name not in KINDS:
                raise ConfigError(f"no kind of data called {name!r}; known: {', '.join(KINDS)}")
        total = sum(self.shares.values())
        if self.shares and abs(total - 1) > 1e-3:
            raise ConfigError(f"shares must add up to 1, got {total:g}: {self.shares}")


@dataclass(frozen=True, kw_only=True)
class LanguageRecipe:
    """The language model and its trainings."""

    model: LanguageModelConfig | None = None
    """Sizes of a new one; ``None`` if it starts from a text model."""
    start_from: str | None = None
    """A text model that is grown by the speech ids: a Hugging Face name, or a folder."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """What that model's ``config.json`` says, so that the dry run need not fetch it."""
    text_vocabulary: int
    """Text ids: how many are learned for a new model, or how many a text model has."""
    pretraining: LanguageStage
    finetuning: LanguageStage

    def __post_init__(self) -> None:
        """Refuse a model that is both new and not, or neither."""
        if (self.model is None) == (self.start_from is None):
            raise ConfigError("language_model needs either model (its sizes) or start_from")
        if self.start_from is not None and "model_type" not in self.architecture:
            raise ConfigError(
                "language_model.architecture must hold what the config.json of "
                f"{self.start_from} says, model_type among it"
            )


@dataclass(frozen=True, kw_only=True)
class TextToTokenRecipe(TextToTokenConfig):
    """The text-to-token model."""

    spans: int | None = None
    """Stretches of made-up documents that are spoken for it; ``None`` with corpora."""


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """A whole recipe; see ``recipes/nano.yaml``."""

    name: str
    about: str
    """One line for the list of recipes."""
    machine: Machine = field(default_factory=Machine)
    expected: dict[str, Expected] = field(default_factory=dict)
    """By stage."""
    data: DataConfig | None = None
    corpora: Corpora | None = None
    tokenizer: TokenizerTrainConfig
    recognizer: TokenizerTrainConfig | None = None
    """Judges replies; ``None``: replies are not judged."""
    flow: FlowRecipe
    vocoder: VocoderRecipe
    speaker: SpeakerTraining | None = None
    """What hears who speaks; needed where ``data.voices`` are spoken."""
    language_model: LanguageRecipe
    text_to_token: TextToTokenRecipe

    def __post_init__(self) -> None:
        """Refuse a recipe without data, or parts that do not fit."""
        if (self.data is None) == (self.corpora is None):
            raise ConfigError("a recipe needs either data (made up) or corpora (on disk)")
        if self.data is not None and self.data.voices is not None and self.speaker is None:
            raise ConfigError("data.voices needs a speaker encoder: say how speaker is trained")
        self._check_parts()
        if self.flow.model.num_codes != self.num_codes:
            raise ConfigError(
                f"flow.model.num_codes is {self.flow.model.num_codes}, the tokenizer has "
                f"{self.num_codes} codes; make them equal"
            )

    def _check_parts(self) -> None:
        """Refuse settings that nothing would obey, and the lack of those that something needs."""
        thinker = self.language_model
        stages = (thinker.pretraining, thinker.finetuning)
        for_made_up = {
            "recognizer": self.recognizer,
            "language_model.model": thinker.model,
            "text_to_token.spans": self.text_to_token.spans,
        }
        for_corpora = {
            "language_model.start_from": thinker.start_from,
            "flow.one_voice": self.flow.one_voice,
            "language_model.*.shares or epochs": any(each.shares or each.epochs for each in stages),
        }
        needed, foreign = for_made_up, for_corpora
        if self.data is None:
            needed, foreign = for_corpora, for_made_up
            needed.pop("flow.one_voice")  # which may be left out
        kind, other = ("corpora", "data") if self.data is None else ("data", "corpora")
        for name, value in needed.items():
            if not value:
                raise ConfigError(f"a recipe with {kind} needs {name}")
        for name, value in foreign.items():
            if value:
                raise ConfigError(f"{name} is for a recipe with {other}, this one has {kind}")

    @property
    def num_codes(self) -> int:
        """Entries of the tokenizer's codebook."""
        quantizer = self.tokenizer.model.quantizer
        if quantizer is None:
            raise ConfigError("tokenizer.model.quantizer is null: a tokenizer needs a codebook")
        return quantizer.codebook_size


Sharding = Literal["ddp", "fsdp"]


def recipe_names() -> list[str]:
    """Return the recipes of this package, the smallest first."""
    found = files("voiceglm").joinpath("recipes").iterdir()
    names = {path.name.removesuffix(".yaml") for path in found if path.name.endswith(".yaml")}
    first = [name for name in _ORDER if name in names]
    return [*first, *sorted(names.difference(_ORDER))]


def load_recipe(name_or_file: str | Path, settings: Sequence[str] = ()) -> RecipeConfig:
    """Load a recipe of this package by its name, or one from a YAML file.

    Args:
        name_or_file: A name, or a path that ends in ``.yaml`` or ``.yml``.
        settings: ``a.b=value``, each over what the file says.

    Raises:
        ConfigError: If there is no such recipe, or it holds an unknown setting.
    """
    return build(RecipeConfig, recipe_values(name_or_file, settings))


def recipe_values(name_or_file: str | Path, settings: Sequence[str] = ()) -> dict[str, Any]:
    """Return a recipe as it is written, with single settings over it; see :func:`load_recipe`."""
    return override(load_yaml(recipe_path(name_or_file)), settings)


def recipe_path(name_or_file: str | Path) -> Path:
    """Return where a recipe is.

    Raises:
        ConfigError: If no recipe has that name.
    """
    if str(name_or_file).endswith((".yaml", ".yml")):
        return Path(name_or_file)
    path = Path(str(files("voiceglm").joinpath("recipes", f"{name_or_file}.yaml")))
    if not path.is_file():
        known = recipe_names()
        near = difflib.get_close_matches(str(name_or_file), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"no recipe called {str(name_or_file)!r}; {hint} (or a YAML file)")
    return path


_ORDER = ("nano-smoke", "nano", "small", "9b")
