"""What people ask and read, as codes: every recording several times, differently disturbed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_synth.codes import encode_set
from data_synth.speak import speak_lines
from data_synth.speech_sets import answers_to
from data_synth.tts import SAMPLE_RATE
from tokenizer.model import SpeechTokenizer
from voiceglm.augmentation import AugmentationConfig, Sounds
from voiceglm.manifest import Utterance, read_manifest
from voiceglm.scripts import HAN

TIMES: Mapping[str, int] = {"orders": 24, "digits": 4}
"""How often a recording of a skill is heard; any other twice."""
ROUGH = AugmentationConfig(
    speed_probability=0.8,
    speed_percent=10,
    room_probability=0.3,
    noise_probability=0.8,
    min_snr_db=3.0,
    max_snr_db=30.0,
    min_peak=0.2,
)
"""How few recordings become many."""


def encode_people(
    tokenizer: SpeechTokenizer,
    clips: Sequence[Utterance],
    manifest: Path,
    *,
    sounds: Sounds | None = None,
    seed: int = 0,
) -> list[Utterance]:
    """Encode each recording as often as :data:`TIMES` says, never disturbed in the same way.

    Args:
        tokenizer: Its codes.
        clips: Recordings; what is known of them is kept, as their ``answer``, and what they say is
            written as a sentence.
        manifest: The file to write; nothing is done if it exists.
        sounds: Noise and rooms that speech is disturbed with, beside those made up.
        seed: Of the disturbance.

    Returns:
        The lines of the manifest.

    Raises:
        AudioError: If a recording cannot be read.
        OutputError: If the manifest cannot be written.
    """
    written = (replace(clip, text=clip.text and as_sentence(clip.text)) for clip in clips)
    heard = [clip for clip in written for _ in range(TIMES.get(clip.extra.get("skill", ""), 2))]
    encode_set(tokenizer, heard, manifest, augmentation=ROUGH, sounds=sounds, seed=seed)
    return read_manifest(manifest)


def as_sentence(text: str) -> str:
    """Write a transcript as the sentences of the world are: corpora have their own ways.

    What is in capitals, or has none, is put into lower case with a capital in front; what ends
    without a full stop gets one.
    """
    if text.isupper() or text.islower():
        lower = text.lower()
        text = re.sub(r"\bi\b", "I", lower[0].upper() + lower[1:])
    if text[-1] in ".?!。？！":
        return text
    return text + ("。" if re.search(f"[{HAN}]", text) else ".")


def speak_answers(
    folder: Path, asked: Sequence[Utterance], spoken: Sequence[Utterance]
) -> list[Utterance]:
    """Have the assistant say the answers to what people ask, but for those spoken elsewhere.

    Args:
        folder: Packs and ``manifest.jsonl`` are kept here; finished packs are not made again.
        asked: With ``answer``.
        spoken: What the assistant says already.

    Raises:
        DependencyError: If the synthesizer is not installed.
        OutputError: If the folder cannot be written.
    """
    known = {one.text for one in spoken if not one.extra.get("dialect")}
    lines = [line for line in answers_to(asked) if line.text not in known]
    return speak_lines(folder, lines, SAMPLE_RATE)
