"""voiceglm: speech in, speech out.

Importing this package imports nothing heavy; each name below loads its module on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and type checkers read
    from decoder.model import SpeechDecoder as SpeechDecoder
    from tokenizer.model import SpeechTokenizer as SpeechTokenizer
    from voiceglm.audio import load_audio as load_audio
    from voiceglm.audio import save_audio as save_audio
    from voiceglm.chat import VoiceChat as VoiceChat
    from voiceglm.errors import VoiceGLMError as VoiceGLMError
    from voiceglm.events import AudioDelta as AudioDelta
    from voiceglm.events import TextDelta as TextDelta
    from voiceglm.events import TurnEnd as TurnEnd
    from voiceglm.language_model import VoiceLM as VoiceLM
    from voiceglm.pretrained import load_chat as load_chat

_HOME = {
    "AudioDelta": "voiceglm.events",
    "SpeechDecoder": "decoder.model",
    "SpeechTokenizer": "tokenizer.model",
    "TextDelta": "voiceglm.events",
    "TurnEnd": "voiceglm.events",
    "VoiceChat": "voiceglm.chat",
    "VoiceGLMError": "voiceglm.errors",
    "VoiceLM": "voiceglm.language_model",
    "load_audio": "voiceglm.audio",
    "load_chat": "voiceglm.pretrained",
    "save_audio": "voiceglm.audio",
}
__all__ = [
    "AudioDelta",
    "SpeechDecoder",
    "SpeechTokenizer",
    "TextDelta",
    "TurnEnd",
    "VoiceChat",
    "VoiceGLMError",
    "VoiceLM",
    "load_audio",
    "load_chat",
    "save_audio",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
