"""Recordings with text, as batches for training the tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tokenizer.asr import IGNORED, Recognizer
from tokenizer.features import LogMel
from tokenizer.mixing import Place
from tokenizer.spec_augment import SpecAugmentConfig, hide
from voiceglm.augmentation import AugmentationConfig, Sounds, augment
from voiceglm.batches import Shared
from voiceglm.manifest import Utterance, read_samples

PSEUDO = "pseudo"  # the text_source of a row whose text was written by a machine


@dataclass(frozen=True)
class Example:
    """One training example."""

    samples: Tensor  # (num_samples,), at the tokenizer's rate
    text: str  # what is said
    weight: float  # what its text counts
    generator: torch.Generator  # where further draws for this example come from


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """How speech is disturbed before it is learned from."""

    augmentation: AugmentationConfig | None = None  # None: clean
    sounds: Sounds = field(default_factory=Sounds)
    sample_rate: int = 16_000  # hertz


class SpeechDataset:
    """Utterances with their text, disturbed anew whenever they are drawn.

    Args:
        sources: Lists of utterances with text.
        places: What a pass consists of.
        disturbance: Rate, augmentation.
        pseudo_weight: What a text counts that was written by a machine.
    """

    def __init__(
        self,
        sources: Sequence[Sequence[Utterance]],
        places: Sequence[Place],
        disturbance: Disturbance,
        *,
        pseudo_weight: float = 1.0,
    ):
        self._sources = sources
        self._places = places
        self._disturbance = disturbance
        self._pseudo_weight = pseudo_weight

    def __len__(self) -> int:
        return len(self._places)

    def draw(self, index: int, generator: torch.Generator) -> Example:
        """Return an utterance of a place as it is heard this time."""
        place, how = self._places[index], self._disturbance
        utterance = self._sources[place.source][place.draw(generator)]
        samples = read_samples(utterance, how.sample_rate)
        if how.augmentation is not None:
            samples = augment(
                samples, how.sample_rate, how.augmentation, generator, sounds=how.sounds
            )
        is_pseudo = utterance.extra.get("text_source") == PSEUDO
        weight = self._pseudo_weight if is_pseudo else 1.0
        return Example(samples, utterance.text or "", weight, generator)


@dataclass(frozen=True)
class Collate:
    """Examples to one padded batch of features and labels.

    Now and then a whole batch is joined into fewer, longer examples, so that the model meets
    recordings of several sentences and all of its positions without a batch of much padding.
    """

    features: LogMel
    recognizer: Recognizer
    max_samples: int
    spec_augment: SpecAugmentConfig | None = None

    def __call__(self, examples: list[Example], shared: Shared) -> dict[str, Any]:
        """Return ``features`` (B, F, L), ``mask`` (B, L), ``weights`` (B,), ``labels`` (B, U).

        A joint recognizer's batch has ``text_ids`` (B, U'), too.
        """
        size = _JOINED[_draw(len(_JOINED), shared.generator)]
        groups = [examples[start : start + size] for start in range(0, len(examples), size)]
        joined = [self.join(group) for group in groups]
        batch = self.features([example.samples for example in joined])
        values = batch.values
        if self.spec_augment is not None:
            generators = [example.generator for example in joined]
            values = hide(values, batch.mask.sum(1).tolist(), self.spec_augment, generators)
        targets = [self.recognizer.targets(example.text) for example in joined]
        padded = {
            name: pad_sequence(
                [torch.tensor(target[name], dtype=torch.long) for target in targets],
                batch_first=True,
                padding_value=IGNORED,
            )
            for name in targets[0]
        }
        weights = torch.tensor([example.weight for example in joined])
        return {"features": values, "mask": batch.mask, "weights": weights, **padded}

    def join(self, group: list[Example]) -> Example:
        """Put as many examples behind one another as there are positions for, with pauses.

        The whole counts what the least of them does.
        """
        whole = replace(group[0], samples=group[0].samples[: self.max_samples])
        for example in group[1:]:
            pause = torch.zeros(_draw(self.max_samples // 32, example.generator))
            longer = torch.cat([whole.samples, pause, example.samples])
            if len(longer) > self.max_samples:
                break
            text, weight = f"{whole.text} {example.text}", min(whole.weight, example.weight)
            whole = replace(whole, samples=longer, text=text, weight=weight)
        return whole


def _draw(end: int, generator: torch.Generator) -> int:
    """Draw one of 0 to ``end - 1``."""
    return int(torch.randint(end, (), generator=generator))


_JOINED = (1, 1, 1, 1, 2, 2, 4)  # how many examples become one, drawn for each batch
