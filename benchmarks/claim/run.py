"""One run after another: an arm and a seed, trained and measured; what is done stays done."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks.claim.arms import beginning, finetuning, pretraining, text_corpus
from benchmarks.claim.material import Material, Row, Speaker, make_material
from benchmarks.claim.measure import IDS, Judge, ask, ceiling, choose, compare, hear, write_down
from benchmarks.claim.settings import Settings
from benchmarks.claim.world import World
from decoder.model import SpeechDecoder
from decoder.voice import DEFAULT
from decoder.voices import speaking
from tokenizer.model import SpeechTokenizer
from voiceglm.errors import ConfigError
from voiceglm.evaluation.subject import load_recognizer
from voiceglm.files import write_file, write_json_lines
from voiceglm.language_model import VoiceLM
from voiceglm.packing import BatchPlan
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.train import LanguageTraining, Source, mixed_batches, train_language_model
from voiceglm.train_config import TrainConfig

MODEL, TRAIN = "model", "train"
ROWS, HEARD = "rows.jsonl", "heard.jsonl"


@dataclass(frozen=True)
class Bench:
    """What all runs share.

    Attributes:
        settings: What was asked for.
        material: What is written and spoken.
        text_tokenizer: Of the language models.
        num_codes: Of the speech tokenizer.
        judge: Hears replies; nobody does without.
        folder: Of the measurement.
    """

    folder: Path
    settings: Settings
    material: Material
    text_tokenizer: Tokenizer
    num_codes: int
    judge: Judge | None


def open_bench(folder: Path, settings: Settings, recognizer: str = "") -> Bench:
    """Make or read what all runs share.

    Args:
        folder: Of the measurement; its ``settings.json`` is compared with what is asked for.
        settings: What is asked for.
        recognizer: Folder of who listens to replies; nobody does if it is empty.

    Raises:
        CheckpointError: If the model or the recognizer is missing or damaged.
        ConfigError: If the folder was begun with other settings.
        DependencyError: If the synthesizer is not installed.
        OutputError: If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_settings(folder / "settings.json", settings)
    tokenizer = SpeechTokenizer.from_pretrained(settings.model)
    judge = _open_judge(settings.model, recognizer) if recognizer else None
    world = World.draw(settings.world)
    material = make_material(
        folder / "material", world, settings.world, settings.sizes, Speaker(tokenizer)
    )
    if judge is not None:
        _once(folder / "ceiling.jsonl", lambda: ceiling(material, judge))
    text_tokenizer = train_text_tokenizer(text_corpus(material), settings.text_vocabulary)
    return Bench(folder, settings, material, text_tokenizer, tokenizer.num_codes, judge)


def _open_judge(model: str, recognizer: str) -> Judge:
    voiced = speaking(SpeechDecoder.from_pretrained(model), DEFAULT, model)
    return Judge(voiced, load_recognizer(Path(recognizer)))


def measure_run(bench: Bench, arm: str, seed: int) -> list[Row]:
    """Train an arm with a seed and measure it; what was finished before is only read.

    The run's folder is called after both. The checkpoints of a model are removed once it is stored.
    Replies are heard where there is a judge, if not at once then later.

    Args:
        bench: What all runs share.
        arm: One of ``ARMS``.
        seed: Of weights and batches.

    Returns:
        The rows of :mod:`benchmarks.claim.measure`.

    Raises:
        TrainingError: If the loss is not finite.
        OutputError: If the folder cannot be written.
    """
    folder = bench.folder / f"{arm}_{seed}"
    rows = _once(folder / ROWS, lambda: _measured(bench, folder, arm, seed))
    judge = bench.judge
    if judge is not None:
        heard = iter(_once(folder / HEARD, lambda: hear(rows, judge)))
        rows = [row | next(heard) if "codes" in row else row for row in rows]
    return rows


def begun(bench: Bench, seed: int) -> VoiceLM:
    """Return what all arms of a seed begin with: a model that has read, and has heard sentences."""
    settings, folder = bench.settings, bench.folder / f"beginning_{seed}"
    if (folder / MODEL).is_dir():
        return VoiceLM.from_pretrained(folder / MODEL)
    model = VoiceLM.new(
        settings.language_model, bench.text_tokenizer, num_codes=bench.num_codes, seed=seed
    )
    sources = beginning(bench.material, model.writer)
    return _trained(model, sources, settings, settings.beginning, folder, seed)


def _measured(bench: Bench, folder: Path, arm: str, seed: int) -> list[Row]:
    settings, material = bench.settings, bench.material
    base = begun(bench, seed)
    sources = pretraining(material, arm, base.writer)
    base = _trained(base, sources, settings, settings.pretraining, folder / "pretraining", seed)
    num_ids = {"measure": IDS, "count": count_ids(base, sources, settings, seed)}
    rows = _once(
        folder / "base.jsonl",
        lambda: [
            num_ids,
            *choose(base, material),
            *compare(base, material),
            *write_down(base, material),
        ],
    )
    sources = finetuning(material, base.writer)
    tuned = _trained(base, sources, settings, settings.finetuning, folder / "finetuning", seed)
    return [{"arm": arm, "seed": seed, **row} for row in [*rows, *ask(tuned, material)]]


def count_ids(model: VoiceLM, sources: Sequence[Source], settings: Settings, seed: int) -> int:
    """Return how many ids pre-training goes through, padding left out."""
    objective, steps = _objective(settings, seed), settings.pretraining.steps
    batches = mixed_batches(model, sources, objective, steps)
    lengths = [source.documents.lengths for source in sources]
    rows = (row for number in range(steps) for row in batches.rows(number))
    return sum(int(lengths[source][documents].sum()) for source, documents in rows)


def _objective(settings: Settings, seed: int) -> LanguageTraining:
    plan = BatchPlan(
        ids_per_batch=settings.ids_per_batch,
        row_length=settings.language_model.context_length,
        seed=seed,
    )
    return LanguageTraining(speech_loss_weight=settings.speech_loss_weight, plan=plan)


def _trained(
    model: VoiceLM,
    sources: Sequence[Source],
    settings: Settings,
    train: TrainConfig,
    folder: Path,
    seed: int,
) -> VoiceLM:
    """Train a model unless that is done, and return it as it is stored, checkpoints removed."""
    if not (folder / MODEL).is_dir():
        objective = _objective(settings, seed)
        train_language_model(model, sources, objective, replace(train, seed=seed), folder / TRAIN)
        model.save(folder / MODEL)
    shutil.rmtree(folder / TRAIN, ignore_errors=True)
    return VoiceLM.from_pretrained(folder / MODEL)


def _once(path: Path, make: Callable[[], list[Row]]) -> list[Row]:
    if not path.exists():
        rows = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_lines(path, rows)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _check_settings(path: Path, settings: Settings) -> None:
    asked: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    if not path.exists():
        write_file(path, json.dumps(asked, indent=1).encode())
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    other = [name for name, value in asked.items() if found.get(name) != value]
    if other:
        raise ConfigError(
            f"{path.parent} was begun with another {other[0]}: {found.get(other[0])!r}, now "
            f"{asked[other[0]]!r}; name another folder, or ask for the same"
        )
