"""The stages of a recipe as work: real modules on the meta device, and a step of each.

Letters used in shapes below:

    B  batch
    F  mel bands
    L  feature frames, or ids
    M  mel frames
    U  text ids
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from decoder.config import FlowConfig, VocoderConfig
from decoder.discriminators import (
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from decoder.flow import FlowDraws
from decoder.flow_model import FlowModel
from decoder.train_vocoder import VocoderTrainConfig
from decoder.vocoder import HiFTGenerator
from tokenizer.asr import AUTO_ALPHABET, AnyRecognizer, CtcRecognizer, JointRecognizer
from tokenizer.config import TokenizerConfig
from tokenizer.encoder import FEATURE_STRIDE, Encoded
from tokenizer.model import SpeechTokenizer
from tokenizer.quantizer import Quantized, Quantizer
from tokenizer.train import TokenizerTrainConfig
from voiceglm.errors import ConfigError
from voiceglm.language_config import GrownModelConfig
from voiceglm.packing import BatchPlan
from voiceglm.recipe_config import Expected, LanguageRecipe, LanguageStage, RecipeConfig
from voiceglm.style import STYLE_NAMES
from voiceglm.train_config import TrainConfig
from voiceglm.vocabulary import SPECIAL_NAMES, Vocabulary

TEXT_RATE = 3.3  # text ids a second of speech (docs/training.md, what the dry run assumes)
_PRIVATE_USE = 0xE000  # first of 6,400 characters that stand for any
_ALIGNED = 64  # rows of a vocabulary are a multiple of it


@dataclass(frozen=True)
class Phase:
    """Steps of one kind."""

    steps: int
    loss: Callable[[int], Tensor | None]
    """Called on the meta device with B; a scalar, or ``None`` where nothing is learned."""


@dataclass(frozen=True)
class Workload:
    """A stage that computes."""

    name: str
    modules: Sequence[nn.Module]
    parts: Mapping[str, int]  # parameters, codebooks among them; they add up to all
    phases: Sequence[Phase]
    items: float  # in a batch, over all GPUs
    units: float  # of an item
    unit: str  # "ids", or "s" of speech
    epochs: float
    train: TrainConfig | VocoderTrainConfig | None  # None: nothing is learned
    longest: int = 0  # see step_cost.count_step
    splits: bool = True  # whether a step can be computed in parts
    shards: bool = False  # whether weights can be a part on each GPU
    ids_per_second: float | None = None  # of one GPU, measured

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def batches_per_step(self) -> int:
        """Parts that a step is computed in."""
        return self.train.accumulate if isinstance(self.train, TrainConfig) else 1


def workloads(recipe: RecipeConfig) -> Iterator[Workload]:
    """Build the stages of a recipe that compute, one at a time, in order.

    Raises:
        ConfigError: If the recipe does not say how much data a stage is to expect.
    """
    yield _listener("tokenizer", recipe.tokenizer, _expected(recipe, "tokenizer"))
    if recipe.recognizer is not None:
        yield _listener("recognizer", recipe.recognizer, _expected(recipe, "recognizer"))
    yield _codes(recipe.tokenizer.model, _expected(recipe, "codes"))
    yield _vocoder(recipe.vocoder.model, recipe.vocoder.train, _expected(recipe, "vocoder"))
    flow = recipe.flow
    yield _flow("flow", flow.model, flow.train, _expected(recipe, "flow"))
    if flow.one_voice is not None:
        second = replace(flow.model, crop_probability=flow.one_voice.crop_probability)
        yield _flow("one_voice", second, flow.one_voice.train, _expected(recipe, "one_voice"))
    yield from _language(recipe)


def _expected(recipe: RecipeConfig, stage: str) -> Expected:
    if stage not in recipe.expected:
        raise ConfigError(
            f"expected.{stage} is missing: the dry run reads no data, so the recipe must say how "
            "much there is, as in {items: 1000, seconds: 3.0}"
        )
    return recipe.expected[stage]


def _seconds(expected: Expected) -> float:
    if expected.seconds is None:
        raise ConfigError("a stage that hears recordings needs expected.seconds, not ids")
    return expected.seconds


def _ids(expected: Expected) -> float:
    if expected.ids is None:
        raise ConfigError("a stage that reads documents needs expected.ids, not seconds")
    return expected.ids


def _count(*modules: nn.Module) -> int:
    return sum(weight.numel() for module in modules for weight in module.parameters())


class _Quantizer(nn.Module):
    """A quantizer in training: its products without its choices, which follow from values."""

    def __init__(self, real: Quantizer):
        super().__init__()
        self.real = real

    def forward(self, frames: Tensor, mask: Tensor) -> Quantized:
        """Quantize (B, T, D), and sum up the frames of every entry, as its average would."""
        del mask
        codebook = self.real.codebook.to(frames.dtype)  # (N, D)
        distances = frames.detach() @ codebook.T  # (B, T, N)
        codes = distances.argmin(2)
        torch.mm(torch.zeros_like(distances).flatten(0, 1).T, frames.detach().flatten(0, 1))
        nearest = F.embedding(codes, codebook)
        passed = frames + (nearest - frames).detach()
        return Quantized(passed, codes, (frames - nearest).square().mean())


def _tokenizer(config: TokenizerConfig) -> tuple[SpeechTokenizer, dict[str, int]]:
    """Build a tokenizer and count its parts, the codebook among them."""
    kept = replace(config, encoder=replace(config.encoder, encoder_only=True), recognizer=None)
    with torch.device("meta"):
        tokenizer, encoder = SpeechTokenizer(config), SpeechTokenizer(kept).encoder
    quantizer = tokenizer.encoder.quantizer
    codebook = 0
    if quantizer is not None and not any(True for _ in quantizer.parameters()):
        codebook = quantizer.codebook.numel()
    parts = {
        "encoder": _count(encoder) + codebook,
        "layers above the codes": _count(tokenizer.encoder) - _count(encoder),
        "recognizer": _count(tokenizer) - _count(tokenizer.encoder),
    }
    if quantizer is not None:
        tokenizer.encoder.quantizer = _Quantizer(quantizer)  # type: ignore[assignment]
    return tokenizer, parts


def _features(config: TokenizerConfig, seconds: float, batch: int) -> tuple[Tensor, Tensor]:
    """Return features (B, F, L) and mask (B, L) of recordings, at most of the longest piece."""
    sizes = config.features
    most = config.encoder.max_frames
    frames = min(most, max(1, round(seconds * sizes.sample_rate / sizes.hop / FEATURE_STRIDE)))
    length = frames * FEATURE_STRIDE
    return torch.zeros(batch, sizes.num_mel_bins, length), torch.ones(batch, length) > 0


def _recognition(recognizer: AnyRecognizer, encoded: Encoded, labels: Tensor) -> Tensor:
    """Return a loss that costs what the recognizer's does; CTC's own share of it is nothing."""
    if isinstance(recognizer, JointRecognizer):
        ctc = _recognition(recognizer.ctc, encoded, labels)
        return ctc + _recognition(recognizer.attention, encoded, labels)
    if isinstance(recognizer, CtcRecognizer):
        return recognizer.log_probabilities(encoded.states).mean()
    scores = recognizer.logits(encoded.states, encoded.mask, labels)
    return F.cross_entropy(scores.flatten(0, 1).float(), labels.flatten())


def _spelled(name: str, config: TokenizerConfig, expected: Expected) -> TokenizerConfig:
    """Give a tokenizer that finds its alphabet in training one of the expected size."""
    recognizer = config.recognizer
    if recognizer is None or recognizer.alphabet != AUTO_ALPHABET:
        return config
    if expected.letters is None:
        raise ConfigError(
            f"{name}.model.recognizer.alphabet is auto: say how many in expected.{name}.letters"
        )
    letters = "".join(map(chr, range(_PRIVATE_USE, _PRIVATE_USE + expected.letters)))
    return replace(config, recognizer=replace(recognizer, alphabet=letters))


def _listener(name: str, config: TokenizerTrainConfig, expected: Expected) -> Workload:
    tokenizer, parts = _tokenizer(_spelled(name, config.model, expected))
    seconds, recognizer = _seconds(expected), tokenizer.recognizer
    if recognizer is None:
        raise ConfigError(f"{name}.model.recognizer is null, and training needs one")

    def loss(batch: int) -> Tensor:
        encoded = tokenizer.encoder(*_features(config.model, seconds, batch))
        labels = torch.zeros(batch, max(1, round(seconds * TEXT_RATE)), dtype=torch.long)
        return _recognition(recognizer, encoded, labels) + encoded.commitment

    train = config.train
    return Workload(
        name,
        [tokenizer],
        parts,
        [Phase(train.steps, loss)],
        items=train.items_per_batch,
        units=seconds,
        unit="s",
        epochs=train.steps * train.batch_size / expected.items,
        train=train,
    )


def _codes(config: TokenizerConfig, expected: Expected) -> Workload:
    """Every recording to codes, once."""
    encoder_only = replace(config.encoder, encoder_only=True)
    tokenizer, parts = _tokenizer(replace(config, encoder=encoder_only, recognizer=None))

    @torch.no_grad()
    def encode(batch: int) -> None:
        tokenizer.encoder(*_features(config, _seconds(expected), batch), upper=False)

    return Workload(
        "codes",
        [tokenizer],
        {"encoder": parts["encoder"]},
        [Phase(1, encode)],
        items=expected.items,
        units=_seconds(expected),
        unit="s",
        epochs=1,
        train=None,
    )


def _flow(name: str, config: FlowConfig, train: TrainConfig, expected: Expected) -> Workload:
    with torch.device("meta"):
        flow = FlowModel(config)
    flow.train()
    codes = max(1, round(_cropped(_seconds(expected) * config.code_rate, config)))
    frames = int(codes * config.frames_per_code)

    def loss(batch: int) -> Tensor:
        mel, one = torch.zeros(batch, config.num_mels, frames), torch.ones(batch)
        losses = flow.losses(
            torch.zeros(batch, codes, dtype=torch.long),
            torch.full((batch,), codes),
            mel,
            torch.full((batch,), frames),
            torch.zeros(batch, dtype=torch.long),
            draws=FlowDraws(one, mel, one > 0),
        )
        return losses.flow + config.content_weight * losses.content

    estimator = flow.decoder.estimator
    return Workload(
        name,
        [flow],
        {"estimator": _count(estimator), "encoder": _count(flow) - _count(estimator)},
        [Phase(train.steps, loss)],
        items=train.items_per_batch,
        units=codes / config.code_rate,
        unit="s",
        epochs=train.steps * train.batch_size / expected.items,
        train=train,
        longest=frames,
    )


def _cropped(codes: float, config: FlowConfig) -> float:
    """Return how many codes of a recording a step sees on average: some are cut to some blocks."""
    blocks = max(1.0, codes // config.encoder.block_size)
    return codes * (1 - config.crop_probability * (1 - (blocks + 1) / (2 * blocks)))


def _vocoder(config: VocoderConfig, train: VocoderTrainConfig, expected: Expected) -> Workload:
    with torch.device("meta"):
        generator, judges = HiFTGenerator(config), Discriminators(train.discriminator)
    hop, frames = config.hop_length, train.segment_frames

    def speak(batch: int) -> tuple[Tensor, Tensor]:
        """Return what is made (B, N), and the sum of the losses that need nobody's judgement."""
        mel = torch.zeros(batch, config.in_channels, frames)
        harmonics = config.num_harmonics + 1
        f0 = generator.f0(mel)
        phase, noise = torch.zeros(batch, harmonics, 1), torch.zeros(batch, harmonics, frames * hop)
        source = generator.source(f0.detach(), phase=phase, noise=noise)
        made = generator.synthesize(mel, source)
        return made, f0.mean() + made.mean()

    def regress(batch: int) -> Tensor:
        return speak(batch)[1]

    def compete(batch: int) -> Tensor:
        made, loss = speak(batch)
        real = judges(torch.zeros(batch, frames * hop))
        judges.requires_grad_(False)
        fake = judges(made)
        judges.requires_grad_(True)
        judged = discriminator_loss(real, judges(made.detach()))
        return loss + adversarial_loss(fake) + feature_loss(real, fake) + judged

    alone = min(train.adversarial_from, train.steps)
    seconds = frames * hop / config.sample_rate
    return Workload(
        "vocoder",
        [generator, judges],
        {"vocoder": _count(generator), "discriminators": _count(judges)},
        [Phase(alone, regress), Phase(train.steps - alone, compete)],
        items=train.batch_size,
        units=seconds,
        unit="s",
        epochs=train.steps * train.batch_size * seconds / (expected.items * _seconds(expected)),
        train=train,
        splits=False,
    )


