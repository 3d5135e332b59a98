"""What a decoder does to speech: the original, through the vocoder alone, and through codes.

Letter used in shapes: N samples.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data_synth.tts import ASSISTANTS, SAMPLE_RATE, in_accent, speak_alone
from data_synth.world import LANGUAGES
from decoder.model import SpeechDecoder, VoicedDecoder
from decoder.voice import DEFAULT
from decoder.voices import FOLDER, known_voices, speaking
from tokenizer.model import SpeechTokenizer
from voiceglm.audio import resample
from voiceglm.checkpoint import resolve
from voiceglm.evaluation.reconstruction import vocoded
from voiceglm.evaluation.sound import MEASURES, align
from voiceglm.samples.scenes import test_set

ORIGINAL, VOCODED, DECODED = "original", "vocoded", "decoded"
SHOWN = ("log-spectral distance", "median pitch error")
"""The measures shown, of those in ``voiceglm.evaluation.sound``."""

_SENTENCES = 4  # in each language


@dataclass(frozen=True)
class Comparison:
    """One sentence of one voice, made in three ways.

    Attributes:
        name: Of its files.
        text: What is said.
        language: Of the text.
        assistant: Whose voice it is.
        sounds: Each (N,), by how it was made.
        sample_rate: Of all of them, in hertz.
        figures: By the pair that is compared, the measures ``SHOWN``; ``None`` where there is
            nothing to measure.
    """

    name: str
    text: str
    language: str
    assistant: str
    sounds: Mapping[str, Tensor]
    sample_rate: int
    figures: Mapping[tuple[str, str], Mapping[str, float | None]]


def assistants(model: str) -> dict[str, str]:
    """Return whose voices a model brings: the assistant's name, and what to ask for.

    A model without voices of its own speaks as the first assistant.

    Raises:
        CheckpointError: If there is no such model.
    """
    known = known_voices(model, resolve(model) / FOLDER)
    return {name: name for name in ASSISTANTS if name in known} or {next(iter(ASSISTANTS)): DEFAULT}


def compare(model: str, run: Path, *, seed: int) -> list[Comparison]:
    """Speak held-out sentences as each assistant, and make them again from mel and from codes.

    Args:
        model: Name or folder of a whole model.
        run: Folder of a recipe's run, whose test sets are read.
        seed: Of every draw.

    Raises:
        CheckpointError: If the model is missing or damaged.
        ConfigError: If the run lacks its readings.
        DependencyError: If the synthesizer is not installed.
    """
    decoder = SpeechDecoder.from_pretrained(model)
    tokenizer = SpeechTokenizer.from_pretrained(model)
    sentences = [
        (f"{language}_{number}", text, language)
        for language in LANGUAGES
        for number, text in enumerate(_sentences(run, seed, language), start=1)
    ]
    made: list[Comparison] = []
    for assistant, voice in assistants(model).items():
        speaker = speaking(decoder, voice, model, resolve(model) / FOLDER)
        for name, text, language in sentences:
            spoken = speak_alone(text, in_accent(ASSISTANTS[assistant], language))
            original = resample(spoken, SAMPLE_RATE, decoder.sample_rate)
            sounds = three_ways(original, decoder, tokenizer, speaker, seed)
            figures = measured(sounds, decoder.sample_rate)
            rate = decoder.sample_rate
            made.append(
                Comparison(f"{name}_{assistant}", text, language, assistant, sounds, rate, figures)
            )
    return made


@torch.inference_mode()
def three_ways(
    original: Tensor,
    decoder: SpeechDecoder,
    tokenizer: SpeechTokenizer,
    speaker: SpeechDecoder | VoicedDecoder,
    seed: int,
) -> dict[str, Tensor]:
    """Make a recording again.

    Args:
        original: (N,) at the decoder's rate.
        decoder: Whose vocoder is fed with the original's own mel.
        tokenizer: Of the same codes.
        speaker: That decoder, in the voice of the original.
        seed: Of noise and phases.
    """
    codes = tokenizer.encode(original, decoder.sample_rate)
    return {
        ORIGINAL: original,
        VOCODED: vocoded(decoder, original, seed),
        DECODED: speaker.decode(codes, generator=torch.Generator().manual_seed(seed)),
    }


def measured(
    sounds: Mapping[str, Tensor], sample_rate: int
) -> dict[tuple[str, str], dict[str, float | None]]:
    """Measure each pair that tells something: (what was made, what it is compared with)."""
    pairs = ((VOCODED, ORIGINAL), (DECODED, ORIGINAL), (DECODED, VOCODED))
    taken = [measure for measure in MEASURES if measure.name in SHOWN]
    figures = {}
    for made, target in pairs:
        one, other = align(sounds[target], sounds[made])
        figures[made, target] = {
            measure.name: measure.compare(one, other, sample_rate) for measure in taken
        }
    return figures


def _sentences(run: Path, seed: int, language: str) -> Sequence[str]:
    texts = [clip.text for clip in test_set(run, f"readings_{language}") if clip.text]
    different = list(dict.fromkeys(texts))
    rng = random.Random(f"{seed}/readings/{language}")
    return rng.sample(different, min(_SENTENCES, len(different)))
