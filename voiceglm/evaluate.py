"""How good a model is, measured on voices and words it never met.

Every figure comes with the raw rows it was computed from.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from voiceglm.audio import check_samples, resample
from voiceglm.chat import VoiceChat
from voiceglm.error_rate import plain
from voiceglm.errors import AudioError
from voiceglm.events import AudioDelta, TextDelta
from voiceglm.interleave import TEXT_ONLY
from voiceglm.language_model import Sampling, VoiceLM
from voiceglm.manifest import Utterance, read_samples
from voiceglm.scripts import HAN

Row = Mapping[str, Any]
RATE = 16_000  # hertz, what recognizers hear


class Reader(Protocol):
    """Writes down what is said."""

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        """Return the words of (num_samples,) at ``sample_rate`` hertz."""
        ...


def transcripts(reader: Reader, utterances: Sequence[Utterance], *, title: str) -> list[Row]:
    """Have recordings written down: rows of ``said`` and ``heard``."""
    rows: list[Row] = []
    for utterance in tqdm(utterances, desc=title, unit="clip"):
        samples = read_samples(utterance, RATE)
        rows.append(
            {
                "said": utterance.text or "",
                "heard": reader.transcribe(samples, RATE),
                "speaker": utterance.speaker,
            }
        )
    return rows


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


def codes_used(tokenizer: Any, utterances: Iterable[Utterance]) -> float:
    """Return the share of the codebook that occurs in recordings, in percent."""
    seen = {
        code
        for utterance in utterances
        for code in tokenizer.encode(read_samples(utterance, RATE), RATE)
    }
    return 100.0 * len(seen) / tokenizer.num_codes


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
        right = _same(answered["reply"], asked["answer"])
        rows.append({**answered, **asked, "right": right})
    return rows


def _same(reply: str, answer: str) -> bool:
    """Say whether a reply is the right one, case and punctuation aside."""
    language = "zh" if re.search(f"[{HAN}]", answer) else "en"
    return plain(reply, language) == plain(answer, language)


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


def listen(chat: VoiceChat, samples: Tensor | str, *, seed: int = 0) -> tuple[str, Tensor, int]:
    """Return the text of a reply, its waveform (num_samples,), and the hertz of that."""
    events = list(chat.reply(samples, seed=seed))
    reply = "".join(event.text for event in events if isinstance(event, TextDelta)).strip()
    audio = [event for event in events if isinstance(event, AudioDelta)]
    spoken = torch.cat([event.samples for event in audio]).cpu() if audio else torch.zeros(0)
    return reply, spoken, audio[0].sample_rate if audio else RATE


def accuracy(rows: Sequence[Row]) -> float:
    """Return the share of right replies, in percent."""
    return 100.0 * sum(row["right"] for row in rows) / max(1, len(rows))


def accuracy_by_skill(rows: Sequence[Row]) -> dict[str, float]:
    """Return the share of right replies of each skill, in percent."""
    skills = sorted({row["skill"] for row in rows})
    return {skill: accuracy([row for row in rows if row["skill"] == skill]) for skill in skills}


def speed(chat: VoiceChat, samples: Tensor, *, repeats: int = 5) -> dict[str, float]:
    """Time the parts of a reply, each the median of ``repeats``.

    Args:
        chat: Its models; the conversation itself is not used.
        samples: (num_samples,) at 16 kHz, a question.
        repeats: Timed runs, behind one that warms up.

    Returns:
        ``language_model`` in ids per second, the prompt's computation left out; ``tokenizer``,
        ``decoder`` and ``whole_reply`` as real-time factors (seconds of computing per second of
        audio heard or spoken).
    """
    figures: list[dict[str, float]] = []
    for _ in range(repeats + 1):  # the first warms up
        figures.append(_time_once(chat, samples))
    names = figures[0]
    return {
        name: float(torch.tensor([figure[name] for figure in figures[1:]]).median())
        for name in names
    }


def _time_once(chat: VoiceChat, samples: Tensor) -> dict[str, float]:
    clock, writer, vocabulary = time.perf_counter, chat.model.writer, chat.model.vocabulary
    start = clock()
    codes = chat.tokenizer.encode(samples, RATE)
    heard = clock()
    prompt = writer.opening("speech") + writer.speech_turn(codes)
    ids = chat.model.generate(prompt, Sampling(temperature=0.0, max_new_ids=500))
    written = [next(ids)]
    first = clock()
    written += list(ids)
    wrote = clock()
    spoken = [vocabulary.code(i) for i in written if vocabulary.is_speech(i)]
    audio = chat.decoder.decode(spoken)
    end = clock()
    seconds = max(1e-9, len(audio) / chat.decoder.sample_rate)
    return {
        "tokenizer": (heard - start) / (len(samples) / RATE),
        "language_model": (len(written) - 1) / (wrote - first),
        "decoder": (end - wrote) / seconds,
        "whole_reply": (end - start) / seconds,
    }
