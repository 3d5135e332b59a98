"""Text to ids and back: byte-level BPE, so that any text round-trips.

The pieces are cut by the pattern of GLM-4 before pairs are merged, so a nano tokenizer and the
released one agree on where a piece may end (docs/porting.md, vocabulary).
"""

import codecs
import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from voiceglm.errors import CheckpointError, ConfigError

TOKENIZER_FILE = "tokenizer.json"
"""What it is called in the folder of a model."""
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)
"""How GLM-4 cuts text into pieces."""


def _byte_of_character() -> dict[str, int]:
    """Return the byte each character of a byte-level piece stands for (Radford et al. 2019).

    Printable Latin-1 characters stand for themselves; the others are shifted past 255.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    shifted = {chr(256 + n): byte for n, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted


_BYTE_OF_CHARACTER = _byte_of_character()


def _byte_level(model: BPE) -> Tokenizer:
    """Wrap pairs to be merged with the cutting of GLM-4."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return tokenizer


def train_text_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE tokenizer.

    Put what every prompt repeats (the system texts, the reply prefix) among the texts often
    enough to be merged into few ids. The same texts give the same tokenizer.

    Args:
        texts: The corpus, in any number of pieces.
        vocab_size: The most ids to use, at least 256 (the bytes); a small corpus may use fewer.
    """
    if vocab_size < 256:
        raise ConfigError(f"vocab_size must be at least 256 (one id per byte), got {vocab_size}")
    tokenizer = _byte_level(BPE())
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_text_tokenizer(path: Path) -> Tokenizer:
    """Read a ``tokenizer.json``.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"no text tokenizer at {path}")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{path} is not a text tokenizer: {error}") from None


def split_added(tokenizer: Tokenizer) -> tuple[Tokenizer, dict[str, int]]:
    """Part a tokenizer into pieces of text, and the strings that mean something to its model.

    Without those strings text that happens to contain one stays text.

    Returns:
        The tokenizer of pieces alone, and the ids of the strings.

    Raises:
        CheckpointError: If the pieces are not those of byte-level BPE, numbered without a gap.
    """
    values = json.loads(tokenizer.to_str())
    values |= {"added_tokens": [], "post_processor": None}
    plain = Tokenizer.from_str(json.dumps(values))
    pieces = plain.get_vocab()
    if sorted(pieces.values()) != list(range(len(pieces))):
        raise CheckpointError("the pieces of its text tokenizer are not numbered without a gap")
    strange = [piece for piece in pieces if not _BYTE_OF_CHARACTER.keys() >= set(piece)]
    if strange or not _BYTE_OF_CHARACTER.keys() <= pieces.keys():
        example = f", such as {strange[0]!r}" if strange else ""
        raise CheckpointError(f"its text tokenizer is not byte-level BPE: pieces of text{example}")
    every = tokenizer.get_vocab(with_added_tokens=True)
    return plain, {name: id_ for name, id_ in every.items() if name not in pieces}


def load_ranks(path: Path) -> Tokenizer:
    """Read a ``tokenizer.model`` of GLM-4: lines of a piece in base64 and its rank, its id.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    try:
        lines = path.read_bytes().splitlines()
        ranks = {b64decode(piece, validate=True): int(rank) for piece, rank in map(_pair, lines)}
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is no list of pieces and ranks: {error}") from None
    missing = sum(bytes([n]) not in ranks for n in range(256))
    if missing or sorted(ranks.values()) != list(range(len(ranks))):
        raise CheckpointError(f"{path} is no complete list of pieces: ids or single bytes missing")
    characters = {byte: character for character, byte in _BYTE_OF_CHARACTER.items()}

    def written(piece: bytes) -> str:
        return "".join(characters[byte] for byte in piece)

    longer = sorted((piece for piece in ranks if len(piece) > 1), key=ranks.__getitem__)
    splits = (_last_merge(piece, ranks) for piece in longer)
    merges = [(written(left), written(right)) for left, right in filter(None, splits)]
    vocabulary = {written(piece): rank for piece, rank in ranks.items()}
    # A piece that is in the list is taken whole, as the published tokenizer does.
    return _byte_level(BPE(vocab=vocabulary, merges=merges, ignore_merges=True))


def _pair(line: bytes) -> tuple[bytes, bytes]:
    piece, rank = line.split()
    return piece, rank


def _last_merge(piece: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """Return the two parts that are merged into a piece, None if nothing leads to it.

    Within the piece the same pairs are merged in the same order wherever it occurs, so there is
    only one last merge.
    """
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
        best = min(range(len(pairs)), key=pairs.__getitem__)
        if pairs[best] >= ranks[piece]:
            return None
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]


class TextStream:
    """Text ids to text as they come; a character cut in two waits for its other bytes.

    Holds everything it remembers; drop it to forget a reply that was interrupted.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, ids: Iterable[int]) -> str:
        """Return the text completed by these ids, possibly empty."""
        return self._decoder.decode(b"".join(map(self._bytes, ids)))

    def finish(self) -> str:
        """Return what was held back; an unfinished character becomes U+FFFD."""
        return self._decoder.decode(b"", final=True)

    def _bytes(self, id_: int) -> bytes:
        piece = self._tokenizer.id_to_token(id_)
        if piece is None:
            raise ConfigError(f"id {id_} is not a text id of this tokenizer")
        return bytes(map(_BYTE_OF_CHARACTER.__getitem__, piece))
