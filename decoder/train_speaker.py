"""Training of the speaker encoder: tell the speakers of recordings apart.

The loss is the additive angular margin of Deng et al. 2019 (ArcFace, equation 3): a recording must
be nearer to its own speaker's direction than to any other by an angle. How well the encoder tells
speakers apart that it never met is measured on some that are held out.

Letters used in shapes:

    B  batch
    N  mel channels
    M  mel frames of a crop
    S  numbers of an embedding
    K  speakers
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decoder.features import LogMel
from decoder.speaker import SpeakerConfig, SpeakerEncoder, similarity
from voiceglm.augmentation import AugmentationConfig, augment
from voiceglm.batches import ItemBatches, Shared
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, read_samples
from voiceglm.train_config import TrainConfig
from voiceglm.training import fit


@dataclass(frozen=True, kw_only=True)
class SpeakerTraining:
    """The speaker encoder and how it is trained."""

    train: TrainConfig
    model: SpeakerConfig = field(default_factory=SpeakerConfig)
    margin: float = 0.2
    """Radians by which a speaker's own direction must be the nearest."""
    scale: float = 30.0
    """What cosines are multiplied by before the softmax."""
    crop_frames: int = 172
    """Mel frames of a training item, two seconds; shorter recordings are repeated."""
    held_out: int = 0
    """Speakers that are measured and never learned from."""
    augmentation: AugmentationConfig | None = None
    """How recordings are disturbed; a change of speed changes the voice, so leave that out."""

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        if self.crop_frames < 1 or self.held_out < 0:
            raise ConfigError("crop_frames must be positive, held_out not negative")
        if not 0 <= self.margin < math.pi / 2 or self.scale <= 0:
            raise ConfigError(
                f"margin must be 0 to 1.57 and scale positive, got {self.margin} and {self.scale}"
            )


@dataclass(frozen=True, kw_only=True)
class SpeakerTask(SpeakerTraining):
    """A training by command: all that it is asked for."""

    manifests: tuple[str, ...]


@dataclass(frozen=True)
class Speakers:
    """Recordings by who speaks, those learned from and those held out."""

    names: tuple[str, ...]  # learned from, in order of their number
    learned: tuple[Utterance, ...]
    held_out: tuple[Utterance, ...]


