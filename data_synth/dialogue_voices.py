"""Who speaks a dialogue: espeak-ng, or a speech server, with many users and one assistant."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from data_synth.number_words import Language
from data_synth.speak import Line
from data_synth.speech_endpoint import Patience, SpeechEndpoint
from data_synth.style import speak_in_style
from data_synth.synthesizers import Refusal
from data_synth.tts import ASSISTANT, SAMPLE_RATE, Voice, random_voice, speak_alone, training_voices
from voiceglm.errors import ConfigError, EngineError, SynthesisError

ASSISTANTS = {"en": ASSISTANT, "zh": replace(ASSISTANT, name="cmn+f2")}
"""espeak-ng's one voice of every reply, in each language it speaks."""

_OWN = ("neutral", "normal", "medium", "default")  # words for a voice as it is


class Voices(Protocol):
    """Speaks the turns of dialogues."""

    at_once: int
    """Dialogues that may be spoken at the same time."""

    def user(self, rng: random.Random, language: Language) -> Voice:
        """Draw the voice of a dialogue's user."""
        ...

    def assistant(self, language: Language) -> Voice:
        """Return the voice of every reply."""
        ...

    def say(self, text: str, voice: Voice) -> Tensor:
        """Say a text, (num_samples,) at SAMPLE_RATE; SynthesisError if this one cannot be said."""
        ...

    def say_in_style(
        self, text: str, voice: Voice, style: Mapping[str, Any]
    ) -> tuple[Tensor, list[str]]:
        """Say a text as ``data_synth.style`` describes, and what of that could not be done."""
        ...


class EspeakVoices:
    """espeak-ng in this process, one sentence at a time."""

    at_once = 1

    def user(self, rng: random.Random, language: Language) -> Voice:
        """See :class:`Voices`."""
        return random_voice(rng, training_voices(language))

    def assistant(self, language: Language) -> Voice:
        """See :class:`Voices`."""
        return ASSISTANTS[language]

    def say(self, text: str, voice: Voice) -> Tensor:
        """See :class:`Voices`."""
        return speak_alone(text, voice)

    def say_in_style(
        self, text: str, voice: Voice, style: Mapping[str, Any]
    ) -> tuple[Tensor, list[str]]:
        """See :class:`Voices`."""
        return speak_in_style(text, voice, style)


@dataclass(frozen=True, kw_only=True)
class EndpointConfig:
    """A speech server, and its voices."""

    url: str
    model: str = "tts-1"
    """What the server calls its model."""
    users: tuple[str, ...] = ("echo", "fable", "nova", "onyx", "shimmer")
    """Drawn for each dialogue."""
    assistant: str = "alloy"
    parallel: int = 4
    """Requests at once, of each process."""
    give_up: float = 300.0
    """Seconds after which a silent server is dead."""

    def __post_init__(self) -> None:
        """Refuse an assistant who would be one of the users."""
        if self.assistant in self.users:
            raise ConfigError(f"{self.assistant!r} is the assistant's voice, not a user's too")

    def settings(self) -> dict[str, Any]:
        """Return what recordings depend on."""
        users: Sequence[str] = list(self.users)
        return {"model": self.model, "users": users, "assistant": self.assistant}


class EndpointVoices:
    """A speech server.

    Its rate is set as espeak-ng's is, by listening; the volume is set here. It has no parameter for
    pitch and emotion, so these are wishes that cannot be met.

    Args:
        config: Which.
        key: For servers that want one.
    """

    def __init__(self, config: EndpointConfig, key: str | None):
        self.at_once = config.parallel
        self._config = config
        self._endpoint = SpeechEndpoint(
            config.url,
            config.model,
            sample_rate=SAMPLE_RATE,
            parallel=config.parallel,
            key=key,
            patience=Patience(give_up=config.give_up),
        )

    def user(self, rng: random.Random, language: Language) -> Voice:
        """See :class:`Voices`."""
        del language
        return Voice(rng.choice(self._config.users))

    def assistant(self, language: Language) -> Voice:
        """See :class:`Voices`."""
        del language
        return Voice(self._config.assistant)

    def say(self, text: str, voice: Voice) -> Tensor:
        """See :class:`Voices`.

        Raises:
            EngineError: If the server is dead, or wants another key.
            SynthesisError: If it refuses this text.
        """
        try:
            said = self._endpoint.submit(Line(text, voice)).result()
        except SynthesisError as error:
            raise EngineError(str(error)) from None
        if isinstance(said, Refusal):
            raise SynthesisError(said.reason)
        return torch.from_numpy(said) * (voice.volume / 100)

    def say_in_style(
        self, text: str, voice: Voice, style: Mapping[str, Any]
    ) -> tuple[Tensor, list[str]]:
        """See :class:`Voices`."""
        foreign = {
            name: value
            for name, value in style.items()
            if name in ("pitch", "emotion") and value not in (None, 0, *_OWN)
        }
        mine = {name: value for name, value in style.items() if name not in ("pitch", "emotion")}
        samples, unmet = speak_in_style(text, voice, mine, self.say)
        return samples, [*unmet, *(f"{name} of an endpoint" for name in foreign)]