def _language(recipe: RecipeConfig) -> Iterator[Workload]:
    thinker = recipe.language_model
    rows = vocabulary_rows(thinker, recipe.num_codes)
    writer = recipe.text_to_token
    small = Vocabulary.compact(thinker.text_vocabulary, recipe.num_codes).size
    with torch.device("meta"):
        network = writer.model.network(small)
    stage = LanguageStage(objective=writer.objective, train=writer.train)
    yield _reader("text_to_token", network, stage, _expected(recipe, "text_to_token"))
    if "interleaving" in recipe.expected:
        yield _interleaving(network, _expected(recipe, "interleaving"))
    with torch.device("meta"):
        network = new_network(thinker, rows)
    for name, each in (("pretraining", thinker.pretraining), ("finetuning", thinker.finetuning)):
        yield _reader(name, network, each, _expected(recipe, name))


def vocabulary_rows(recipe: LanguageRecipe, num_codes: int) -> int:
    """Return the rows of the language model's vocabulary.

    A new model's are laid out without gaps. A text model keeps its rows; those of GLM-4 have the
    special ids already, any other gets them behind, and speech follows.
    """
    if recipe.start_from is None:
        return Vocabulary.compact(recipe.text_vocabulary, num_codes, styles=STYLE_NAMES).size
    special = 0 if recipe.architecture["model_type"] == "glm" else len(SPECIAL_NAMES)
    rows = int(recipe.architecture["vocab_size"]) + special + num_codes
    return -(-rows // _ALIGNED) * _ALIGNED


def new_network(recipe: LanguageRecipe, rows: int) -> PreTrainedModel:
    """Build the language model's network with so many rows, on the device of the context.

    Raises:
        ConfigError: If its architecture is incomplete, or of a kind that cannot be grown.
    """
    if recipe.model is not None:
        return recipe.model.network(rows)
    sizes = recipe.architecture
    try:
        length = int(sizes["max_position_embeddings"])
        return GrownModelConfig(architecture=sizes, context_length=length).network(rows)
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"language_model.architecture cannot be built: {error}") from None


