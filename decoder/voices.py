"""Where voices are kept: with a model, and in a folder of the user's.

A model may come with voices, in its folder's ``voices/``; ``default.json`` there is the one it
speaks with unless another is asked for, instead of the voice its decoder has by itself. Those that
a user adds are kept apart from any model's files, in ``$XDG_DATA_HOME/voiceglm/voices/MODEL``
(``~/.local/share`` if that is not set), and go before the model's own of the same name.
"""

import logging
import os
from pathlib import Path

from decoder.model import SpeechDecoder, VoicedDecoder
from decoder.voice import DEFAULT, SUFFIX, Voice, read_voice
from voiceglm.checkpoint import resolve
from voiceglm.errors import CheckpointError, ConfigError

log = logging.getLogger(__name__)

FOLDER = "voices"


def user_folder(model: str | Path) -> Path:
    """Return where a user's voices of a model are kept; it may not exist yet."""
    home = os.environ.get("XDG_DATA_HOME", "")
    # The specification says that a relative path there is to be ignored.
    data = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "share"
    return data / "voiceglm" / FOLDER / (Path(model).name or Path(model).resolve().name)


def known_voices(model: str | Path, folder: Path | None = None) -> dict[str, Path]:
    """Return the files of all voices of a model by name, the user's before the model's own.

    Args:
        model: A bundled model, a model's folder or a hub name.
        folder: Of the user's voices, where it is not :func:`user_folder`.

    Raises:
        CheckpointError: If there is no such model.
    """
    places = (resolve(model) / FOLDER, folder or user_folder(model))
    files = [file for place in places for file in sorted(place.glob(f"*{SUFFIX}"))]
    return {file.stem: file for file in files}


def find_voice(
    name_or_file: str, decoder: SpeechDecoder, model: str | Path, folder: Path | None = None
) -> Voice | None:
    """Return a voice that a decoder can speak with, ``None`` for the one it has by itself.

    Args:
        name_or_file: ``"default"`` (the model's ``voices/default.json``, if there is one), the name
            of a known voice, or the path of a voice's file.
        decoder: Who shall speak.
        model: Whose voices are known.
        folder: Of the user's voices, where it is not :func:`user_folder`.

    Raises:
        ConfigError: If no voice has that name; those known are listed.
        CheckpointError: If the file is damaged or made for another decoder.
    """
    known = known_voices(model, folder)
    if name_or_file == DEFAULT and DEFAULT not in known:
        return None
    file = known.get(name_or_file)
    if file is None and Path(name_or_file).suffix == SUFFIX:
        file = Path(name_or_file)
    if file is None:
        names = ", ".join(dict.fromkeys([DEFAULT, *known]))
        raise ConfigError(
            f"{model} has no voice called {name_or_file!r}; known: {names}; "
            "voiceglm voice add makes more"
        )
    voice = read_voice(file)
    decoder.check_voice(voice)
    return voice


def speaking(
    decoder: SpeechDecoder, name_or_file: str, model: str | Path, folder: Path | None = None
) -> SpeechDecoder | VoicedDecoder:
    """Return a decoder that speaks with a voice; see :func:`find_voice`."""
    voice = find_voice(name_or_file, decoder, model, folder)
    return decoder if voice is None else decoder.in_voice(voice)


def all_speaking(
    decoder: SpeechDecoder, model: str | Path, folder: Path | None = None
) -> dict[str, SpeechDecoder | VoicedDecoder]:
    """Return a decoder with every voice it can speak with, by name; others are only logged."""
    found: dict[str, SpeechDecoder | VoicedDecoder] = {DEFAULT: decoder}
    for name, file in known_voices(model, folder).items():
        try:
            found[name] = decoder.in_voice(read_voice(file))
        except CheckpointError as error:
            log.warning("%s is left out: %s", file, error)
    return found
