"""Packs of spoken dialogues: written turns to recordings with codes, some dialogues at a time.

Every sentence is spoken by itself and every pack encoded by itself, so a pack depends
on its dialogues and the seed alone, whoever makes it. Its manifest is written last: a pack exists
when it is complete.
"""

import os
import random
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_synth.codes import encode_set
from data_synth.dialogue_voices import EndpointConfig, EndpointVoices, EspeakVoices, Voices
from data_synth.speak import pack_manifest
from data_synth.speakable import speakable
from data_synth.style import joined
from data_synth.tts import SAMPLE_RATE, Voice
from data_synth.written_dialogues import LeftOut, WrittenDialogue, WrittenTurn
from tokenizer.model import SpeechTokenizer
from voiceglm.audio import check_samples, save_audio
from voiceglm.errors import AudioError, SynthesisError
from voiceglm.files import write_json_lines
from voiceglm.manifest import Utterance
from voiceglm.scripts import nearest

KEY = "OPENAI_API_KEY"
"""Where the key of a speech server is read from."""

_MOST_SAID = 16_384  # characters of one turn in words
Spoken = tuple[Utterance, Tensor | None]  # a turn; what is said is (num_samples,) at SAMPLE_RATE


@dataclass(frozen=True)
class Pack:
    """What is made in one go."""

    folder: Path
    number: int
    dialogues: tuple[WrittenDialogue, ...]
    model: str  # name or folder of the model whose tokenizer gives the codes
    seed: int
    endpoint: EndpointConfig | None = None  # that speaks; None: espeak-ng


def make_pack(pack: Pack) -> int:
    """Speak and encode a pack, unless it is there; return how many dialogues it holds.

    Raises:
        DependencyError: If espeak-ng is needed and not installed.
        EngineError: If the speech server is dead.
        OutputError: If a file cannot be written.
    """
    manifest = pack_manifest(pack.folder, pack.number)
    if not manifest.exists():
        voices = _voices(pack.endpoint)
        with ThreadPoolExecutor(voices.at_once) as threads:
            speak = partial(speak_dialogue, seed=pack.seed, voices=voices)
            results = list(threads.map(speak, pack.dialogues))
        turns = [turn for result in results if not isinstance(result, LeftOut) for turn in result]
        left_out = [result for result in results if isinstance(result, LeftOut)]
        write_left_out(left_out_of(manifest), left_out)
        utterances = _record(manifest.with_suffix(".wav"), turns)
        encode_set(_tokenizer(pack.model), utterances, manifest, shows_progress=False)
    return len(pack.dialogues)


def speak_dialogue(dialogue: WrittenDialogue, seed: int, voices: Voices) -> list[Spoken] | LeftOut:
    """Speak every turn but the system's, or say which cannot be.

    The user speaks with one voice, which follows from the dialogue's id and the seed.
    """
    rng = random.Random(f"{seed}/{dialogue.id}")
    user = voices.user(rng, dialogue.language)
    assistant = voices.assistant(dialogue.language)
    first = dialogue.turns[0]
    style = first.style if first.role == "system" else None
    found: list[Spoken] = []
    for number, turn in enumerate(dialogue.turns):
        utterance = Utterance(
            path=None,
            text=turn.text,
            language=dialogue.language,
            role=turn.role,
            dialogue=dialogue.id,
            turn=number,
        )
        if turn.role == "system":
            found.append((utterance, None))
            continue
        try:
            voice = user if turn.role == "user" else assistant
            found.append(_speak(utterance, turn, voice, style, voices))
        except (SynthesisError, AudioError) as error:
            return LeftOut(dialogue.line, str(error), dialogue.id, number, turn.text)
    return found


def left_out_of(manifest: Path) -> Path:
    """Return where a pack lists the dialogues it could not speak."""
    return manifest.with_suffix(".left_out")


def write_left_out(path: Path, left_out: Iterable[LeftOut]) -> None:
    """Write dialogues that are not used as JSON lines.

    Raises:
        OutputError: If the file cannot be written.
    """
    write_json_lines(path, (one.row() for one in left_out))


def unmet_of(utterances: Iterable[Utterance]) -> Counter[str]:
    """Count what was asked of replies and could not be done."""
    return Counter(wish for one in utterances for wish in one.extra.get("unmet", ()))


def _speak(
    utterance: Utterance, turn: WrittenTurn, voice: Voice, style: Any, voices: Voices
) -> Spoken:
    """Say one turn: a user's plainly, a reply in its style."""
    said = _words(turn.text, utterance.language)
    extra: dict[str, Any] = {"written": turn.text}
    if turn.role == "user":
        samples, unmet = voices.say(said, voice), ["style of a user"] if turn.style else []
    else:
        wishes, unmet = joined(style, turn.style)
        samples, more = voices.say_in_style(said, voice, wishes)
        unmet += more
        extra |= {"style": wishes} if wishes else {}
    check_samples(samples, SAMPLE_RATE, what="what was spoken")
    extra |= {"unmet": unmet} if unmet else {}
    return replace(utterance, text=said, speaker=voice.name, extra=extra), samples


def _words(text: str, language: str) -> str:
    """Write a turn as it is read aloud.

    Raises:
        SynthesisError: If there is nothing in it to say, or far too much.
    """
    said = speakable(text, nearest(language))
    if not any(letter.isalnum() for letter in said):
        raise SynthesisError("nothing to say")
    if len(said) > _MOST_SAID:
        raise SynthesisError(f"over {_MOST_SAID:,} characters when written as words")
    return said


def _record(path: Path, turns: Iterable[Spoken]) -> list[Utterance]:
    """Write one WAV file of everything that is said, and say where each turn is in it."""
    pieces: list[Tensor] = []
    utterances = []
    start = 0
    for utterance, samples in turns:
        if samples is None:
            utterances.append(utterance)
            continue
        pieces.append(samples)
        utterances.append(replace(utterance, path=path, start=start, num_samples=len(samples)))
        start += len(samples)
    if pieces:
        save_audio(path, torch.cat(pieces), SAMPLE_RATE)
    return utterances


@cache
def _voices(endpoint: EndpointConfig | None) -> Voices:
    """Begin to speak, once in each process."""
    return EndpointVoices(endpoint, os.environ.get(KEY)) if endpoint else EspeakVoices()


@cache
def _tokenizer(model: str) -> SpeechTokenizer:
    """Load a tokenizer once in each process."""
    return SpeechTokenizer.from_pretrained(model)