def _reader(
    name: str, network: PreTrainedModel, stage: LanguageStage, expected: Expected
) -> Workload:
    plan, train = stage.objective.plan, stage.train
    length = _row(plan, expected)
    learned = max(1, round(length * expected.learned))
    network.train()
    body, head = _halves(network)

    def loss(batch: int) -> Tensor:
        ids = torch.zeros(batch, length, dtype=torch.long)
        states = body(ids, use_cache=False).last_hidden_state[:, :learned]
        logits = head(states).flatten(0, 1).float()
        return F.cross_entropy(logits, ids[:, :learned].flatten())

    layers = _count(body) - _count(network.get_input_embeddings())
    documents = expected.items * _ids(expected)
    return Workload(
        name,
        [network],
        {"layers": layers, "vocabulary": _count(network) - layers},
        [Phase(train.steps, loss)],
        items=plan.ids_per_batch / length,
        units=length,
        unit="ids",
        epochs=train.steps * train.accumulate * plan.ids_per_batch / documents,
        train=train,
        shards=True,
    )


def _halves(network: PreTrainedModel) -> tuple[nn.Module, nn.Module]:
    """Return what makes states of ids, and what makes logits of states."""
    head = network.get_output_embeddings()
    assert head is not None, "a language model has a head"
    return network.base_model, head


def _row(plan: BatchPlan, expected: Expected) -> int:
    """Return the ids of a row of a batch."""
    return plan.row_length if plan.batching == "packed" else max(1, round(_ids(expected)))


def _interleaving(network: PreTrainedModel, expected: Expected) -> Workload:
    """Speech written by the text-to-token model: every id is computed once, behind a cache."""
    length = max(1, round(_ids(expected)))
    body, head = _halves(network)

    @torch.no_grad()
    def write(batch: int) -> None:
        ids = torch.zeros(batch, length, dtype=torch.long)
        head(body(ids, use_cache=False).last_hidden_state)

    return Workload(
        "interleaving",
        [network],
        {"text-to-token": _count(network)},
        [Phase(1, write)],
        items=expected.items,
        units=length,
        unit="ids",
        epochs=1,
        train=None,
        ids_per_second=expected.ids_per_second,
    )
