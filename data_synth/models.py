"""The models of a synthesis, from the folders a plan names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_synth.batch_lm import Engine, VllmEngine
from data_synth.encoding import Encoding
from data_synth.local_lm import LocalEngine
from data_synth.plan import VOCABULARY, Plan, SynthesisConfig, folder_digest
from data_synth.synthesis import Speaker, Synthesis
from tokenizer.model import SpeechTokenizer
from voiceglm.checkpoint import resolve
from voiceglm.error_rate import ErrorRate, readable_errors
from voiceglm.errors import CheckpointError
from voiceglm.files import new_folder
from voiceglm.language_model import VoiceLM, read_language_model
from voiceglm.prompt import PromptWriter
from voiceglm.vocabulary import Vocabulary

EXPORT = "text_to_token"  # the folder that vLLM reads, inside that of the synthesis


def model_folders(config: SynthesisConfig) -> dict[str, Path]:
    """Return the folders of the models that a synthesis needs.

    Raises:
        CheckpointError: If one is missing.
    """
    parts = {part: resolve(config.model, part) for part in ("tokenizer", "language_model")}
    if config.kind != "interleaved":
        return parts
    speaks = resolve(config.text_to_token or config.model, "text_to_token")
    if config.text_to_token is None and speaks.name != "text_to_token":
        raise CheckpointError(
            f"{config.model} has no text-to-token model; name one with --set text_to_token=FOLDER, "
            "or train one: voiceglm synth train-text-to-token"
        )
    return {**parts, "text_to_token": speaks}


def model_digests(folders: Mapping[str, Path]) -> dict[str, str]:
    """Return a SHA-256 of the files of each model, and one of what the ids mean.

    Raises:
        CheckpointError: If the language model is damaged.
    """
    _, text_tokenizer, vocabulary, _ = read_language_model(folders["language_model"])
    digests = {name: folder_digest(folder) for name, folder in folders.items()}
    return {**digests, VOCABULARY: vocabulary.digest(text_tokenizer)}


def check_models(plan: Plan) -> None:
    """Refuse models that are not those of the plan.

    Raises:
        CheckpointError: If one is missing or another; it is named.
    """
    for name, digest in model_digests(model_folders(plan.config)).items():
        if plan.models.get(name, digest) != digest:  # older plans do not name the vocabulary
            raise CheckpointError(
                f"{name} of {plan.config.model} is not the one the plan was made with; "
                "bring it back or make a new plan"
            )


def load_maker(plan: Plan, folder: Path) -> Synthesis | Encoding:
    """Load what makes the shards of a plan, of any kind; see :func:`load_synthesis`."""
    if plan.config.kind == "interleaved":
        return load_synthesis(plan, folder)
    folders = model_folders(plan.config)
    tokenizer = SpeechTokenizer.from_pretrained(folders["tokenizer"])
    return Encoding(plan, _writer(folders["language_model"]), tokenizer)


def load_synthesis(plan: Plan, folder: Path) -> Synthesis:
    """Load what makes shards.

    Args:
        plan: What to make.
        folder: Of the synthesis; vLLM's copy of the model is kept there.

    Raises:
        CheckpointError: If a model is missing or does not fit the others.
        DependencyError: If the engine is not installed.
    """
    folders = model_folders(plan.config)
    writer = _writer(folders["language_model"])
    model = VoiceLM.from_pretrained(folders["text_to_token"])
    if model.vocabulary.num_codes != writer.vocabulary.num_codes:
        raise CheckpointError(
            f"the text-to-token model has {model.vocabulary.num_codes} codes, the language model "
            f"{writer.vocabulary.num_codes}"
        )
    judge = None
    if plan.config.filters.checked_share:
        tokenizer = SpeechTokenizer.from_pretrained(folders["tokenizer"])
        judge = TokenizerJudge(tokenizer) if tokenizer.alphabet else None
    engine = _engine(model, plan, folder)
    speaker = Speaker(model.writer, engine, model.config.context_length // 2)
    return Synthesis(plan, writer, speaker, judge)


def _writer(folder: Path) -> PromptWriter:
    """Return what numbers the ids of a language model; its weights are not loaded."""
    _, text_tokenizer, vocabulary, prompt_format = read_language_model(folder)

    def encode(text: str) -> list[int]:
        return text_tokenizer.encode(text, add_special_tokens=False).ids

    return PromptWriter(vocabulary, encode, prompt_format)


class TokenizerJudge:
    """Reads codes back with the tokenizer's own recognizer."""

    def __init__(self, tokenizer: SpeechTokenizer):
        self._tokenizer = tokenizer

    def errors(self, said: Sequence[str], codes: Sequence[Sequence[int]]) -> list[ErrorRate]:
        """Return the character errors of each, see :class:`data_synth.synthesis.Judge`."""
        heard = self._tokenizer.read(codes)
        alphabet = self._tokenizer.alphabet
        return [readable_errors(a, b, alphabet) for a, b in zip(said, heard, strict=True)]


def speech_ids(vocabulary: Vocabulary) -> list[int]:
    """Return what may come in speech: every code, and its end."""
    start = vocabulary.speech_start_id
    return [vocabulary.end_of_audio, *range(start, start + vocabulary.num_codes)]


def _engine(model: VoiceLM, plan: Plan, folder: Path) -> Engine:
    config, vocabulary = plan.config, model.vocabulary
    legal, end = speech_ids(vocabulary), vocabulary.end_of_audio
    if config.engine == "local":
        return LocalEngine(model.network, legal, end, config.choice)
    export = folder / EXPORT
    if not export.is_dir():
        with new_folder(export) as draft:
            model.network.save_pretrained(draft)
    return VllmEngine(str(export), legal, end, config.choice)
