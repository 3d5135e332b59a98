"""A conversation of three fakes for three models, whose replies are told in advance."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from voiceglm.chat import VoiceChat
from voiceglm.errors import AudioError, ConfigError, EngineError
from voiceglm.events import Event, TextDelta
from voiceglm.language_model import ReplyCache, Sampling
from voiceglm.prompt import PromptFormat, PromptWriter
from voiceglm.text_tokenizer import TextStream, train_text_tokenizer
from voiceglm.vocabulary import Vocabulary

TEXT = train_text_tokenizer([*PromptFormat().texts(), "It is four."] * 20, 320)
VOCABULARY = Vocabulary.compact(TEXT.get_vocab_size(), 40, styles=("slow_3", "fast_3", "loud"))
NOISE = torch.ones(16_000)


def encode(text: str) -> list[int]:
    return TEXT.encode(text).ids


class Ears:
    """Hears three codes, or nothing at all; in a stream, one code every 80 ms."""

    frame_rate = 12.5

    def encode(self, samples: Tensor, sample_rate: int) -> list[int]:
        assert sample_rate == 16_000
        if not samples.any():
            raise AudioError("the recording is silent")
        return [7, 8, 9]

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        return "seven eight nine"

    def start(self) -> list[int]:
        return [0]

    def step(self, chunk: Tensor, state: list[int]) -> list[int]:
        before = state[0] // 1_280
        state[0] += len(chunk)
        return list(range(before, state[0] // 1_280))

    def finish(self, state: list[int]) -> list[int]:
        return [39]


class Brain:
    """Says what it is told to say."""

    vocabulary = VOCABULARY
    writer = PromptWriter(VOCABULARY, encode, PromptFormat())

    def __init__(self, *replies: list[int]):
        self.replies = list(replies)
        self.prompts: list[list[int]] = []
        self.caches: list[ReplyCache | None] = []
        self.samplings: list[Sampling] = []
        self.prefilled: list[list[int]] = []
        self.failures = 0  # that are still to come
        self.context_length = self.conversation_length = 200

    def prefill(self, ids: Sequence[int], cache: ReplyCache) -> None:
        self.prefilled.append(list(ids))
        if self.failures:
            self.failures -= 1
            raise EngineError("the engine is away")

    def text_stream(self) -> TextStream:
        return TextStream(TEXT)

    def generate(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        *,
        cache: ReplyCache | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[int]:
        if len(ids) >= self.context_length:
            raise ConfigError("the conversation is too long")
        self.prompts.append(list(ids))
        self.caches.append(cache)
        self.samplings.append(sampling)
        return iter(self.replies.pop(0))


class Mouth:
    """Speaks one sample per code, two codes at a time, with noise from the generator."""

    sample_rate = 22_050

    def __init__(self) -> None:
        self.spoken: list[list[int]] = []
        self.styles: list[list[str]] = []

    def decode(self, ids: Sequence[int], *, generator: torch.Generator | None = None) -> Tensor:
        return self.start(generator=generator).push([*ids, *ids])

    def start(self, *, generator: torch.Generator | None = None) -> "Words":
        self.spoken.append([])
        self.styles.append([])
        return Words(self.spoken[-1], generator, self.styles[-1])


class Words:
    """One reply."""

    def __init__(self, spoken: list[int], generator: torch.Generator | None, styles: list[str]):
        self.spoken = spoken
        self.styles = styles
        self.generator = generator
        self.held: list[int] = []

    def style(self, name: str) -> None:
        assert not self.held
        assert not self.spoken, "a style comes before any code"
        self.styles.append(name)

    def push(self, ids: Sequence[int]) -> Tensor:
        self.held += ids
        return self.finish() if len(self.held) > 1 else torch.zeros(0)

    def finish(self) -> Tensor:
        ids, self.held = self.held, []
        self.spoken += ids
        return torch.tensor(ids, dtype=torch.float32) + torch.rand(
            len(ids), generator=self.generator
        )


def speech(*codes: int) -> list[int]:
    return [VOCABULARY.speech_id(code) for code in codes]


STOP = [VOCABULARY.user]
REPLY = [*encode("It is"), *speech(1, 2), *encode(" four."), *speech(3)]


def chat(*replies: list[int]) -> tuple[VoiceChat, Brain, Mouth]:
    brain, mouth = Brain(*replies), Mouth()
    return VoiceChat(Ears(), brain, mouth), brain, mouth


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))
