"""How fast a model is where it counts: from the end of speech to the first sound of the answer.

Every figure is a median and a 95th percentile of repeated runs on one recording, behind one run
that warms up. Nothing here says whether a model is any good.
"""

import resource
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice, product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import Tokenizer
from torch import Tensor

from decoder.config import DecoderConfig
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder, shared_decoder
from decoder.streaming import Draws, MelStream, StreamConfig, VocoderStream
from decoder.vocoder import HiFTGenerator
from tokenizer.config import TokenizerConfig
from tokenizer.model import SpeechTokenizer
from voiceglm.chat import DEFAULT_SAMPLING, VoiceChat
from voiceglm.events import AudioDelta
from voiceglm.interleave import SPEECH_ONLY
from voiceglm.language_model import LanguageModelConfig, ReplyCache, Sampling, VoiceLM
from voiceglm.prompt import PromptFormat
from voiceglm.text_tokenizer import load_ranks
from voiceglm.vocabulary import Vocabulary

RATE = 16_000  # hertz, of what is heard
ENOUGH_SECONDS = 10.0  # of writing ids, where that is slow
FIRST_CODES = 10  # of the first chunk that is spoken
LOOP_IDS = 117  # of an answer, at the most: three stretches of text and of speech
RELEASED = LanguageModelConfig(
    hidden_size=4_096,
    num_layers=40,
    num_heads=32,
    num_key_value_heads=2,
    intermediate_size=13_696,
    context_length=8_192,
    norm_epsilon=3.90625e-08,
)


@dataclass(frozen=True)
class Spread:
    """Repeated timings."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float], *, scale: float = 1.0) -> "Spread":
        """Summarize values, each times ``scale``."""
        ordered = torch.tensor(values, dtype=torch.float64).mul(scale)
        low, high = ordered.quantile(torch.tensor([0.5, 0.95], dtype=torch.float64)).tolist()
        return cls(round(low, 4), round(high, 4))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What was timed."""

    parts_ms: dict[str, Spread]
    """From the end of speech to the first sound, in order; ``total`` is timed by itself."""
    ids_per_second: Spread
    real_time_factors: dict[str, Spread]
    """Seconds of computing per second of audio: of what is heard, or spoken, or (``whole_loop``) of
    hearing and answering, per second of the answer."""
    chunks_ms: tuple[float, ...]
    """Of a long reply: each chunk of the decoder, the median of all runs."""
    memory_mb: dict[str, float]
    """The most held so far: of the process, or of the GPU when a model computes on one."""


def random_chat(
    model: LanguageModelConfig = RELEASED,
    tokenizer: TokenizerConfig | None = None,
    decoder: DecoderConfig | None = None,
    vocabulary: Vocabulary | None = None,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.bfloat16,
) -> VoiceChat:
    """Return a conversation of random weights, at released sizes unless told otherwise.

    Args:
        model: Sizes of the language model.
        tokenizer: Of the tokenizer.
        decoder: Of the decoder.
        vocabulary: Of the language model.
        device: Where it computes.
        dtype: Of the language model's weights; the others are float32.
    """
    vocabulary = vocabulary or Vocabulary.glm4voice()
    prompt_format = PromptFormat.glm4voice()
    text_tokenizer = _any_text_tokenizer(vocabulary.text_size)
    sizes = decoder or DecoderConfig()
    before = torch.get_default_dtype()
    with torch.device(device):
        listener = SpeechTokenizer(tokenizer or TokenizerConfig()).eval()
        speaker = SpeechDecoder(FlowModel(sizes.flow), HiFTGenerator(sizes.vocoder)).eval()
        try:
            torch.set_default_dtype(dtype)
            network = model.network(vocabulary.size)
        finally:
            torch.set_default_dtype(before)
    thinker = VoiceLM(network, model, vocabulary, text_tokenizer, prompt_format)
    return VoiceChat(listener, thinker, speaker)


def _any_text_tokenizer(size: int) -> Tokenizer:
    """Return a tokenizer with a piece for every id: bytes, pairs of bytes, then longer ones."""
    lengths = (product(range(256), repeat=n) for n in count(1))
    pieces = (bytes(piece) for each in lengths for piece in each)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.model"
        rows = ((b64encode(piece), rank) for rank, piece in enumerate(islice(pieces, size)))
        path.write_bytes(b"".join(b"%s %d\n" % row for row in rows))
        return load_ranks(path)


