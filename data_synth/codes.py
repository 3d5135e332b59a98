"""Spoken sets to codes: what the language model and the decoder learn from."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from tokenizer.model import SpeechTokenizer
from voiceglm.augmentation import AugmentationConfig, Sounds, augment
from voiceglm.errors import ConfigError
from voiceglm.interleave import REPLY, speech_before_end
from voiceglm.manifest import Utterance, read_manifest, read_samples, write_manifest

_BATCH = 32
_SAME_PACE = 1.0  # codes by which the lengths of two recordings may differ


def read_coded(
    sets: Sequence[Sequence[Utterance]],
    load: Callable[[], SpeechTokenizer],
    folder: Path,
    *,
    num_codes: int | None = None,
) -> list[Utterance]:
    """Return all recordings of several sets with codes; a set that lacks some is encoded.

    Args:
        sets: Recordings.
        load: Gives the tokenizer, if one is needed.
        folder: Where ``codes_N.jsonl`` of encoded sets are kept; one that is there is taken.
        num_codes: How many codes are expected; ``None``: any.

    Raises:
        AudioError: If a recording cannot be read.
        ConfigError: If the tokenizer has another number of codes.
        OutputError: If the folder cannot be written.
    """
    coded: list[Utterance] = []
    tokenizer = None
    for number, utterances in enumerate(sets):
        found = utterances
        if any("codes" not in one.extra for one in utterances):
            tokenizer = tokenizer or load()
            if num_codes not in (None, tokenizer.num_codes):
                raise ConfigError(
                    f"num_codes is {num_codes}, but the tokenizer has {tokenizer.num_codes} codes"
                )
            made = folder / f"codes_{number}.jsonl"
            encode_set(tokenizer, utterances, made)
            found = read_manifest(made)
        coded += found
    return coded


def encode_set(
    tokenizer: SpeechTokenizer,
    utterances: Sequence[Utterance],
    manifest: Path,
    *,
    augmentation: AugmentationConfig | None = None,
    sounds: Sounds | None = None,
    seed: int = 0,
    shows_progress: bool = True,
) -> None:
    """Write a manifest of the same utterances with their ``codes``, whole or not at all.

    Written turns of a dialogue have no recording and stay as they are.

    Args:
        tokenizer: Its codes.
        utterances: Recordings.
        manifest: The file to write; nothing is done if it exists.
        augmentation: How recordings are disturbed before they are encoded; ``None``: not at all.
        sounds: Recordings they are disturbed with.
        seed: Of that disturbance; each recording's depends on its number alone.
        shows_progress: Whether a bar is drawn.

    Raises:
        AudioError: If a recording cannot be read.
        OutputError: If the manifest cannot be written.
    """
    if manifest.exists():
        return
    rate = tokenizer.config.features.sample_rate
    spoken = [number for number, utterance in enumerate(utterances) if utterance.path is not None]
    order = sorted(spoken, key=lambda number: utterances[number].num_samples or 0)

    def hear(number: int) -> Tensor:
        samples = read_samples(utterances[number], rate)
        if augmentation is None:
            return samples
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        return augment(samples, rate, augmentation, generator, sounds=sounds)

    codes: dict[int, list[int]] = {}
    starts = range(0, len(order), _BATCH)
    title = f"encode {manifest.stem}"
    for start in tqdm(starts, desc=title, unit="batch", disable=not shows_progress):
        numbers = order[start : start + _BATCH]
        batch = [hear(n) for n in numbers]
        codes |= dict(zip(numbers, tokenizer.encode_batch(batch, rate), strict=True))
    manifest.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(
        manifest,
        (
            replace(utterance, extra={**utterance.extra, "codes": codes[number]})
            if number in codes
            else utterance
            for number, utterance in enumerate(utterances)
        ),
    )


def lent_codes(utterance: Utterance, lenders: Sequence[Utterance]) -> Utterance:
    """Give a recording the codes of another that says the same at the same pace, if one does.

    The other is the one whose number is ``plain`` in its extra. A voice so learns to say what is
    written in another's codes.

    Args:
        utterance: With ``num_samples``.
        lenders: With codes.
    """
    if "plain" not in utterance.extra:
        return utterance
    lender = lenders[utterance.extra["plain"]]
    assert lender.text == utterance.text, "a recording and its lender say the same"
    codes = lender.extra["codes"]
    length, other = utterance.num_samples or 0, lender.num_samples or 1
    if abs(length / other - 1) * len(codes) > _SAME_PACE:
        return utterance
    return replace(utterance, extra={**utterance.extra, "codes": codes})


def unhurried(
    tokenizer: SpeechTokenizer, spoken: Sequence[Utterance], count_ids: Callable[[str], int]
) -> list[Utterance]:
    """Let silence follow what is said before its text could be written.

    A short sentence of long words has no place in the alternation of 13 text and 26 speech ids, so
    a model would never learn to reply with it.

    Args:
        tokenizer: Whose codes they have.
        spoken: Recordings with text and codes.
        count_ids: How many text ids a text has.

    Returns:
        The same recordings, the codes of some of them longer.

    Raises:
        AudioError: If a recording cannot be read.
    """
    rate = tokenizer.config.features.sample_rate
    patient = []
    for one in spoken:
        lacking = speech_before_end(count_ids(one.text or ""), REPLY) - len(one.extra["codes"])
        if lacking > 0:
            silence = torch.zeros(lacking * tokenizer.features.samples_per_code)
            codes = tokenizer.encode(torch.cat([read_samples(one, rate), silence]), rate)
            patient.append(replace(one, extra={**one.extra, "codes": codes}))
        else:
            patient.append(one)
    return patient
