"""A text model of transformers, grown by the special and the speech ids of a spoken conversation.

Letters used in shapes: R rows of an embedding, C channels.

Old ids keep their numbers and their rows, so what the model computes of text stays what it was. A
new row is the mean of the old ones, by which no new id is likelier than an average old one (Hewitt
2021, "Initializing new word embeddings for pretrained language models"), with a little noise of
their covariance, by which the codes can be told apart.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from voiceglm.checkpoint import read_config
from voiceglm.errors import CheckpointError, ConfigError
from voiceglm.language_config import GrownModelConfig, Network, fill_network
from voiceglm.text_tokenizer import load_text_tokenizer, split_added
from voiceglm.vocabulary import SPECIAL_NAMES, Vocabulary

NOISE = 0.1
"""Standard deviation of new rows, in those of the old ones."""

_SAMPLED = 2_048  # old rows that the noise is made of
_ALIGNED = 64  # rows are a multiple of it
_UNSTORED = ("architectures", "transformers_version", "dtype", "_name_or_path", "vocab_size")
_GLM = ("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>")
"""What GLM-4 calls the first special ids; the others are named as here."""


def grow(
    folder: Path, parts: Iterable[Mapping[str, Tensor]], num_codes: int, seed: int
) -> tuple[Network, GrownModelConfig, Vocabulary, Tokenizer]:
    """Load a text model and add rows for speech.

    Args:
        folder: With ``config.json`` and ``tokenizer.json``.
        parts: Its weights.
        num_codes: Speech codes.
        seed: Of the new rows.

    Raises:
        CheckpointError: If it is incomplete or damaged, or cannot be built on.
    """
    values = read_config(folder)
    try:
        text_tokenizer, added = split_added(load_text_tokenizer(folder / "tokenizer.json"))
        config = _config(values)
        with torch.device("meta"):
            network = config.network(int(values["vocab_size"]))
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"cannot build on {folder}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} is no text model of transformers: {error}") from None
    fill_network(network, parts, where=folder)
    vocabulary = grown_vocabulary(
        text_tokenizer.get_vocab_size(), added, network.config.vocab_size, num_codes
    )
    _add_rows(network, vocabulary, added, seed)
    return network, config, vocabulary, text_tokenizer


def grown_vocabulary(
    text_size: int, added: Mapping[str, int], rows: int, num_codes: int
) -> Vocabulary:
    """Return where ids lie in a text model that is grown.

    Those of GLM-4 has the special ids of GLM-4-Voice already, trained, where they belong; any other
    gets them behind its last row.

    Args:
        text_size: Pieces of text.
        added: Ids of strings that mean something to the text model.
        rows: Of its embedding.
        num_codes: Speech codes.
    """
    names = [*_GLM, *(f"<|{name}|>" for name in SPECIAL_NAMES[len(_GLM) : 10])]
    is_glm = all(added.get(name) == text_size + n for n, name in enumerate(names))
    special = text_size if is_glm else rows
    speech = max(rows, special + len(SPECIAL_NAMES))
    size = -(-(speech + num_codes) // _ALIGNED) * _ALIGNED
    return Vocabulary(text_size, num_codes, speech, size, special)


def _config(values: Mapping[str, object]) -> GrownModelConfig:
    """Return what is kept of a ``config.json``."""
    kept = {name: value for name, value in values.items() if name not in _UNSTORED}
    length = values["max_position_embeddings"]
    if not isinstance(length, int):
        raise ConfigError(f"max_position_embeddings is {length!r}, expected a whole number")
    # No id is for padding: an embedding would never learn its row.
    return GrownModelConfig(architecture={**kept, "pad_token_id": None}, context_length=length)


@torch.no_grad()
def _add_rows(
    network: Network, vocabulary: Vocabulary, added: Mapping[str, int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    known = max([vocabulary.text_size - 1, *added.values()]) + 1  # rows behind only pad
    rows = network.config.vocab_size
    unnamed = [id_ for id_ in vocabulary.special_ids if id_ not in added.values()]
    fresh = sorted({*unnamed, *range(rows, vocabulary.size)})
    network.resize_token_embeddings(vocabulary.size, mean_resizing=False)
    weights = [network.model.embed_tokens.weight]
    if not network.config.tie_word_embeddings:
        weights.append(network.lm_head.weight)
    for weight in weights:
        weight[fresh] = _like(weight[:known], len(fresh), generator).to(weight.dtype)


def _like(old: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return rows near the mean of old ones: (R, C) -> (count, C)."""
    mean = old.float().mean(0)  # (C,)
    sampled = torch.randperm(len(old), generator=generator)[:_SAMPLED]
    around = old[sampled].float() - mean
    # A random mixture of what rows differ by has their covariance.
    noise = torch.randn(count, len(around), generator=generator) @ around / len(around) ** 0.5
    return mean + NOISE * noise
