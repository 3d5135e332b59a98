"""A training run of the language model: from a model and a mix of sources to another model.

The folder of a run (``voiceglm.runs``) also holds ``start.json``, what the run began with, and
``tokens/``, the sources that had to be written as ids. What comes out is a whole model if one went
in, its tokenizer and decoder with it, so that ``voiceglm chat --model FOLDER/model`` talks.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from data_synth.training_sources import Opener, tokenizer_of
from decoder.model import SpeechDecoder
from voiceglm.audio import save_audio
from voiceglm.checkpoint import resolve
from voiceglm.errors import ConfigError
from voiceglm.files import new_folder, write_file, write_json_lines
from voiceglm.language_config import LanguageModelConfig
from voiceglm.language_model import PART, Sampling, VoiceLM, language_model_json
from voiceglm.lora import Adapter, LoraSettings
from voiceglm.mixing import Portion
from voiceglm.ranks import is_first, wait
from voiceglm.runs import MODEL
from voiceglm.train import LanguageTraining, Source, train_language_model
from voiceglm.train_config import TrainConfig
from voiceglm.training import TRAIN

ADAPTER, START, TOKENS, REPLIES = "adapter", "start.json", "tokens", "replies.jsonl"
REPLY_IDS = 300  # of a sample, at most
_COMPANIONS = ("tokenizer", "decoder")


@dataclass(frozen=True, kw_only=True)
class MixedSource(Portion):
    """A source of a mix, and how much of the run comes from it.

    Attributes:
        path: See :mod:`data_synth.training_sources`.
    """

    path: Path


@dataclass(frozen=True, kw_only=True)
class LanguageRun:
    """What a run is asked for.

    Attributes:
        model: Name or folder of the model it begins with.
        sizes: Of an untrained network to begin with; of ``model`` only the vocabulary, the text
            tokenizer and the wire format are taken then.
        mix: What it learns from.
        objective: What it learns from a row.
        train: Steps and optimizer.
        lora: Adapt the model instead of training all of it.
        asked: What the samples of ``train.sample_every`` are replies to, in writing.
    """

    model: str
    sizes: LanguageModelConfig | None = None
    mix: tuple[MixedSource, ...] = ()
    objective: LanguageTraining = field(default_factory=LanguageTraining)
    train: TrainConfig
    lora: LoraSettings | None = None
    asked: tuple[str, ...] = ("Hello.", "What is your name?")

    def __post_init__(self) -> None:
        """Refuse what cannot go together."""
        if not self.mix:
            raise ConfigError("the mix is empty: name sources, or set mix in the settings")
        if self.sizes and self.lora:
            raise ConfigError("lora adapts a trained model; leave out sizes, or lora")


def carry_out(run: LanguageRun, folder: Path) -> Path:
    """Train, or go on where a stopped run left off; return the folder of what came out.

    Raises:
        CheckpointError: If the model is unknown, incomplete or damaged.
        ConfigError: If a setting or a row cannot be used, or the folder is of another run.
        SourceError: If a source is missing or damaged, or does not fit the model.
        TrainingError: If the training diverges.
        OutputError: If the folder cannot be written.
    """
    model = _beginning(run)
    tokenizer = tokenizer_of(run.model)
    opener = Opener(model, tokenizer, folder / TOKENS, run.objective.plan.row_length)
    sources = [Source(opener.open(each.path), Portion(**_portion(each))) for each in run.mix]
    _check_start(folder / START, model, sources)
    adapter = Adapter(model, run.lora, seed=run.train.seed) if run.lora else None
    samples = partial(show_replies, model, run.asked, cache(partial(decoder_of, run.model)))
    train_language_model(model, sources, run.objective, run.train, folder / TRAIN, samples=samples)
    if adapter and run.lora and run.lora.keep == "adapter":
        if is_first():
            adapter.save(folder / ADAPTER, replace=True)
        return folder / ADAPTER
    if adapter:
        adapter.merge()
    if is_first():
        save_whole(model, folder / MODEL, companions=run.model)
    return folder / MODEL


def save_whole(model: VoiceLM, folder: Path, *, companions: str) -> None:
    """Write a language model, and beside it the parts of the model that it goes with.

    Args:
        model: The language model.
        folder: Takes the place of an older one.
        companions: Name or folder of a model: its tokenizer and decoder, where it has them.

    Raises:
        OutputError: If the folder cannot be written.
    """
    whole = resolve(companions)
    with new_folder(folder, replace=True) as draft:
        model.save(draft / PART)
        for part in _COMPANIONS:
            if (whole / part).is_dir():
                shutil.copytree(whole / part, draft / part)


def decoder_of(name_or_folder: str) -> SpeechDecoder | None:
    """Load the decoder that goes with a model; ``None`` where it has none."""
    folder = resolve(name_or_folder) / "decoder"
    return SpeechDecoder.from_pretrained(folder) if folder.is_dir() else None


def show_replies(
    model: VoiceLM,
    asked: Sequence[str],
    load_decoder: Callable[[], SpeechDecoder | None],
    folder: Path,
) -> None:
    """Write the most probable replies to written texts into a folder, and how they sound.

    Args:
        model: What replies.
        asked: The texts.
        load_decoder: Gives what speaks them, if anything does.
        folder: Gets ``replies.jsonl`` and ``N.wav``.
    """
    vocabulary, decoder, rows = model.vocabulary, load_decoder(), []
    for number, text in enumerate(asked):
        prompt = model.writer.opening("text") + model.writer.text_turn(text)
        ids = list(model.generate(prompt, Sampling(temperature=0.0, max_new_ids=REPLY_IDS)))
        codes = [vocabulary.code(i) for i in ids if vocabulary.is_speech(i)]
        rows.append({"asked": text, "reply": model.decode_text(ids), "codes": codes})
        if decoder and codes:
            save_audio(folder / f"{number}.wav", decoder.decode(codes), decoder.sample_rate)
    write_json_lines(folder / REPLIES, rows)


def _beginning(run: LanguageRun) -> VoiceLM:
    """Return the model that a run begins with."""
    model = VoiceLM.from_pretrained(run.model)
    if run.sizes is None:
        return model
    return VoiceLM.untrained(run.sizes, like=model, seed=run.train.seed)


def _portion(source: MixedSource) -> dict[str, Any]:
    return {"share": source.share, "epochs": source.epochs, "weight": source.weight}


def _check_start(path: Path, model: VoiceLM, sources: Sequence[Source]) -> None:
    """Refuse to go on with a model or with sources that are not what they were.

    Raises:
        ConfigError: If something else is on record; it is named.
    """
    now: dict[str, Any] = {
        "model": language_model_json(model.config, model.vocabulary, model.prompt_format),
        "sources": [
            {
                "name": source.documents.name,
                "documents": len(source.documents.lengths),
                "ids": int(source.documents.lengths.sum(dtype="int64")),
            }
            for source in sources
        ],
    }
    if not path.is_file() and is_first():
        write_file(path, f"{json.dumps(now, indent=1, ensure_ascii=False)}\n".encode())
    wait()
    before = json.loads(path.read_bytes())
    if before["model"] != json.loads(json.dumps(now["model"])):
        raise ConfigError(
            f"{path.parent} is the run of a model of another architecture or vocabulary; resume "
            "with the model it began with, or name another folder"
        )
    for old, new in zip(before["sources"], now["sources"], strict=True):
        if old != new:
            raise ConfigError(
                f"{new['name']} holds {new['documents']:,} documents of {new['ids']:,} ids, "
                f"{old['documents']:,} of {old['ids']:,} when the run began; bring those back, or "
                "name another folder"
            )
