"""A recipe of corpora as the commands that carry it out, one after the other.

Each stage is a task of the command line of its own, with a file of settings; each goes on where it
was stopped. So a stage can be left out, run elsewhere, or shared by several GPUs under torchrun.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from voiceglm.errors import ConfigError
from voiceglm.files import write_file
from voiceglm.recipe_config import Corpora, LanguageStage, RecipeConfig

SCRIPT, SETTINGS = "run.sh", "settings"
_HEAD = """#!/bin/sh
# {about}
# Every step goes on where it was stopped. With several GPUs:
#   LAUNCH='torchrun --nproc_per_node 8 -m voiceglm.cli' sh {script}
set -e
LAUNCH=${{LAUNCH:-voiceglm}}
"""
_NEEDED = {  # corpora that a script cannot do without, and what for
    "transcribed": "the tokenizer learns to hear from them",
    "assistant": "the decoder learns its voice from them",
    "texts": "the language model learns from them",
    "dialogues_speech": "the language model learns to answer from them",
    "dialogues_text": "the language model learns to answer from them",
}


@dataclass(frozen=True)
class Step:
    """One command."""

    words: Sequence[str]
    """Behind ``voiceglm``."""
    settings: Mapping[str, Any] | None = None
    """Of its file, if it has one; then it is a training and can be shared by several GPUs."""
    name: str = ""
    """Of that file."""
    makes: Path | None = None
    """Is there whole or not at all, and then the command is left out; ``None``: run it again."""

    def line(self, settings: Path) -> str:
        """Return the step as a line of a script, its settings being in that folder."""
        if self.settings is not None:
            file = str(settings / f"{self.name}.yaml")
            return f"$LAUNCH {shlex.join([*self.words, '--config', file, '--resume'])}"
        command = shlex.join(["voiceglm", *self.words])
        return (
            command if self.makes is None else f"[ -e {shlex.quote(str(self.makes))} ] || {command}"
        )


def write_script(recipe: RecipeConfig, values: Mapping[str, Any], folder: Path) -> Path:
    """Write the settings of every stage and the script that runs them; return the script.

    Args:
        recipe: The recipe.
        values: The same as it is written, so that only what is set is passed on.
        folder: Of the run. Scripts and settings of an earlier call are replaced.

    Raises:
        ConfigError: If a corpus is missing that a stage cannot do without.
        OutputError: If the folder cannot be written.
    """
    lines = [_HEAD.format(about=recipe.about, script=shlex.quote(str(folder / SCRIPT)))]
    settings = folder / SETTINGS
    for step in steps(recipe, values, folder):
        lines.append(step.line(settings))
        if step.settings is not None:
            settings.mkdir(parents=True, exist_ok=True)
            data = yaml.safe_dump(step.settings, sort_keys=False).encode()
            write_file(settings / f"{step.name}.yaml", data)
        if step.name == "tokenizer":  # the decoder joins it in a folder of a whole model
            lines += _heard(folder)
    script = folder / SCRIPT
    write_file(script, ("\n".join(lines) + "\n").encode())
    return script


def steps(recipe: RecipeConfig, values: Mapping[str, Any], folder: Path) -> Iterator[Step]:
    """Yield the commands of a recipe of corpora, in order.

    Raises:
        ConfigError: If a corpus is missing that a stage cannot do without.
    """
    corpora, start = recipe.corpora, recipe.language_model.start_from
    if corpora is None or start is None:
        raise ConfigError(f"recipe {recipe.name} has no corpora or starts from no text model")
    _check(corpora)
    spoken = folder / "spoken"
    yield _tokenizer(corpora, values["tokenizer"], folder)
    yield from _decoder(recipe, corpora, values, folder)
    decoder = ["--flow", str(_flow_folder(recipe, folder)), "--vocoder", f"{folder}/vocoder/model"]
    join = ["decoder", "join", "--model", f"{folder}/heard", *decoder, "-o", str(spoken)]
    yield Step(join, makes=spoken)
    grow = ["lm", "grow", start, "--speech", str(spoken), "-o", str(folder / "grown")]
    yield Step(grow, makes=folder / "grown")
    writer = {name: each for name, each in values["text_to_token"].items() if name != "spans"}
    asked = _paths(corpora.transcribed, "--model", folder / "grown", "-o", folder / "text_to_token")
    yield Step(["synth", "train-text-to-token", *asked], writer, "text_to_token")
    yield from _corpora(recipe, corpora, folder)
    thinker = recipe.language_model
    before = folder / "grown"
    for task, name, stage in (
        ("pretrain", "pretraining", thinker.pretraining),
        ("sft", "finetuning", thinker.finetuning),
    ):
        settings = {key: values["language_model"][name][key] for key in ("objective", "train")}
        settings["mix"] = list(_mix(stage, corpora, folder))
        yield Step(["lm", task, "--model", str(before), "-o", str(folder / name)], settings, name)
        before = folder / name / "model"


def _heard(folder: Path) -> list[str]:
    """Return lines that give the trained tokenizer its place in a folder of a whole model."""
    heard = folder / "heard"
    link = ["ln", "-sfn", "../tokenizer/model", str(heard / "tokenizer")]
    return [shlex.join(["mkdir", "-p", str(heard)]), shlex.join(link)]


def _check(corpora: Corpora) -> None:
    for name, why in _NEEDED.items():
        if not getattr(corpora, name):
            raise ConfigError(
                f"corpora.{name} is empty, and {why}; set it, as in "
                f"--set 'corpora.{name}=[{name}.jsonl]' (docs/training.md)"
            )


def _paths(manifests: Sequence[Path], *others: str | Path) -> list[str]:
    return [*map(str, manifests), *map(str, others)]


def _tokenizer(corpora: Corpora, written: Mapping[str, Any], folder: Path) -> Step:
    weights = {path: 1.0 / len(corpora.transcribed) for path in corpora.transcribed}
    for path in corpora.pseudo_labelled:
        weights[path] = corpora.pseudo_per_transcribed / len(corpora.pseudo_labelled)
    manifests: list[dict[str, Any]] = [
        {"path": str(path), "weight": weight} for path, weight in weights.items()
    ]
    settings = {**written, "manifests": manifests}
    return Step(["tokenizer", "train", "-o", str(folder / "tokenizer")], settings, "tokenizer")


def _decoder(
    recipe: RecipeConfig, corpora: Corpora, values: Mapping[str, Any], folder: Path
) -> Iterator[Step]:
    assistant, hears = corpora.assistant, ("--model", folder / "tokenizer/model")
    train = ["decoder", "train-vocoder", *_paths(assistant), "-o", str(folder / "vocoder")]
    yield Step(train, values["vocoder"], "vocoder")
    flow = {name: values["flow"][name] for name in ("model", "train")}
    everybody = (*corpora.transcribed, *corpora.speech, *assistant)
    words = ["decoder", "train-flow", *_paths(everybody, *hears), "-o", str(folder / "flow")]
    yield Step(words, flow, "flow")
    second = recipe.flow.one_voice
    if second is not None:
        settings = {
            "start_from": str(folder / "flow/model"),
            "model": {**flow["model"], "crop_probability": second.crop_probability},
            "train": values["flow"]["one_voice"]["train"],
        }
        words = ["decoder", "train-flow", *_paths(assistant, *hears)]
        yield Step([*words, "-o", str(folder / "one_voice")], settings, "one_voice")


def _flow_folder(recipe: RecipeConfig, folder: Path) -> Path:
    return folder / ("flow" if recipe.flow.one_voice is None else "one_voice") / "model"


def _corpora(recipe: RecipeConfig, corpora: Corpora, folder: Path) -> Iterator[Step]:
    """Yield what makes ids of texts and recordings, for the kinds that have a share."""
    shares = recipe.language_model.pretraining.shares
    speaks = f"text_to_token={folder}/text_to_token/model"
    recordings = (*corpora.transcribed, *corpora.speech)
    for name, kind, sources, settings in (
        ("interleaved", "interleaved", corpora.texts, [speaks]),
        ("speech", "speech", recordings, []),
        ("pairs", "asr", corpora.transcribed, []),
        ("pairs", "tts", corpora.transcribed, []),
    ):
        if name not in shares:
            continue
        given = [f"kind={kind}", f"model={folder}/grown", *settings]
        sets = [word for setting in given for word in ("--set", setting)]
        yield Step(["synth", "plan", *_paths(sources), "-o", str(folder / kind), *sets])
        yield Step(["synth", "run", str(folder / kind)])


def _mix(stage: LanguageStage, corpora: Corpora, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the sources of a stage with their shares or epochs; several of a kind share it."""
    places = {
        "interleaved": [folder / "interleaved"],
        "speech": [folder / "speech"],
        "pairs": [folder / "asr", folder / "tts"],
        "text": corpora.texts,
        "dialogues_speech": corpora.dialogues_speech,
        "dialogues_text": corpora.dialogues_text,
    }
    for kind, share in stage.shares.items():
        for path in places[kind]:
            yield {"path": str(path), "share": share / len(places[kind])}
    for kind, epochs in stage.epochs.items():
        for path in places[kind]:
            # The steps of the stage say how often; of the epochs only their ratio is left.
            yield {"path": str(path), "weight": float(epochs)}
