"""A folder of recordings to utterances, whichever of the known layouts it has."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from data_synth import corpora
from data_synth.intake import Intake, recordings
from data_synth.stereo import is_dialogue, read_dialogues
from voiceglm.errors import ConfigError
from voiceglm.manifest import Utterance

LAYOUTS: dict[str, Callable[[Path, Intake], Iterator[Utterance]]] = {
    "ljspeech": corpora.read_ljspeech,
    "librispeech": corpora.read_librispeech,
    "common-voice": corpora.read_common_voice,
    "aishell": corpora.read_aishell,
    "lhotse": corpora.read_lhotse,
    "dialogues": read_dialogues,
    "folder": corpora.read_folder,
}
"""What reads each layout, bad rows left to the intake to count."""


def convert(
    source: Path, intake: Intake, *, layout: str | None = None, language: str | None = None
) -> Iterator[Utterance]:
    """Give every utterance of a corpus, in an order that only its files decide.

    Args:
        source: Its folder; also a table of Common Voice or a list of Lhotse.
        intake: Counts what is left out.
        layout: One of :data:`LAYOUTS`; None looks.
        language: Said of every utterance, instead of what the layout knows.

    Raises:
        ConfigError: If there is no such folder, or no layout fits.
    """
    if layout not in (None, *LAYOUTS):
        raise ConfigError(f"no layout called {layout!r}; known: {', '.join(LAYOUTS)}")
    read = LAYOUTS[layout or detect_layout(source)]
    for utterance in read(source, intake):
        yield replace(utterance, language=language) if language else utterance


def detect_layout(source: Path) -> str:
    """Return the name of the layout a folder has.

    Raises:
        ConfigError: If there is no such folder, or it holds no recordings.
    """
    if not source.exists():
        raise ConfigError(f"no such folder: {source}")
    if source.is_file():
        if source.suffix == ".tsv":
            return "common-voice"
        if source.name.endswith(corpora.LHOTSE):
            return "lhotse"
        if source.suffix == ".tar":
            raise ConfigError(
                f"{source} holds its recordings inside, a manifest lists files; synth plan reads it"
            )
        raise ConfigError(
            f"{source} is a file, expected a folder, a Common Voice .tsv or Lhotse's cuts"
        )
    if (source / "metadata.csv").is_file():
        return "ljspeech"
    if corpora.aishell_lists(source):
        return "aishell"
    if (source / "clips").is_dir() and corpora.common_voice_tables(source):
        return "common-voice"
    if corpora.lhotse_lists(source):
        return "lhotse"
    return _layout_of_files(source)


def _layout_of_files(source: Path) -> str:
    """Tell by the first folder that holds recordings."""
    for folder, names in Intake(source).folders(source):
        if any(name.endswith(".trans.txt") for name in names):
            return "librispeech"
        if found := recordings(names):
            return "dialogues" if is_dialogue(folder / found[0]) else "folder"
    raise ConfigError(f"{source} holds no recordings (WAV, FLAC, OGG or MP3)")
