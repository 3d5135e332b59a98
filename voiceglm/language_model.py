"""The language model: text and speech ids in, text and speech ids out, one at a time.

A decoder of transformers, GLM or a text model that was grown, over the vocabulary
``[text | special | speech]``. Nothing of a reply is kept in the model: its memory is a
:class:`ReplyCache` that the caller holds.

Letters used in shapes: L ids, V vocabulary, P legal ids.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import DynamicCache

from voiceglm import chatglm, growth
from voiceglm.checkpoint import read_config, read_shard, resolve, shards, write_checkpoint
from voiceglm.config import build
from voiceglm.errors import CheckpointError, ConfigError
from voiceglm.interleave import REPLY, Kind, Layout
from voiceglm.language_config import (
    GrownModelConfig,
    LanguageModelConfig,
    ModelConfig,
    Network,
    fill_network,
    stored_tensors,
)
from voiceglm.prompt import PromptFormat, PromptWriter
from voiceglm.text_tokenizer import TOKENIZER_FILE, TextStream, load_text_tokenizer
from voiceglm.vocabulary import Vocabulary

PART = "language_model"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next id is chosen among the legal ones.

    Attributes:
        temperature: 0 takes the likeliest id; larger values flatten the odds.
        speech_temperature: The same where only speech may come; None for the same value.
        top_p: Keep the likeliest ids that together reach this share.
        top_k: Keep at most this many ids; 0 for no limit.
        max_new_ids: The most ids of one reply.
    """

    temperature: float = 0.2
    speech_temperature: float | None = None
    top_p: float = 0.8
    top_k: int = 0
    max_new_ids: int = 2_000

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if min(self.temperature, self.speech_temperature or 0.0) < 0:
            raise ConfigError("a sampling temperature cannot be negative")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.top_k < 0 or self.max_new_ids < 1:
            raise ConfigError("top_k must be at least 0 and max_new_ids at least 1")

    def for_speech(self) -> "Sampling":
        """Return how to choose where only speech may come."""
        if self.speech_temperature is None:
            return self
        return replace(self, temperature=self.speech_temperature)

    def choose(self, logits: Tensor, generator: torch.Generator) -> int:
        """Draw one index.

        Args:
            logits: (P,), float32 on the CPU.
            generator: Where the draw comes from; untouched at temperature 0.
        """
        if self.temperature == 0:
            return int(logits.argmax())
        odds, order = (logits / self.temperature).softmax(-1).sort(descending=True)
        # An id stays if those likelier than it have not yet reached the share.
        odds = odds.masked_fill(odds.cumsum(-1) - odds >= self.top_p, 0.0)
        if self.top_k:
            odds[self.top_k :] = 0.0
        return int(order[torch.multinomial(odds, 1, generator=generator)])


def language_model_json(
    config: ModelConfig, vocabulary: Vocabulary, prompt_format: PromptFormat
) -> dict[str, Any]:
    """Return the ``config.json`` of a language model."""
    return {
        "model": asdict(config),
        "vocabulary": vocabulary.to_dict(),
        "prompt": asdict(prompt_format),
    }


def check_ids(ids: Sequence[int], context_length: int, vocabulary: Vocabulary) -> None:
    """Refuse what no model can continue.

    Raises:
        ConfigError: If there are no ids, an id is unknown, or no room is left to reply.
    """
    if not ids:
        raise ConfigError("there is nothing to continue: no ids")
    if len(ids) >= context_length:
        raise ConfigError(
            f"the conversation has {len(ids)} ids, the model reads at most "
            f"{context_length - 1}; start a new one or drop old turns"
        )
    if not 0 <= min(ids) <= max(ids) < vocabulary.size:
        raise ConfigError(f"an id is outside the vocabulary of {vocabulary.size}")


def read_language_model(
    name_or_folder: str | Path,
) -> tuple[ModelConfig, Tokenizer, Vocabulary, PromptFormat]:
    """Read everything of a model but its weights, in our layout or as GLM-4-Voice is released.

    Raises:
        CheckpointError: If it is unknown, incomplete or damaged.
    """
    folder = resolve(name_or_folder, PART)
    return _read_rest(folder, read_config(folder))


