"""What spoken spans sound like, and what is understood of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data_synth.preview import Sample, Span
from decoder.model import SpeechDecoder
from tokenizer.model import SpeechTokenizer
from voiceglm.checkpoint import resolve
from voiceglm.errors import CheckpointError

MAX_BYTES = 6 << 20  # of 16-bit samples; a third more in base64
_PER_CALL = 32  # spans that are read back at once


@dataclass(frozen=True)
class Sound:
    """A span that can be heard."""

    samples: Tensor  # (num_samples,), in [-1, 1]
    sample_rate: int  # hertz


@dataclass(frozen=True)
class Heard:
    """What is known of the spans of samples, by their numbers.

    Attributes:
        sounds: What they sound like; a span may be missing.
        texts: What the recognizer reads off their codes; a span may be missing.
        code_rate: Codes per second.
        alphabet: What the recognizer writes with.
        notes: What is missing, and why.
    """

    sounds: Mapping[int, Sound]
    texts: Mapping[int, str]
    code_rate: float
    alphabet: str
    notes: Sequence[str]


def listen(
    samples: Sequence[Sample],
    model: str,
    tokenizer: SpeechTokenizer,
    seed: int,
    watched: Callable[[list[Span]], Iterable[Span]] = iter,
) -> Heard:
    """Decode the spans of samples, and read them back.

    Args:
        samples: What was drawn.
        model: Name or folder of a whole model.
        tokenizer: That model's.
        seed: Of the noise that speech is made from.
        watched: Given the spans that will be spoken, yields them; may show progress.

    Raises:
        CheckpointError: If the model is missing, or its decoder damaged.
    """
    notes: list[str] = []
    sounds: Mapping[int, Sound] = {}
    spans = [span for sample in samples for span in sample.spans]
    decoder = find_decoder(model, tokenizer.num_codes)
    if isinstance(decoder, str):
        notes.append(decoder)
    else:
        chosen = audible(samples, decoder)
        sounds = speak(watched(chosen), decoder, seed)
        if len(chosen) < len(spans):
            notes.append(
                f"{len(spans) - len(chosen)} of {len(spans)} spans have no sound here: it would be "
                "too much for one page"
            )
    texts = read_back(spans, tokenizer)
    if isinstance(texts, str):
        notes.append(texts)
        texts = {}
    return Heard(sounds, texts, tokenizer.frame_rate, tokenizer.alphabet, notes)


def find_decoder(model: str, num_codes: int) -> SpeechDecoder | str:
    """Return what speaks a model's codes, or in words why nothing does.

    Args:
        model: Name or folder of a whole model.
        num_codes: Of its codebook.

    Raises:
        CheckpointError: If the model is missing, or its decoder damaged.
    """
    folder = resolve(model) / "decoder"
    if not folder.is_dir():
        return f"{model} has no decoder, so nothing can be heard"
    decoder = SpeechDecoder.from_pretrained(folder)
    if decoder.num_codes != num_codes:
        return (
            f"the decoder of {model} has {decoder.num_codes} codes, its tokenizer {num_codes}, so "
            "nothing can be heard"
        )
    return decoder


def audible(
    samples: Sequence[Sample], decoder: SpeechDecoder, max_bytes: int = MAX_BYTES
) -> list[Span]:
    """Choose the spans that are made audible: of every sample its first, then its second...

    Args:
        samples: What was drawn.
        decoder: That will speak.
        max_bytes: Of 16-bit samples, altogether.
    """
    flow = decoder.config.flow
    bytes_per_code = flow.frames_per_code * flow.hop_length * 2
    turns = [(place, span) for sample in samples for place, span in enumerate(sample.spans)]
    chosen: list[Span] = []
    left = float(max_bytes)
    for _, span in sorted(turns, key=lambda turn: turn[0]):
        needed = len(span.codes) * bytes_per_code
        if needed <= left:
            left -= needed
            chosen.append(span)
    return chosen


def speak(spans: Iterable[Span], decoder: SpeechDecoder, seed: int) -> Mapping[int, Sound]:
    """Return the sound of spans by their numbers, each as it is by itself."""
    return {
        span.number: Sound(
            decoder.decode(span.codes, generator=torch.Generator().manual_seed(seed)),
            decoder.sample_rate,
        )
        for span in spans
    }


def read_back(spans: Sequence[Span], tokenizer: SpeechTokenizer) -> Mapping[int, str] | str:
    """Return what the recognizer reads off the codes by the spans' numbers, or why it does not."""
    found: dict[int, str] = {}
    by_length = sorted(spans, key=lambda span: len(span.codes))  # little padding
    try:
        for start in range(0, len(by_length), _PER_CALL):
            group = by_length[start : start + _PER_CALL]
            heard = tokenizer.read([span.codes for span in group])
            found |= {span.number: text for span, text in zip(group, heard, strict=True)}
    except CheckpointError as error:
        return str(error)
    return found
