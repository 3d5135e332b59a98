"""A name or a folder to model objects that fit together."""

from pathlib import Path

from torch import nn

from decoder.model import SpeechDecoder
from tokenizer.model import SpeechTokenizer
from voiceglm.chat import VoiceChat
from voiceglm.checkpoint import resolve
from voiceglm.errors import CheckpointError
from voiceglm.language_model import VoiceLM


def load_chat(name_or_folder: str | Path, *, device: str = "cpu") -> VoiceChat:
    """Load a whole model and open a conversation with it.

    Args:
        name_or_folder: ``"nano"``, or a folder with ``tokenizer/``, ``language_model/`` and
            ``decoder/``.
        device: Where it computes, such as ``"cpu"`` or ``"cuda"``.

    Raises:
        CheckpointError: If a part is missing, damaged, or made for another codebook.
    """
    folder = resolve(name_or_folder)
    for part in ("tokenizer", "language_model", "decoder"):
        if not (folder / part).is_dir():
            raise CheckpointError(f"{folder} is not a whole model: its folder {part}/ is missing")
    tokenizer = SpeechTokenizer.from_pretrained(folder).to(device)
    model = VoiceLM.from_pretrained(folder)
    nn.Module.to(model.network, device)  # transformers' own signature confuses type checkers
    decoder = SpeechDecoder.from_pretrained(folder).to(device)
    codes = {tokenizer.num_codes, model.vocabulary.num_codes, decoder.num_codes}
    if len(codes) > 1:
        raise CheckpointError(
            f"the parts of {folder} do not fit: the tokenizer has {tokenizer.num_codes} codes, the "
            f"language model {model.vocabulary.num_codes}, the decoder {decoder.num_codes}"
        )
    return VoiceChat(tokenizer, model, decoder)
