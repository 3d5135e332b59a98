"""A whole model from parts that were trained apart."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from decoder.config import DecoderConfig
from decoder.model import SpeechDecoder
from decoder.speaker import PART as SPEAKER_ENCODER
from decoder.speaker import SpeakerEncoder
from decoder.voice import read_voice
from decoder.voices import FOLDER as VOICES
from tokenizer.config import TokenizerConfig
from voiceglm.checkpoint import read_config, resolve
from voiceglm.config import build
from voiceglm.errors import CheckpointError, ConfigError
from voiceglm.files import CHECKSUMS, new_folder, write_checksums
from voiceglm.language_model import read_language_model

PARTS = ("tokenizer", "language_model", "decoder")
OPTIONAL = (SPEAKER_ENCODER,)


def assemble(folder: Path, base: str | Path, parts: Mapping[str, Path]) -> None:
    """Write a model's folder: that of another, with some parts in the place of its own.

    Voices come along if the decoder understands them.

    Args:
        folder: To be made.
        base: Where the parts come from that are not given, and what else a model has.
        parts: Folders by the name of the part, in our layout.

    Raises:
        CheckpointError: If a part is missing, is something else, or was made for another codebook.
        OutputError: If the folder is taken or cannot be written.
    """
    home = resolve(base)
    chosen = {name: Path(parts.get(name) or home / name) for name in PARTS}
    codes = {name: _num_codes(name, path) for name, path in chosen.items()}
    if len(set(codes.values())) > 1:
        counts = ", ".join(f"the {name} has {count}" for name, count in codes.items())
        raise CheckpointError(f"these parts do not fit, their codebooks differ: {counts} codes")
    chosen |= {name: Path(parts[name]) for name in OPTIONAL if name in parts}
    if SPEAKER_ENCODER in parts:
        _check_speakers(chosen[SPEAKER_ENCODER], chosen["decoder"])
    others = [path for path in home.iterdir() if path.name not in (*chosen, CHECKSUMS)]
    with new_folder(folder) as draft:
        for path in [*chosen.values(), *others]:
            name = next((part for part, home in chosen.items() if home == path), path.name)
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, draft / name)
        if (draft / VOICES).is_dir():
            _drop_strange_voices(draft)
        write_checksums(draft)


def _check_speakers(encoder: Path, decoder: Path) -> None:
    """Refuse a speaker encoder of which a decoder makes nothing."""
    given = SpeakerEncoder.from_pretrained(encoder).config.dim
    read = build(DecoderConfig, read_config(decoder)).flow.speaker_dim
    if given != read:
        raise CheckpointError(
            f"the speaker encoder gives {given} numbers, the decoder reads {read}"
        )


def _drop_strange_voices(folder: Path) -> None:
    """Remove the voices of another decoder than the model's own."""
    fingerprint = SpeechDecoder.from_pretrained(folder).fingerprint
    for file in (folder / VOICES).glob("*.json"):
        if read_voice(file).decoder != fingerprint:
            file.unlink()


def _num_codes(part: str, folder: Path) -> int:
    """Return the size of the codebook that a part was made for."""
    try:
        if part == "language_model":
            return read_language_model(folder)[2].num_codes
        values = read_config(folder)
        if part == "decoder":
            return build(DecoderConfig, values).flow.num_codes
        quantizer = build(TokenizerConfig, values).quantizer
    except ConfigError as error:
        raise CheckpointError(f"{folder} is no {part}: {error}") from None
    if quantizer is None:
        raise CheckpointError(f"{folder} has no codebook: it only recognizes")
    return quantizer.codebook_size
