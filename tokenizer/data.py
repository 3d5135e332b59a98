"""Recordings with text, as batches for training the tokenizer."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tokenizer.asr import IGNORED, CtcRecognizer
from tokenizer.features import LogMel
from voiceglm.augmentation import AugmentationConfig, augment
from voiceglm.batches import Shared
from voiceglm.manifest import Utterance, read_samples


@dataclass(frozen=True)
class Example:
    """One training example."""

    samples: Tensor  # (num_samples,), at the tokenizer's rate
    labels: list[int]  # what is said
    generator: torch.Generator  # where further draws for this example come from


class SpeechDataset:
    """Utterances with their text, disturbed anew whenever they are drawn.

    Args:
        utterances: With text.
        recognizer: Spells the text.
        sample_rate: In hertz.
        augmentation: ``None`` for clean speech.
    """

    def __init__(
        self,
        utterances: list[Utterance],
        recognizer: CtcRecognizer,
        *,
        sample_rate: int,
        augmentation: AugmentationConfig | None,
    ):
        self._utterances = utterances
        self._recognizer = recognizer
        self._sample_rate = sample_rate
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self._utterances)

    def draw(self, index: int, generator: torch.Generator) -> Example:
        """Return an utterance as it is heard this time."""
        utterance = self._utterances[index]
        samples = read_samples(utterance, self._sample_rate)
        if self._augmentation is not None:
            samples = augment(samples, self._sample_rate, self._augmentation, generator)
        return Example(samples, self._recognizer.labels(utterance.text or ""), generator)


@dataclass(frozen=True)
class Collate:
    """Examples to one padded batch of features and labels.

    Now and then a whole batch is joined into fewer, longer examples, so that the model meets
    recordings of several sentences and all of its positions without a batch of much padding.
    """

    features: LogMel
    space: int  # the label between two joined texts
    max_samples: int

    def __call__(self, examples: list[Example], shared: Shared) -> dict[str, Any]:
        """Return ``features`` (B, F, L), ``mask`` (B, L) and ``labels`` (B, U)."""
        size = _JOINED[_draw(len(_JOINED), shared.generator)]
        groups = [examples[start : start + size] for start in range(0, len(examples), size)]
        joined = [self._join(group) for group in groups]
        batch = self.features([example.samples for example in joined])
        labels = [torch.tensor(example.labels) for example in joined]
        return {
            "features": batch.values,
            "mask": batch.mask,
            "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        }

    def _join(self, group: list[Example]) -> Example:
        samples, labels = group[0].samples[: self.max_samples], group[0].labels
        for example in group[1:]:
            pause = torch.zeros(_draw(self.max_samples // 32, example.generator))
            longer = torch.cat([samples, pause, example.samples])
            if len(longer) > self.max_samples:
                break
            samples, labels = longer, [*labels, self.space, *example.labels]
        return Example(samples, labels, group[0].generator)


def _draw(end: int, generator: torch.Generator) -> int:
    """Draw one of 0 to ``end - 1``."""
    return int(torch.randint(end, (), generator=generator))


_JOINED = (1, 1, 1, 1, 2, 2, 4)  # how many examples become one, drawn for each batch