def divide(utterances: Sequence[Utterance], held_out: int) -> Speakers:
    """Divide recordings by speaker; those who say only one thing teach nothing and are left out.

    Args:
        utterances: Those without ``speaker`` are left out.
        held_out: How many speakers are kept from training, spread over the names in order.

    Raises:
        ConfigError: If fewer than two speakers are left to learn from.
    """
    counts = Counter(one.speaker for one in utterances if one.path is not None and one.speaker)
    names = sorted(name for name, count in counts.items() if count > 1)
    if len(names) - held_out < 2:
        raise ConfigError(
            f"{len(names)} speakers with two recordings or more, {held_out} of them held out: "
            "expected two at least to learn from; rows of the manifest need a 'speaker'"
        )
    kept = {names[n * len(names) // held_out] for n in range(held_out)}
    learned = tuple(name for name in names if name not in kept)
    return Speakers(
        learned,
        tuple(one for one in utterances if one.speaker in learned and one.path is not None),
        tuple(one for one in utterances if one.speaker in kept and one.path is not None),
    )


class SpeakerDataset:
    """Crops of recordings with the number of their speaker.

    Args:
        speakers: Whose recordings.
        config: Crops and disturbance; undisturbed, each mel is computed once, kept in float16.
    """

    def __init__(self, speakers: Speakers, config: SpeakerTraining) -> None:
        self._utterances = speakers.learned
        self._numbers = {name: number for number, name in enumerate(speakers.names)}
        self._config = config
        self._log_mel = LogMel(config.model.mel)
        self._mels: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self._utterances)

    def draw(self, index: int, generator: torch.Generator) -> tuple[Tensor, int]:
        """Return a crop (N, M) and its speaker's number."""
        mel = crop(self._mel(index, generator), self._config.crop_frames, generator)
        return mel, self._numbers[self._utterances[index].speaker]

    def _mel(self, index: int, generator: torch.Generator) -> Tensor:
        mel = self._mels.get(index)
        if mel is None:
            rate, disturbance = self._config.model.mel.sample_rate, self._config.augmentation
            samples = read_samples(self._utterances[index], rate)
            if disturbance is not None:
                return self._log_mel(augment(samples, rate, disturbance, generator))
            mel = self._mels[index] = self._log_mel(samples).half()
        return mel.float()


def crop(mel: Tensor, num_frames: int, generator: torch.Generator) -> Tensor:
    """Cut frames out of a log-mel at random, repeating it if it is too short: (N, M') -> (N, M).

    Raises:
        ConfigError: If there is no frame at all.
    """
    if mel.shape[1] == 0:
        raise ConfigError("a recording is shorter than one mel frame; leave it out")
    mel = mel.repeat(1, -(-num_frames // mel.shape[1]))
    start = int(torch.randint(mel.shape[1] - num_frames + 1, (), generator=generator))
    return mel[:, start : start + num_frames]


class SpeakerTrainingModel(nn.Module):
    """The encoder as the training loop sees it: crops in, the loss out.

    Args:
        encoder: What is trained.
        num_speakers: K, each of which gets a learned direction.
        config: Margin and scale.
    """

    def __init__(self, encoder: SpeakerEncoder, num_speakers: int, config: SpeakerTraining):
        super().__init__()
        self.encoder = encoder
        self.directions = nn.Parameter(torch.randn(num_speakers, encoder.config.dim))  # (K, S)
        self.margin, self.scale = config.margin, config.scale

    def forward(self, mel: Tensor, speaker: Tensor) -> dict[str, Tensor]:
        """Return ``loss``, and the share of crops given to their own speaker.

        Args:
            mel: (B, N, M).
            speaker: (B,), numbers below K.
        """
        cosines = F.linear(self.encoder(mel).float(), F.normalize(self.directions))  # (B, K)
        own = F.one_hot(speaker, cosines.shape[1]).bool()
        angles = cosines.clamp(-1 + 1e-6, 1 - 1e-6).acos()
        harder = torch.where(own, (angles + self.margin).clamp(max=math.pi).cos(), cosines)
        right = (cosines.argmax(1) == speaker).float().mean()
        return {"loss": F.cross_entropy(self.scale * harder, speaker), "accuracy": right}


def collate(items: Sequence[tuple[Tensor, int]], shared: Shared) -> dict[str, Tensor]:
    """Join crops to a batch: mel (B, N, M) and speaker (B,)."""
    del shared  # crops are all alike
    mels, numbers = zip(*items, strict=True)
    return {"mel": torch.stack(list(mels)), "speaker": torch.tensor(numbers)}


def train_speaker(speakers: Speakers, config: SpeakerTraining, folder: Path) -> SpeakerEncoder:
    """Train a speaker encoder, from scratch or from where a stopped run left off.

    Args:
        speakers: Whose recordings.
        config: Network and training.
        folder: Where checkpoints and metrics are kept.

    Raises:
        TrainingError: If the loss is not finite.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.train.seed)
        model = SpeakerTrainingModel(SpeakerEncoder(config.model), len(speakers.names), config)
    batches = ItemBatches(
        SpeakerDataset(speakers, config),
        collate,
        batch_size=config.train.items_per_batch,
        seed=config.train.seed,
    )
    fit(model, batches, config.train, folder)
    return model.encoder.eval()


def equal_error_rate(encoder: SpeakerEncoder, utterances: Sequence[Utterance]) -> float:
    """Return how often same and different speakers are confused, in percent.

    Every pair of recordings is judged by its similarity, at the threshold where as many pairs of
    one speaker are refused as pairs of two are taken for one.

    Args:
        encoder: In evaluation.
        utterances: Of two speakers at least.
    """
    rate = encoder.config.mel.sample_rate
    embeddings = [encoder.embed(read_samples(one, rate), rate) for one in utterances]
    pairs = list(combinations(range(len(utterances)), 2))
    scores = torch.tensor([similarity(embeddings[a], embeddings[b]) for a, b in pairs])
    same = torch.tensor([utterances[a].speaker == utterances[b].speaker for a, b in pairs])
    return equal_error(scores, same)


def equal_error(scores: Tensor, same: Tensor) -> float:
    """Return the equal error rate in percent.

    Args:
        scores: (P,), one per pair, higher for the same speaker.
        same: (P,), bool.
    """
    order = scores.argsort()
    same = same[order].double()
    refused = same.cumsum(0) / same.sum()  # of same pairs, at a threshold above each score
    taken = 1 - (1 - same).cumsum(0) / (1 - same).sum()
    nearest = (refused - taken).abs().argmin()
    return float(50 * (refused[nearest] + taken[nearest]))
