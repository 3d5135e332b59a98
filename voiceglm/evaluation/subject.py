"""What is measured, and with what: the model, an independent recognizer, and the settings of a run.

Recognizers are tokenizers of this project with a recognizer of their own, or Whisper models in
transformers' layout, which is what the papers use.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from transformers import AutoProcessor, WhisperForConditionalGeneration

from decoder import speaker
from decoder.voice import DEFAULT
from tokenizer.model import SpeechTokenizer
from voiceglm.audio import resample
from voiceglm.chat import VoiceChat
from voiceglm.checkpoint import CONFIG, read_config
from voiceglm.errors import CheckpointError
from voiceglm.evaluate import RATE, Reader
from voiceglm.evaluation.sound import SpeakerEncoder
from voiceglm.evaluation.tables import Row, keep_rows
from voiceglm.pretrained import load_chat

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run of the evaluation was asked for."""

    model: str = "nano"
    run: Path = Path("runs/nano")  # of a recipe: its test recordings and its recognizer
    output: Path = Path("evaluation")
    data: Path | None = None  # under which public sets are looked for
    manifests: tuple[Path, ...] = ()
    noises: tuple[Path, ...] = ()
    recordings: tuple[Path, ...] = ()  # manifests of people, partly trained on
    digits: Path | None = None  # folder of people's spoken digits, partly trained on
    recognizer: str = ""  # a folder; that of the run by default
    device: str = "cpu"
    voice: str = DEFAULT
    voices: Path | None = None  # folder of the user's voices, where it is not the standard one
    num_questions: int = 500
    num_readings: int = 300
    num_pairs: int = 300
    seed: int = 0


@dataclass(frozen=True)
class Subject:
    """A model being measured."""

    chat: VoiceChat
    settings: Settings = field(default_factory=Settings)
    recognizer: Reader | None = None
    recognizer_name: str = "none"
    speakers: SpeakerEncoder | None = None  # tells voices apart, where a model brings it

    @property
    def tokenizer(self) -> SpeechTokenizer:
        """The model's, which is always one of ours."""
        tokenizer = self.chat.tokenizer
        assert isinstance(tokenizer, SpeechTokenizer), "load_chat gives a SpeechTokenizer"
        return tokenizer

    def open_chat(self) -> VoiceChat:
        """Return a conversation without history."""
        return VoiceChat(self.chat.tokenizer, self.chat.model, self.chat.decoder)

    def chosen(self, items: Iterable[T], count: int) -> list[T]:
        """Draw ``count`` items by the seed, in their own order; all if there are fewer."""
        items = list(items)
        if len(items) <= count:
            return items
        places = random.Random(self.settings.seed).sample(range(len(items)), count)
        return [items[place] for place in sorted(places)]

    def keep(self, table: str, name: str, rows: Iterable[Row]) -> None:
        """Keep the rows of one set of a table.

        Raises:
            OutputError: If they cannot be written.
        """
        keep_rows(self.settings.output / table, name, rows)


def load_subject(settings: Settings) -> Subject:
    """Load a model and the recognizer that listens to it.

    Raises:
        CheckpointError: If the model or a recognizer that was named is missing or damaged.
    """
    chat = load_chat(
        settings.model, device=settings.device, voice=settings.voice, voices=settings.voices
    )
    speakers = speaker.SpeakerEncoder.find(settings.model)
    folder = Path(settings.recognizer) if settings.recognizer else recognizer_folder(settings.run)
    if not settings.recognizer and not folder.is_dir():
        return Subject(chat, settings, speakers=speakers)
    name = settings.recognizer or "of the recipe's run"
    return Subject(chat, settings, load_recognizer(folder), name, speakers)


def recognizer_folder(run: Path) -> Path:
    """Return where a recipe's run keeps its independent recognizer."""
    return run / "recognizer" / "model"


def load_recognizer(folder: Path) -> Reader:
    """Load a recognizer of this project, or a Whisper model.

    Raises:
        CheckpointError: If the folder is missing, or holds neither.
    """
    if not folder.is_dir():
        raise CheckpointError(
            f"no recognizer in {folder}: expected a tokenizer with a recognizer, or a Whisper model"
        )
    if read_config(folder).get("model_type") == "whisper":
        return WhisperReader(folder)
    return SpeechTokenizer.from_pretrained(folder)


class WhisperReader:
    """Writes down what is said with a Whisper model in transformers' layout.

    Args:
        folder: With its ``config.json``, weights, tokenizer and feature extractor.
    """

    def __init__(self, folder: Path):
        if not (folder / CONFIG).is_file():
            raise CheckpointError(f"{folder} is no Whisper model: its {CONFIG} is missing")
        self._processor = AutoProcessor.from_pretrained(folder)
        self._model = WhisperForConditionalGeneration.from_pretrained(folder).eval()

    @torch.inference_mode()
    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        """Return the words of (num_samples,) at ``sample_rate`` hertz."""
        heard = resample(samples, sample_rate, RATE).numpy()
        features = self._processor(
            heard,
            sampling_rate=RATE,
            return_tensors="pt",
            truncation=False,
            padding="longest" if len(heard) > 30 * RATE else "max_length",
            return_attention_mask=True,
        )
        ids = self._model.generate(**features)
        return self._processor.batch_decode(ids, skip_special_tokens=True)[0].strip()