def _read_rest(
    folder: Path, values: dict[str, Any]
) -> tuple[ModelConfig, Tokenizer, Vocabulary, PromptFormat]:
    """Read everything but the weights, given what ``config.json`` says."""
    try:
        if chatglm.is_released(values):
            return chatglm.read_released(folder, values)
        kind = GrownModelConfig if "architecture" in values["model"] else LanguageModelConfig
        return (
            build(kind, values["model"], where="model."),
            load_text_tokenizer(folder / TOKENIZER_FILE),
            Vocabulary.from_dict(values["vocabulary"]),
            build(PromptFormat, values["prompt"], where="prompt."),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} is no language model: no {error}") from None
    except ConfigError as error:
        raise CheckpointError(f"{folder} is no language model: {error}") from None


def _parts(
    folder: Path, released: ModelConfig | None, dtype: torch.dtype | None
) -> Iterator[dict[str, Tensor]]:
    """Yield the weights of a folder, one shard after the other, under our names."""
    for path in shards(folder):
        tensors = read_shard(path)
        if isinstance(released, LanguageModelConfig):
            tensors = chatglm.convert_tensors(tensors, released)
        yield {name: tensor.to(dtype or _in_memory(tensor)) for name, tensor in tensors.items()}


def _in_memory(tensor: Tensor) -> torch.dtype:
    """Return the type to compute in: float16 only saves room in a file."""
    return torch.bfloat16 if tensor.dtype == torch.bfloat16 else torch.float32


