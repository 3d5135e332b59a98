"""Trains a tokenizer: recognize the text through the codes."""

import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer
from transformers import set_seed

from tokenizer.asr import AUTO_ALPHABET, AnyRecognizer, attention_half
from tokenizer.code_use import CodeUse, CollapseConfig, CountedTokenizer
from tokenizer.config import RecognizerConfig, TokenizerConfig
from tokenizer.data import Collate, Disturbance, SpeechDataset
from tokenizer.encoder import FEATURE_STRIDE
from tokenizer.evaluate import read_recordings
from tokenizer.features import LogMel
from tokenizer.mixing import places_of
from tokenizer.model import SpeechTokenizer
from tokenizer.spec_augment import SpecAugmentConfig
from tokenizer.start import Parts, starting_text_tokenizer, take_over
from voiceglm.augmentation import AugmentationConfig, Sounds, find_sounds
from voiceglm.batches import ItemBatches
from voiceglm.errors import ConfigError
from voiceglm.files import write_json_lines
from voiceglm.manifest import Utterance
from voiceglm.text_tokenizer import load_text_tokenizer
from voiceglm.train_config import TrainConfig
from voiceglm.training import fit, plain_attention

TRANSCRIPTS = "transcripts.jsonl"
_SHOWN = 4  # recordings of each list that are read back now and then


@dataclass(frozen=True, kw_only=True)
class TokenizerTrainConfig:
    """A tokenizer and how it is trained."""

    model: TokenizerConfig
    train: TrainConfig
    augmentation: AugmentationConfig | None = field(default_factory=AugmentationConfig)
    noises: Path | None = None
    """Manifest or folder of noise, which takes turns with noise that is made up."""
    rooms: Path | None = None
    """Manifest or folder of impulse responses, which take turns with rooms that are made up."""
    spec_augment: SpecAugmentConfig | None = None
    pseudo_weight: float = 1.0
    """What a text counts whose row says ``"text_source": "pseudo"``."""
    collapse: CollapseConfig | None = field(default_factory=CollapseConfig)
    """When to stop because few codes are in use; ``null``: never."""
    start_from: str | None = None
    """Folder or Hugging Face name of a Whisper model or a tokenizer."""
    start_parts: Parts = "all"
    """``encoder``: the recognizer is new, for another alphabet or text vocabulary."""
    text_tokenizer: Path | None = None
    """Attention only: a ``tokenizer.json``. A new recognizer's ids are its, then start, end and
    padding, whatever ``model.recognizer`` says of them."""
    alphabet_file: Path | None = None
    """CTC only: a text file of all the letters, which goes before ``model.recognizer.alphabet``."""

    def __post_init__(self) -> None:
        if self.pseudo_weight < 0:
            raise ConfigError(f"pseudo_weight must not be negative, got {self.pseudo_weight}")
        if self.augmentation is None and (self.noises or self.rooms):
            raise ConfigError("noises and rooms need augmentation, which is null")


def train_tokenizer(
    sources: Sequence[Sequence[Utterance]],
    config: TokenizerTrainConfig,
    folder: Path,
    *,
    weights: Sequence[float] | None = None,
) -> SpeechTokenizer:
    """Train a tokenizer, from scratch or from where a stopped run left off.

    Args:
        sources: Lists of recordings; those without text are left out.
        config: Architecture, optimizer, disturbance.
        folder: Checkpoints and metrics are kept here.
        weights: Share of each list in a pass; ``None``: every recording once.

    Raises:
        ConfigError: If there is nothing to train on, or nothing to spell it with.
        CheckpointError: If the model to start from does not fit.
        TrainingError: If the loss is not finite, or the codebook collapses.
    """
    spoken = _spoken(sources)
    set_seed(config.train.seed)
    tokenizer = new_tokenizer(config, [one.text or "" for source in spoken for one in source])
    recognizer = tokenizer.recognizer
    assert recognizer is not None, "a tokenizer without a recognizer is refused"
    spoken = [[one for one in source if _is_spelled(recognizer, one)] for source in spoken]
    lengths = [[_size(one) for one in source] for source in spoken]
    places = places_of(lengths, weights)
    sizes = tokenizer.config
    dataset = SpeechDataset(
        spoken,
        places,
        _disturbance(config, sizes),
        pseudo_weight=config.pseudo_weight,
    )
    collate = Collate(
        LogMel(sizes.features),
        recognizer,
        max_samples=sizes.encoder.max_frames * FEATURE_STRIDE * sizes.features.hop,
        spec_augment=config.spec_augment,
    )
    batches = ItemBatches(
        dataset,
        collate,
        batch_size=config.train.items_per_batch,
        lengths=[lengths[place.source][place.items[0]] for place in places],
        seed=config.train.seed,
    )
    model, callbacks = tokenizer, []
    if tokenizer.num_codes:
        model = CountedTokenizer(tokenizer)
        steps_per_pass = batches.batches_per_epoch / config.train.accumulate
        callbacks = [CodeUse(model, config.collapse, steps_per_pass)]
    samples = partial(_show, tokenizer, [one for source in spoken for one in source[:_SHOWN]])
    with ExitStack() as stack:
        for layers in (tokenizer.encoder, attention_half(recognizer)):
            if layers is not None:
                stack.enter_context(plain_attention(layers.layer_config))
        fit(model, batches, config.train, folder, samples=samples, callbacks=callbacks)
    return tokenizer.eval()


