"""What a run of training is asked for: how to train, and the manifests with their shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizer.train import TokenizerTrainConfig
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance, read_manifest


@dataclass(frozen=True, kw_only=True)
class ManifestConfig:
    """A list of recordings and its share of what is trained on."""

    path: Path
    weight: float | None = None
    """Share of every pass, in any unit; left out everywhere, each recording comes once a pass."""


@dataclass(frozen=True, kw_only=True)
class TokenizerRunConfig(TokenizerTrainConfig):
    """Everything a run was asked for."""

    manifests: tuple[ManifestConfig, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.manifests:
            raise ConfigError("there is no manifest; name one, or set manifests")
        weighted = [manifest.weight is not None for manifest in self.manifests]
        if any(weighted) and not all(weighted):
            bare = self.manifests[weighted.index(False)]
            raise ConfigError(f"{bare.path} has no weight, other manifests have; give all or none")


def read_sources(
    manifests: Sequence[ManifestConfig],
) -> tuple[list[list[Utterance]], list[float] | None]:
    """Return the utterances of each manifest, and the weights if there are any.

    Raises:
        ConfigError: If a manifest cannot be read.
    """
    weights = [manifest.weight for manifest in manifests if manifest.weight is not None]
    return [read_manifest(manifest.path) for manifest in manifests], weights or None
