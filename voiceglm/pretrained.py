"""A name or a folder to model objects that fit together."""

from pathlib import Path

from torch import nn

from decoder.model import SpeechDecoder
from decoder.voice import DEFAULT
from decoder.voices import speaking
from tokenizer.model import SpeechTokenizer
from voiceglm.chat import VoiceChat
from voiceglm.chatglm import is_released
from voiceglm.checkpoint import CONFIG, read_config, resolve
from voiceglm.engines import RemoteLM
from voiceglm.errors import CheckpointError
from voiceglm.language_model import VoiceLM


def load_chat(
    name_or_folder: str | Path,
    *,
    device: str = "cpu",
    engine_url: str | None = None,
    engine_model: str | None = None,
    engine_key: str | None = None,
    voice: str = DEFAULT,
    voices: Path | None = None,
) -> VoiceChat:
    """Load a whole model and open a conversation with it.

    Args:
        name_or_folder: ``"nano"``, a folder with ``tokenizer/``, ``language_model/`` and
            ``decoder/``, or the folder or hub name of a released language model: its companions
            have the same name with another end (``-9b``, ``-tokenizer``, ``-decoder``).
        device: Where it computes, such as ``"cpu"`` or ``"cuda"``.
        engine_url: Of a server that runs the language model, see :mod:`voiceglm.engines`; its
            weights are not loaded here then.
        engine_model: What that server calls the model; by default the first it lists.
        engine_key: For a server that wants one.
        voice: The name of a voice, or its file; see :mod:`decoder.voices`.
        voices: Folder of the user's voices, where it is not the standard one.

    Raises:
        CheckpointError: If a part is missing, damaged, or made for another codebook or decoder.
        ConfigError: If there is no such voice.
        EngineError: If the server cannot be reached.
    """
    folder = resolve(name_or_folder)
    parts = _released_parts(name_or_folder, folder) or _parts(folder)
    tokenizer = SpeechTokenizer.from_pretrained(parts["tokenizer"]).to(device)
    decoder = SpeechDecoder.from_pretrained(parts["decoder"]).to(device)
    if engine_url:
        model = RemoteLM.from_pretrained(
            parts["language_model"], engine_url, name=engine_model, key=engine_key
        )
    else:
        model = VoiceLM.from_pretrained(parts["language_model"])
        nn.Module.to(model.network, device)  # transformers' own signature confuses type checkers
    codes = {tokenizer.num_codes, model.vocabulary.num_codes, decoder.num_codes}
    if len(codes) > 1:
        raise CheckpointError(
            f"the parts of {folder} do not fit: the tokenizer has {tokenizer.num_codes} codes, the "
            f"language model {model.vocabulary.num_codes}, the decoder {decoder.num_codes}"
        )
    return VoiceChat(tokenizer, model, speaking(decoder, voice, name_or_folder, voices))


def _parts(folder: Path) -> dict[str, Path]:
    """Return the folders of a model in our layout."""
    parts = {part: folder / part for part in ("tokenizer", "language_model", "decoder")}
    for part, path in parts.items():
        if not path.is_dir():
            raise CheckpointError(f"{folder} is not a whole model: its folder {part}/ is missing")
    return parts


def _released_parts(name_or_folder: str | Path, folder: Path) -> dict[str, Path] | None:
    """Return the folders of a released family, None if this is no released language model."""
    if not (folder / CONFIG).is_file() or not is_released(read_config(folder)):
        return None
    stem, dash, _ = str(name_or_folder).rstrip("/").rpartition("-")
    if not dash:
        raise CheckpointError(
            f"{folder} is a released language model, but its name tells nothing of its tokenizer "
            "and decoder: name the folders NAME-9b, NAME-tokenizer and NAME-decoder"
        )
    companions = {part: resolve(f"{stem}-{part}") for part in ("tokenizer", "decoder")}
    return {**companions, "language_model": folder}