def _untrained(config: LanguageModelConfig, vocabulary: Vocabulary, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return config.network(vocabulary.size)


@dataclass
class ReplyCache:
    """The keys and values of the ids a conversation has been through; the caller owns it.

    Attributes:
        ids: What has been fed.
        past: Its keys and values.
    """

    ids: list[int] = field(default_factory=list)
    past: DynamicCache = field(default_factory=DynamicCache)

    def rewind(self, ids: Sequence[int]) -> list[int]:
        """Forget what differs from ``ids`` and return those still to be fed, at least the last."""
        shared = self.count_shared(ids[:-1])
        self.crop(shared)
        return list(ids[shared:])

    def count_shared(self, ids: Sequence[int]) -> int:
        """Return how many ids at the beginning are here already."""
        pairs = zip(self.ids, ids, strict=False)
        other = (n for n, (a, b) in enumerate(pairs) if a != b)
        return next(other, min(len(self.ids), len(ids)))

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` ids; nothing if there are fewer."""
        if length < len(self.ids):
            self.past.crop(length - len(self.ids))  # negative: how many to forget
            del self.ids[length:]


class VoiceLM:
    """A language model with its vocabulary, text tokenizer and wire format.

    Args:
        network: The weights.
        config: Their sizes.
        vocabulary: What each id means.
        text_tokenizer: Text to text ids and back.
        prompt_format: The fixed texts it was trained with.
    """

    def __init__(
        self,
        network: Network,
        config: ModelConfig,
        vocabulary: Vocabulary,
        text_tokenizer: Tokenizer,
        prompt_format: PromptFormat,
    ):
        if network.config.vocab_size != vocabulary.size:
            raise ConfigError(
                f"the network has {network.config.vocab_size} rows, "
                f"the vocabulary {vocabulary.size} ids"
            )
        if text_tokenizer.get_vocab_size() > vocabulary.text_size:
            raise ConfigError(
                f"the text tokenizer has {text_tokenizer.get_vocab_size()} ids, "
                f"the vocabulary room for {vocabulary.text_size}"
            )
        self.network = network
        self.config = config
        self.vocabulary = vocabulary
        self.text_tokenizer = text_tokenizer
        self.prompt_format = prompt_format
        self.writer = PromptWriter(vocabulary, self.encode_text, prompt_format)

    @classmethod
    def new(
        cls,
        config: LanguageModelConfig,
        text_tokenizer: Tokenizer,
        *,
        num_codes: int,
        styles: tuple[str, ...] = (),
        prompt_format: PromptFormat | None = None,
        seed: int = 0,
    ) -> "VoiceLM":
        """Return an untrained model; the same seed gives the same weights.

        Args:
            config: Its sizes.
            text_tokenizer: Text to text ids.
            num_codes: Of the speech tokenizer's codebook.
            styles: Names of the speaking styles that it can choose.
            prompt_format: The fixed texts to train it with; by default nano's.
            seed: Of the weights.
        """
        vocabulary = Vocabulary.compact(text_tokenizer.get_vocab_size(), num_codes, styles=styles)
        network = _untrained(config, vocabulary, seed)
        return cls(network, config, vocabulary, text_tokenizer, prompt_format or PromptFormat())

    @classmethod
    def untrained(cls, config: LanguageModelConfig, *, like: "VoiceLM", seed: int = 0) -> "VoiceLM":
        """Return an untrained model that reads and writes the ids of another."""
        network = _untrained(config, like.vocabulary, seed)
        return cls(network, config, like.vocabulary, like.text_tokenizer, like.prompt_format)

    @classmethod
    def grow(
        cls,
        name_or_folder: str | Path,
        num_codes: int,
        *,
        prompt_format: PromptFormat | None = None,
        seed: int = 0,
    ) -> "VoiceLM":
        """Start from a text model of transformers: its weights, with rows for speech added.

        What it computes of its old ids does not change.

        Args:
            name_or_folder: ``config.json``, safetensors and ``tokenizer.json``, in a folder or on
                the Hugging Face hub: GLM, GLM-4, Llama 3, Qwen2 or Qwen3.
            num_codes: Of the speech tokenizer's codebook.
            prompt_format: The fixed texts to train it with; by default GLM-4-Voice's.
            seed: Of the new rows.

        Raises:
            CheckpointError: If it is unknown, incomplete or damaged, or cannot be built on.
        """
        folder = resolve(name_or_folder)
        grown = growth.grow(folder, _parts(folder, None, None), num_codes, seed)
        return cls(*grown, prompt_format or PromptFormat.glm4voice())

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, *, dtype: torch.dtype | None = None
    ) -> "VoiceLM":
        """Load a model on the CPU, in our layout or as GLM-4-Voice is released.

        Args:
            name_or_folder: See :func:`voiceglm.checkpoint.resolve`.
            dtype: Of the weights in memory; by default bfloat16 if they are stored so (then they
                are not copied), else float32.

        Raises:
            CheckpointError: If it is unknown, incomplete or damaged.
        """
        folder = resolve(name_or_folder, PART)
        values = read_config(folder)
        config, text_tokenizer, vocabulary, prompt_format = _read_rest(folder, values)
        released = chatglm.is_released(values)
        with torch.device("meta"):
            network = config.network(vocabulary.size)
        parts = _parts(folder, config if released else None, dtype)
        fill_network(network, parts, where=folder)
        return cls(network, config, vocabulary, text_tokenizer, prompt_format)

    def save(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write the model to a folder, its weights as float16.

        Raises:
            OutputError: If the folder exists (and ``replace`` is not set) or cannot be written.
        """
        config = language_model_json(self.config, self.vocabulary, self.prompt_format)
        tensors = {name: value.half() for name, value in stored_tensors(self.network).items()}
        files = {TOKENIZER_FILE: self.text_tokenizer.to_str().encode()}
        write_checkpoint(folder, config, tensors, files=files, replace=replace)

    def encode_text(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return self.text_tokenizer.encode(text, add_special_tokens=False).ids

    def decode_text(self, ids: Sequence[int]) -> str:
        """Return the text of a reply, speech and special ids skipped."""
        return self.text_tokenizer.decode([i for i in ids if self.vocabulary.is_text(i)])

    @property
    def context_length(self) -> int:
        """The most ids of a conversation."""
        return self.config.context_length

    @property
    def conversation_length(self) -> int:
        """The most ids of a conversation that it holds well."""
        return self.config.conversation_length or self.config.context_length

    def text_stream(self) -> TextStream:
        """Return what turns the text ids of one reply into text as they come."""
        return TextStream(self.text_tokenizer)

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int], cache: ReplyCache) -> None:
        """Read ids ahead of a :meth:`generate` that will go on from them.

        Args:
            ids: The beginning of a conversation.
            cache: What it shares with ``ids`` is not computed again, the rest is forgotten.

        Raises:
            ConfigError: If there are no ids, an id is unknown, or they are too many.
        """
        check_ids(ids, self.config.context_length, self.vocabulary)
        pending = cache.rewind([*ids, -1])[:-1]
        if pending:
            self._feed(pending, cache)

    def generate(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        *,
        cache: ReplyCache | None = None,
        generator: torch.Generator | None = None,
        layout: Layout = REPLY,
        stop_ids: Sequence[int] | None = None,
    ) -> Generator[int, None, None]:
        """Continue ``ids``, one id at a time; close the iterator to stop.

        What has been yielded is in the cache but for the last id, whether the reply was
        finished, cut by ``max_new_ids`` or the context, or closed.

        Args:
            ids: The whole conversation so far, ending where the reply begins.
            sampling: How ids are chosen.
            cache: Kept by the caller between replies; whatever it shares with ``ids`` is not
                computed again, the rest of it is forgotten.
            generator: On the CPU; a fresh one seeded with 0 by default.
            layout: What may come where.
            stop_ids: Ids that end the reply; those of the vocabulary by default.

        Yields:
            Text and speech ids, behind those of a style if there is one, then the stop id, unless
            the reply was cut.

        Raises:
            ConfigError: If there are no ids, an id is unknown, or no room is left to reply.
        """
        check_ids(ids, self.config.context_length, self.vocabulary)
        generator = generator or torch.Generator().manual_seed(0)
        stops = self.vocabulary.stop_ids if stop_ids is None else tuple(stop_ids)
        room = min(sampling.max_new_ids, self.config.context_length - len(ids))
        choices = _Choices(self.vocabulary, stops, sampling, generator)
        return self._continue(list(ids), cache or ReplyCache(), choices, layout, room)

    @torch.inference_mode()
    def _continue(
        self, ids: list[int], cache: ReplyCache, choices: "_Choices", layout: Layout, room: int
    ) -> Generator[int, None, None]:
        position = layout.start()
        pending = cache.rewind(ids)
        for _ in range(room):
            logits = self._feed(pending, cache)
            chosen = choices.choose(logits, position.legal())
            yield chosen
            kind = choices.kind(chosen)
            if kind is Kind.STOP:
                return
            position = position.step(kind)
            pending = [chosen]

    def _feed(self, ids: list[int], cache: ReplyCache) -> Tensor:
        """Run ids through the network and return the logits after the last: (V,)."""
        inputs = torch.tensor([ids], device=self.network.device)
        out = self.network.model(inputs, past_key_values=cache.past, use_cache=True)
        cache.ids += ids
        return self.network.lm_head(out.last_hidden_state[0, -1])


class _Choices:
    """Chooses among the ids of the legal kinds."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        stop_ids: tuple[int, ...],
        sampling: Sampling,
        generator: torch.Generator,
    ):
        start = vocabulary.speech_start_id
        self._ids = {
            Kind.TEXT: torch.arange(vocabulary.text_size),
            Kind.SPEECH: torch.arange(start, start + vocabulary.num_codes),
            Kind.STOP: torch.tensor(stop_ids, dtype=torch.int64),
            Kind.STYLE: torch.tensor(vocabulary.style_ids, dtype=torch.int64),
        }
        self._legal: dict[frozenset[Kind], tuple[Tensor, Tensor]] = {}  # made when first needed
        self._vocabulary = vocabulary
        self._stop_ids = stop_ids
        self._sampling = sampling
        self._generator = generator

    def kind(self, id_: int) -> Kind:
        """Return what an id is; stop ids come first, whatever else they may be."""
        if id_ in self._stop_ids:
            return Kind.STOP
        if self._vocabulary.is_style(id_):
            return Kind.STYLE
        return Kind.SPEECH if self._vocabulary.is_speech(id_) else Kind.TEXT

    def choose(self, logits: Tensor, kinds: frozenset[Kind]) -> int:
        """Return one legal id, given the logits (V,) of all; only legal ones are moved."""
        if kinds not in self._legal:
            ids = torch.cat([self._ids[kind] for kind in Kind if kind in kinds])
            self._legal[kinds] = ids, ids.to(logits.device)
        legal, there = self._legal[kinds]
        sampling = self._sampling if Kind.TEXT in kinds else self._sampling.for_speech()
        return int(legal[sampling.choose(logits[there].float().cpu(), self._generator)])