def _disturbance(config: TokenizerTrainConfig, sizes: TokenizerConfig) -> Disturbance:
    return Disturbance(
        augmentation=config.augmentation,
        sounds=Sounds(noises=find_sounds(config.noises), rooms=find_sounds(config.rooms)),
        sample_rate=sizes.features.sample_rate,
    )


def _show(tokenizer: SpeechTokenizer, utterances: Sequence[Utterance], folder: Path) -> None:
    """Write down what is read off the codes of some recordings."""
    write_json_lines(folder / TRANSCRIPTS, read_recordings(tokenizer, utterances))


def new_tokenizer(config: TokenizerTrainConfig, texts: Sequence[str]) -> SpeechTokenizer:
    """Build the tokenizer that training begins with.

    Args:
        config: Everything the run was asked for.
        texts: What is spelled.

    Raises:
        ConfigError: If the recognizer cannot spell, or knows none of the letters.
        CheckpointError: If the model to start from does not fit.
    """
    recognizer = config.model.recognizer
    if recognizer is None:
        raise ConfigError("model.recognizer is null, and the tokenizer learns by recognizing text")
    speller = None
    if recognizer.kind != "ctc":
        speller = _text_tokenizer(config)
        recognizer = _with_ids(recognizer, speller, config)
    if recognizer.kind != "attention":
        recognizer = replace(recognizer, alphabet=_alphabet(recognizer, config, texts))
    if config.model.encoder.encoder_only:
        raise ConfigError("model.encoder.encoder_only is true: training needs the layers above")
    tokenizer = SpeechTokenizer(replace(config.model, recognizer=recognizer))
    attention = attention_half(tokenizer.recognizer)
    if attention is not None:
        attention.text_tokenizer = speller
    if config.start_from is not None:
        take_over(tokenizer, config.start_from, config.start_parts)
    assert tokenizer.recognizer is not None, "it was asked for"
    if not any(all(tokenizer.recognizer.targets(text).values()) for text in texts):
        raise ConfigError(
            f"the recognizer knows none of the letters of {len(texts)} texts, the first of which "
            f"is {texts[0][:40]!r}; set model.recognizer.alphabet to auto"
        )
    return tokenizer


def _text_tokenizer(config: TokenizerTrainConfig) -> Tokenizer:
    found = None
    if config.text_tokenizer is not None:
        found = load_text_tokenizer(config.text_tokenizer)
    elif config.start_from is not None:
        found = starting_text_tokenizer(config.start_from)
    if found is None:
        where = f"{config.start_from} has none" if config.start_from else "there is none"
        raise ConfigError(
            f"an attention recognizer needs a text tokenizer, and {where}; set text_tokenizer to "
            "a tokenizer.json, or model.recognizer.kind to ctc"
        )
    return found


def _with_ids(
    recognizer: RecognizerConfig, speller: Tokenizer, config: TokenizerTrainConfig
) -> RecognizerConfig:
    """Return a recognizer that has an id for all that its text tokenizer writes."""
    size = speller.get_vocab_size()
    if config.start_from is None or config.start_parts == "encoder":
        return replace(
            recognizer, vocab_size=size + 3, start_id=size, end_id=size + 1, pad_id=size + 2
        )
    if size > recognizer.vocab_size:
        raise ConfigError(
            f"the text tokenizer has {size:,} ids, the recognizer of {config.start_from} only "
            f"{recognizer.vocab_size:,}; set start_parts to encoder for a new recognizer"
        )
    return recognizer


def _alphabet(
    recognizer: RecognizerConfig, config: TokenizerTrainConfig, texts: Iterable[str]
) -> str:
    """Return the letters of a file, of the texts, or those that are set."""
    if config.alphabet_file is not None:
        try:
            written = config.alphabet_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the alphabet {config.alphabet_file}: {error}") from None
        return "".join(dict.fromkeys(written.lower().replace("\n", "").replace("\r", "")))
    if recognizer.alphabet != AUTO_ALPHABET:
        return recognizer.alphabet
    letters = {letter for text in texts for letter in text.lower()}
    return "".join(sorted(letter for letter in letters if _is_spoken(letter)))


def _is_spoken(letter: str) -> bool:
    """Say whether a character is a letter, a mark on one, a digit, an apostrophe or a space."""
    return letter in "' " or unicodedata.category(letter)[0] in "LMN"


def _spoken(sources: Sequence[Sequence[Utterance]]) -> list[list[Utterance]]:
    """Return what has a recording and a text.

    Raises:
        ConfigError: If there is none, or a recording is missing.
    """
    spoken = [[one for one in source if one.text and one.path] for source in sources]
    if not any(spoken):
        count = sum(map(len, sources))
        raise ConfigError(
            f"no utterance of {count} has a text and a recording, and the tokenizer learns from "
            "both; fill in text, or give another manifest"
        )
    paths = sorted({one.recording for source in spoken for one in source})
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ConfigError(
            f"{len(missing)} of {len(paths)} recordings are missing, the first of them "
            f"{missing[0]}; voiceglm synth check lists them all"
        )
    return spoken


def _is_spelled(recognizer: AnyRecognizer, utterance: Utterance) -> bool:
    return all(recognizer.targets(utterance.text or "").values())


def _size(utterance: Utterance) -> int:
    """About how long an utterance is; only its order among others matters."""
    if utterance.num_samples is not None:
        return utterance.num_samples
    return int(float(utterance.extra.get("seconds", 0.0)) * 16_000)
