"""What a model answers in the scenes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voiceglm.chat import VoiceChat
from voiceglm.error_rate import plain
from voiceglm.evaluate import RATE, CodeReader, listen
from voiceglm.samples.scenes import Said, Scene


@dataclass(frozen=True)
class Reply:
    """What was said, and what the model answered."""

    said: Said
    text: str
    samples: Tensor  # (num_samples,)
    sample_rate: int  # hertz
    style: tuple[str, ...] = ()  # names of voiceglm.style that the model wrote

    @property
    def is_in_style(self) -> bool:
        """Whether the model chose the style that was asked for; the sound is another matter."""
        return self.style == self.said.style

    @property
    def is_right(self) -> bool:
        """Whether its text is the one right reply, case and punctuation aside."""
        language = self.said.language
        return plain(self.text, language) == plain(self.said.answer, language)


@dataclass(frozen=True)
class Played:
    """A scene and what came of it."""

    scene: Scene
    replies: Sequence[Reply]


def answers(played: Iterable[Played]) -> list[Reply]:
    """Return what was replied where something was asked."""
    return [reply for one in played if not one.scene.is_reading for reply in one.replies]


def play(
    scenes: Iterable[Scene], open_chat: Callable[[str], VoiceChat], *, seed: int
) -> Iterator[Played]:
    """Hold every conversation.

    Args:
        scenes: In order.
        open_chat: Given a voice, opens a conversation without history.
        seed: Of every reply.
    """
    for scene in scenes:
        chat = open_chat(scene.voice)
        answer = _say_again if scene.is_reading else _answer
        yield Played(scene, [answer(chat, said, seed) for said in scene.turns])


def _answer(chat: VoiceChat, said: Said, seed: int) -> Reply:
    text, samples, sample_rate = listen(chat, said.samples, seed=seed)
    style = chat.last_reply.style(chat.model.vocabulary)
    return Reply(said, text, samples, sample_rate, style.names())


def _say_again(chat: VoiceChat, said: Said, seed: int) -> Reply:
    """Write down what is read aloud, and speak its codes in the assistant's voice."""
    text = CodeReader(chat).transcribe(said.samples, RATE)
    speech = chat.decoder.start(generator=torch.Generator().manual_seed(seed))
    codes = chat.tokenizer.encode(said.samples, RATE)
    samples = torch.cat([speech.push(codes), speech.finish()]).cpu()
    return Reply(said, text, samples, chat.decoder.sample_rate)