def bench(
    chat: VoiceChat, question: Tensor, *, repeats: int = 20, reply_seconds: float = 60.0
) -> Bench:
    """Time a model.

    Args:
        chat: Its models; the conversation itself is not used.
        question: (num_samples,) at 16 kHz.
        repeats: Timed runs.
        reply_seconds: Length of the reply whose chunks are timed one by one, and of a question
            that is heard, for the memory of a long turn.
    """
    memory = {"models": _most_memory_mb(chat)}
    runs = [_first_sound(chat, question) for _ in range(repeats + 1)][1:]
    memory["a short turn"] = _most_memory_mb(chat)
    totals = [_total(chat, question) for _ in range(repeats + 1)][1:]
    speeds = [_ids_per_second(chat, question) for _ in range(max(3, repeats // 4))][1:]
    long = [_long_reply(chat, reply_seconds) for _ in range(max(2, repeats // 10))]
    _long_question(chat, question, reply_seconds)
    memory["a long turn"] = _most_memory_mb(chat)
    parts = {name: Spread.of([run[name] for run in runs], scale=1e3) for name in runs[0]}
    seconds = len(question) / RATE
    heard = [_seconds(lambda: chat.tokenizer.encode(question, RATE)) for _ in range(repeats)]
    medians = torch.tensor(long).median(dim=0).values
    return Bench(
        parts_ms={**parts, "total": Spread.of(totals, scale=1e3)},
        ids_per_second=Spread.of(speeds),
        real_time_factors={
            "tokenizer": Spread.of(heard, scale=1 / seconds),
            "decoder": Spread.of([sum(run) for run in long], scale=1 / reply_seconds),
            "whole_loop": Spread.of([_whole_loop(chat, question) for _ in range(2 + repeats // 4)]),
        },
        chunks_ms=tuple(round(1e3 * value, 2) for value in medians.tolist()),
        memory_mb=memory,
    )


def _most_memory_mb(chat: VoiceChat) -> float:
    device = next(shared_decoder(chat.decoder).parameters()).device
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kilobytes * 1024 / 1e6 if sys.platform != "darwin" else kilobytes / 1e6, 1)


def _seconds(work: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _first_sound(chat: VoiceChat, question: Tensor) -> dict[str, float]:
    """Time what remains to be done once the user has stopped, step by step."""
    listener, model, speaker = chat.tokenizer, chat.model, shared_decoder(chat.decoder)
    assert isinstance(model, VoiceLM), "timing the parts needs a VoiceLM"
    writer, cache, state = model.writer, ReplyCache(), listener.start()
    codes = listener.step(question, state)
    model.prefill(writer.opening("speech") + writer.begin_speech_turn(codes), cache)
    seconds = {"last_block": _seconds(lambda: codes.extend(listener.finish(state)))}
    prompt = writer.opening("speech") + writer.speech_turn(codes)
    seconds["prefill"] = _seconds(lambda: model.prefill(prompt, cache))
    first: list[int] = []
    seconds["first_ids"] = _seconds(lambda: first.extend(_first_codes(model, prompt, cache)))
    draws = Draws.of()
    mel = MelStream(speaker.flow, draws.mel, StreamConfig())
    vocoder = VocoderStream(speaker.vocoder, draws.source)
    frames: list[Tensor] = []
    seconds["flow"] = _seconds(lambda: frames.append(mel.push(first)))
    seconds["vocoder"] = _seconds(lambda: vocoder.push(frames[0]))
    return seconds


def _first_codes(model: VoiceLM, prompt: list[int], cache: ReplyCache) -> list[int]:
    """Write up to the code that fills the first chunk; zeros if the reply ends before."""
    vocabulary, codes = model.vocabulary, []
    ids = model.generate(prompt, Sampling(temperature=0.0, max_new_ids=100), cache=cache)
    for id_ in ids:
        if vocabulary.is_speech(id_):
            codes.append(vocabulary.code(id_))
        if len(codes) == FIRST_CODES:
            break
    return codes + [0] * (FIRST_CODES - len(codes))


def _total(chat: VoiceChat, question: Tensor) -> float:
    """Time a conversation from the end of speech to the first sound."""
    fresh = VoiceChat(chat.tokenizer, chat.model, chat.decoder)
    fresh.hear(question)

    def until_sound() -> None:
        events = fresh.reply(sampling=DEFAULT_SAMPLING)
        next((event for event in events if isinstance(event, AudioDelta)), None)
        events.close()

    return _seconds(until_sound)


def _whole_loop(chat: VoiceChat, question: Tensor) -> float:
    """Time a question heard and answered, by the length of the answer."""
    fresh = VoiceChat(chat.tokenizer, chat.model, chat.decoder)
    sampling = replace(DEFAULT_SAMPLING, max_new_ids=LOOP_IDS)
    spoken: list[Tensor] = []

    def turn() -> None:
        events = fresh.reply(question, sampling=sampling)
        spoken.extend(event.samples for event in events if isinstance(event, AudioDelta))

    seconds = _seconds(turn)
    return seconds * chat.decoder.sample_rate / max(1, sum(map(len, spoken)))


def _ids_per_second(chat: VoiceChat, question: Tensor, *, count: int = 200) -> float:
    """Time the writing of ids alone, one after the other."""
    model = chat.model
    assert isinstance(model, VoiceLM), "timing ids needs a VoiceLM"
    codes = chat.tokenizer.encode(question, RATE)
    prompt = model.writer.opening("speech") + model.writer.speech_turn(codes)
    cache = ReplyCache()
    model.prefill(prompt, cache)
    # Speech only and no end, so that as many come as are asked for.
    sampling = Sampling(temperature=0.0, max_new_ids=count)
    ids = model.generate(prompt, sampling, cache=cache, layout=SPEECH_ONLY, stop_ids=())
    start, written = time.perf_counter(), 0
    for _ in ids:  # choosing an id waits for the device
        written += 1
        if time.perf_counter() - start > ENOUGH_SECONDS:
            break
    return written / (time.perf_counter() - start)


def _long_question(chat: VoiceChat, question: Tensor, seconds: float) -> None:
    """Hear a question of a length in pieces of a tenth of a second."""
    fresh = VoiceChat(chat.tokenizer, chat.model, chat.decoder)
    num_samples = round(seconds * RATE)
    for piece in question.repeat(-(-num_samples // len(question)))[:num_samples].split(RATE // 10):
        fresh.hear(piece)


def _long_reply(chat: VoiceChat, seconds: float) -> list[float]:
    """Time each chunk of a reply of random codes."""
    speaker = shared_decoder(chat.decoder)
    total = round(seconds * chat.tokenizer.frame_rate)
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(speaker.num_codes, (total,), generator=generator).tolist()
    config, times, start = StreamConfig(), [], 0
    stream = speaker.start(config=config)
    while start + (size := config.size(len(times))) <= total:
        part = codes[start : start + size]
        times.append(_seconds(lambda part=part: stream.push(part)))
        start += size
    return times
