"""Asking a model and listening to it: what every table of the evaluation is made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from voiceglm.audio import check_samples, resample
from voiceglm.chat import VoiceChat
from voiceglm.error_rate import plain
from voiceglm.errors import AudioError
from voiceglm.events import AudioDelta, Event, TextDelta
from voiceglm.interleave import TEXT_ONLY
from voiceglm.language_model import Sampling, VoiceLM
from voiceglm.manifest import Utterance, read_samples

Row = Mapping[str, Any]
RATE = 16_000  # hertz, what recognizers hear


class Reader(Protocol):
    """Writes down what is said."""

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        """Return the words of (num_samples,) at ``sample_rate`` hertz."""
        ...


class CodeReader:
    """Reads text off codes with the language model: hearing is the tokenizer's, spelling is not.

    Args:
        chat: A conversation's models; its history is not touched.
    """

    def __init__(self, chat: VoiceChat):
        if not isinstance(chat.model, VoiceLM):
            raise TypeError("reading codes needs a VoiceLM")
        self._model = chat.model
        self._tokenizer = chat.tokenizer

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        """Return the words of (num_samples,) at ``sample_rate`` hertz."""
        model, vocabulary = self._model, self._model.vocabulary
        prompt = model.writer.transcription_prompt(self._tokenizer.encode(samples, sample_rate))
        ids = model.generate(
            prompt,
            Sampling(temperature=0.0, max_new_ids=len(prompt)),  # text is shorter than its speech
            layout=TEXT_ONLY,
            stop_ids=[vocabulary.end_of_transcription],
        )
        return model.decode_text([i for i in ids if vocabulary.is_text(i)])


def conversations(
    open_chat: Callable[[], VoiceChat],
    recognizer: Reader | None,
    questions: Sequence[Utterance],
    *,
    seed: int = 0,
) -> list[Row]:
    """Ask each question in a conversation of its own.

    Args:
        open_chat: Gives a conversation without history.
        recognizer: Listens to the spoken reply; trained apart from the chat's tokenizer.
        questions: Recordings with ``answer`` and ``skill``.
        seed: Of every reply.

    Returns:
        Rows of ``question``, ``speaker``, ``skill``, ``answer``, ``right``, and what :func:`ask`
        gives. The same models, questions and seed give the same rows.
    """
    rows: list[Row] = []
    for question in tqdm(questions, desc="ask", unit="question"):
        samples = read_samples(question, RATE)
        asked, answered = _facts(question), ask(open_chat(), recognizer, samples, seed=seed)
        right = is_right(answered["reply"], question)
        rows.append({**answered, **asked, "right": right})
    return rows


def is_right(reply: str, question: Utterance) -> bool:
    """Say whether a reply is a question's one right answer, case and punctuation aside.

    Args:
        reply: Its text.
        question: With ``answer``; of Chinese the blanks do not count either.
    """
    right = question.extra["answer"]
    return plain(reply, question.language) == plain(right, question.language)


def _facts(question: Utterance) -> Row:
    extra = question.extra
    return {
        "question": question.text,
        "speaker": question.speaker,
        "skill": extra["skill"],
        "answer": extra["answer"],
    }


def ask(
    chat: VoiceChat, recognizer: Reader | None, samples: Tensor | str, *, seed: int = 0
) -> dict[str, Any]:
    """Ask one question and listen to the reply.

    Args:
        chat: The conversation; the question becomes its next turn.
        recognizer: Listens to the spoken reply; nobody does without.
        samples: (num_samples,) at 16 kHz, or a written question.
        seed: Of the reply.

    Returns:
        ``reply``, its text; ``audio_seconds``; and ``heard``, the spoken reply as the recognizer
        heard it, if there is one.
    """
    reply, spoken, rate = listen(chat, samples, seed=seed)
    answered: dict[str, Any] = {"reply": reply, "audio_seconds": round(len(spoken) / rate, 3)}
    if recognizer is not None:
        answered["heard"] = heard_by(recognizer, spoken, rate)
    return answered


def heard_by(recognizer: Reader, samples: Tensor, sample_rate: int) -> str:
    """Return what a recognizer hears; nothing in what is shorter than a word or silent.

    Args:
        recognizer: Hears 16 kHz.
        samples: (num_samples,).
        sample_rate: In hertz.
    """
    try:
        heard = resample(samples, sample_rate, RATE)
        check_samples(heard, RATE, what="the reply")
    except AudioError:
        return ""
    return recognizer.transcribe(heard, RATE)


def written_reply(chat: VoiceChat, samples: Tensor | str, *, seed: int = 0) -> str:
    """Return the text of a reply that is not spoken."""
    return _text(chat.reply(samples, seed=seed, aloud=False))


def listen(chat: VoiceChat, samples: Tensor | str, *, seed: int = 0) -> tuple[str, Tensor, int]:
    """Return the text of a reply, its waveform (num_samples,), and the hertz of that."""
    events = list(chat.reply(samples, seed=seed))
    reply = _text(events)
    audio = [event for event in events if isinstance(event, AudioDelta)]
    spoken = torch.cat([event.samples for event in audio]).cpu() if audio else torch.zeros(0)
    return reply, spoken, audio[0].sample_rate if audio else RATE


def _text(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta)).strip()
