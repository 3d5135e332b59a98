"""Every stage of a model in order, from nothing to a checkpoint like the bundled one.

A stage keeps its results in a folder of its own and writes ``done.json`` when it is complete;
finished stages are not run again, and a stopped one goes on from its newest checkpoint.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, islice, zip_longest
from pathlib import Path

import torch

from data_synth.asked import encode_people, speak_answers
from data_synth.codes import encode_set, lent_codes, unhurried
from data_synth.dialogues import (
    dialogue_rows,
    most_styles,
    pretraining_rows,
    write_rows,
    written_rows,
)
from data_synth.joined import digit_sequences, write_noises
from data_synth.people import digit_clips, order_clips, people
from data_synth.speak import speak
from data_synth.speech_sets import USER_RATE, DataConfig, speak_sets
from data_synth.text_to_token import spoken_span, train_text_to_token, write_pairs
from data_synth.tts import ASSISTANTS
from data_synth.world import LANGUAGES
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.speaker import PART, SpeakerEncoder
from decoder.train_flow import Start, train_flow
from decoder.train_speaker import divide, train_speaker
from decoder.train_vocoder import train_vocoder
from decoder.vocoder import HiFTGenerator
from decoder.voice import DEFAULT, MIN_SECONDS, Recording, make_voice, write_voice
from decoder.voices import FOLDER
from tokenizer.model import SpeechTokenizer
from tokenizer.train import TokenizerTrainConfig, train_tokenizer
from voiceglm.augmentation import Sounds, find_sounds
from voiceglm.checkpoint import load_into, read_tensors, write_checkpoint
from voiceglm.errors import ConfigError
from voiceglm.files import new_folder, write_checksums, write_file
from voiceglm.language_model import TOKENIZER_FILE, VoiceLM
from voiceglm.manifest import Utterance, read_manifest, read_samples, write_manifest
from voiceglm.prompt import PromptFormat
from voiceglm.recipe_config import LanguageStage, RecipeConfig
from voiceglm.style import STYLE_NAMES, TONES
from voiceglm.text_tokenizer import load_text_tokenizer, train_text_tokenizer
from voiceglm.train import read_source, train_language_model

QUESTIONS = (*(f"questions_{language}" for language in LANGUAGES), "orders")
READINGS = (*(f"readings_{language}" for language in LANGUAGES), "readings_yue")
REPLIES = ("answers", "replies")
"""Sets of what users ask, what they read aloud, and what the assistant says."""
FIRST_VOICE_CLIPS = 600
"""Recordings of the first assistant in her own voice that the speaker encoder hears."""
VOICE_CLIPS = 20
"""Recordings that a bundled voice is made from."""


@dataclass(frozen=True)
class Run:
    """A recipe being carried out."""

    config: RecipeConfig
    folder: Path
    recordings: Sequence[Path] = field(default_factory=tuple)  # manifests of people, optional
    digits: Path | None = None  # folder of people's spoken digits
    noises: Path | None = None  # manifest or folder of recorded noise

    @property
    def data(self) -> DataConfig:
        """How much is made up.

        Raises:
            ConfigError: If the recipe learns from corpora instead.
        """
        if self.config.data is None:
            raise ConfigError(f"recipe {self.config.name} makes up no data: it has corpora")
        return self.config.data

    def speech(self, *names: str) -> list[Utterance]:
        """Return spoken sets, one behind another."""
        folders = (self.folder / "speech" / name for name in names)
        found = (read_manifest(folder / "manifest.jsonl") for folder in folders)
        return [utterance for each in found for utterance in each]

    def people(self) -> list[Utterance]:
        """Return people who may be trained on."""
        return people(self.recordings, held_out=False, languages=LANGUAGES)

    def heard(self) -> list[Utterance]:
        """Return all that the tokenizer learns to hear: users, people, and who answers them."""
        people = self.people() + self.said_digits()
        voices = ("voices",) if self.data.voices else ()
        spoken = self.speech(*QUESTIONS, *READINGS, *REPLIES, *voices)
        return spoken + people * self.data.people_times

    def said_digits(self) -> list[Utterance]:
        """Return digits in a row that people say, if they were given."""
        digits = self.folder / "people" / "digits" / "manifest.jsonl"
        return read_manifest(digits) if digits.exists() else []

    def sounds(self) -> Path:
        """Return the manifest of what speech is disturbed with."""
        return self.folder / "people" / "noises.jsonl"

    def tokenizer(self) -> SpeechTokenizer:
        """Return the speech tokenizer that was trained."""
        return SpeechTokenizer.from_pretrained(self.folder / "tokenizer" / "model")

    def codes(self, *names: str) -> list[Utterance]:
        """Return spoken sets with their codes, one behind another."""
        found = (read_manifest(self.folder / "codes" / f"{name}.jsonl") for name in names)
        return [utterance for each in found for utterance in each]


def run_recipe(run: Run, only: Sequence[str] = ()) -> None:
    """Run every stage that is not done yet, or only those named.

    Raises:
        ConfigError: If a named stage does not exist.
        TrainingError: If a training diverges.
        OutputError: If the folder cannot be written.
    """
    unknown = [name for name in only if name not in STAGES]
    if unknown:
        raise ConfigError(f"no stage called {unknown[0]!r}; known: {', '.join(STAGES)}")
    for name in only or STAGES:
        mark = run.folder / name / "done.json"
        if mark.exists():
            continue
        mark.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        STAGES[name](run)
        seconds = round(time.monotonic() - started)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        write_file(mark, json.dumps({"finished": when, "seconds": seconds}).encode())


def _speech(run: Run) -> None:
    speak_sets(run.folder / "speech", run.data)


def _people(run: Run) -> None:
    """Prepare what comes from people: digits said in a row, and noise of their voices."""
    if run.digits is not None:
        clips = digit_clips(run.digits, held_out=False)
        count = run.data.digit_sequences
        digit_sequences(run.folder / "people" / "digits", clips, num_lines=count, seed="digits")
    voices = run.speech(*READINGS) + run.people()
    write_noises(run.folder / "people", voices, run.noises)


def _tokenizer(run: Run) -> None:
    _train_listener(run, run.config.tokenizer, "tokenizer", run.heard())


def _recognizer(run: Run) -> None:
    assert run.config.recognizer is not None, "a recipe with data has a recognizer"
    _train_listener(run, run.config.recognizer, "recognizer", run.heard())


def _train_listener(
    run: Run, config: TokenizerTrainConfig, name: str, heard: Sequence[Utterance]
) -> None:
    if config.augmentation is not None and config.noises is None:
        config = replace(config, noises=run.sounds())
    model = train_tokenizer([heard], config, run.folder / name / "train")
    model.save(run.folder / name / "model", replace=True)


def _codes(run: Run) -> None:
    tokenizer = run.tokenizer()
    folder = run.folder / "codes"
    sounds = Sounds(noises=find_sounds(run.sounds()))
    for name in (*QUESTIONS, *READINGS, *REPLIES):
        augmentation = run.data.augmentation if name in QUESTIONS else None
        made = folder / f"{name}.jsonl"
        encode_set(tokenizer, run.speech(name), made, augmentation=augmentation, sounds=sounds)
    if run.data.voices:
        lenders = run.codes(*REPLIES)
        spoken = [lent_codes(one, lenders) for one in run.speech("voices")]
        lacking = [one for one in spoken if "codes" not in one.extra]
        encode_set(tokenizer, lacking, folder / "voices_own.jsonl")
        own = iter(run.codes("voices_own"))
        coded = [one if "codes" in one.extra else next(own) for one in spoken]
        write_manifest(folder / "voices.jsonl", coded)


def _asked(run: Run) -> None:
    """Encode what people ask and read, and what the assistant says to it."""
    tokenizer = run.tokenizer()
    folder, sounds = run.folder / "codes", Sounds(noises=find_sounds(run.sounds()))
    asked = order_clips(run.recordings, held_out=False) + run.said_digits()
    encode_people(tokenizer, asked, folder / "people.jsonl", sounds=sounds)
    encode_people(tokenizer, run.people(), folder / "people_readings.jsonl", sounds=sounds)
    answers = speak_answers(run.folder / "people" / "answers", asked, run.speech("answers"))
    encode_set(tokenizer, answers, folder / "people_answers.jsonl")


def _vocoder(run: Run) -> None:
    config, folder = run.config.vocoder, run.folder / "vocoder"
    manifest = folder / "spoken.jsonl"
    spoken = _by_turns(run.speech("answers"), run.speech("replies"))
    if run.data.voices:
        spoken = _by_turns(run.speech("voices"), spoken)
    write_manifest(manifest, spoken)
    vocoder = train_vocoder(manifest, config.model, config.train, folder / "train")
    _save_part(folder, vocoder)


def _by_turns(one: Sequence[Utterance], other: Sequence[Utterance]) -> list[Utterance]:
    """Take from two sets by turns, then what is left of the longer."""
    pairs = zip_longest(one, other)
    return [utterance for pair in pairs for utterance in pair if utterance is not None]


def _speaker(run: Run) -> None:
    """Train what hears who speaks, if the decoder is to have several voices."""
    config, folder = run.config.speaker, run.folder / "speaker"
    if run.data.voices is None or config is None:
        return
    first = run.speech("replies")[:FIRST_VOICE_CLIPS]
    speakers = divide(run.speech("voices") + first, config.held_out)
    encoder = train_speaker(speakers, config, folder / "train")
    encoder.save(folder / "model", replace=True)


def _flow(run: Run) -> None:
    config, folder = run.config.flow, run.folder / "flow"
    manifest = folder / "spoken.jsonl"
    spoken, encoder = run.codes(*REPLIES), None
    if run.data.voices:
        encoder = SpeakerEncoder.from_pretrained(run.folder / "speaker" / "model")
        spoken += run.codes("voices")
    write_manifest(manifest, spoken)
    flow = train_flow(
        manifest,
        config.model,
        config.train,
        folder / "train",
        voices=config.voices,
        start=Start(encoder=encoder),
    )
    _save_part(folder, flow)


def _save_part(folder: Path, part: FlowModel | HiFTGenerator) -> None:
    write_checkpoint(folder / "model", asdict(part.config), part.state_dict(), replace=True)


def _rows(run: Run) -> None:
    """Train the text tokenizer and write what the language model reads."""
    folder = run.folder / "rows"
    sets = (QUESTIONS, ("answers",), READINGS, ("replies",))
    questions, answers, readings, replies = (run.codes(*names) for names in sets)
    asked, answers = run.codes("people"), answers + run.codes("people_answers")
    readings = readings + run.codes("people_readings") + [one for one in asked if one.text]
    texts = [row.text or "" for row in (*questions, *answers, *readings, *replies)]
    # So many that the fixed texts, which are part of every turn, cost few ids.
    wire = [*PromptFormat().texts()] * max(100, len(texts) // 20)
    text_tokenizer = train_text_tokenizer(
        [*texts, *wire], run.config.language_model.text_vocabulary
    )
    write_file(folder / TOKENIZER_FILE, text_tokenizer.to_str().encode())

    def count_ids(text: str) -> int:
        return len(text_tokenizer.encode(text).ids)

    styles = most_styles(questions)
    tokenizer = run.tokenizer()
    answers = unhurried(tokenizer, answers, lambda text: count_ids(text) + styles.get(text, 0))
    pretraining = pretraining_rows(questions + readings, answers + replies, questions)
    dialogues = dialogue_rows(questions + asked, answers, questions + readings)
    written = written_rows(run.data.written)
    rows = {"pretraining": pretraining, "dialogues": chain(dialogues, written)}
    left_out = {
        name: write_rows(folder / f"{name}.jsonl", part, count_ids) for name, part in rows.items()
    }
    write_file(folder / "left_out.json", json.dumps(left_out).encode())


def _pretraining(run: Run) -> None:
    recipe = run.config.language_model
    assert recipe.model is not None, "a recipe with data has the sizes of a new model"
    model = VoiceLM.new(
        recipe.model,
        load_text_tokenizer(run.folder / "rows" / TOKENIZER_FILE),
        num_codes=run.config.num_codes,
        styles=STYLE_NAMES,
        seed=recipe.pretraining.train.seed,
    )
    _train_model(run, model, "pretraining", "pretraining", recipe.pretraining)


def _finetuning(run: Run) -> None:
    model = VoiceLM.from_pretrained(run.folder / "pretraining" / "model")
    stage = run.config.language_model.finetuning
    _train_model(run, model, "finetuning", "dialogues", stage)


def _train_model(run: Run, model: VoiceLM, name: str, rows: str, stage: LanguageStage) -> None:
    source = read_source(run.folder / "rows" / f"{rows}.jsonl", model.writer)
    folder = run.folder / name
    train_language_model(model, [source], stage.objective, stage.train, folder / "train")
    model.save(folder / "model", replace=True)


def _text_to_token(run: Run) -> None:
    """Speak stretches of documents, encode them, and train on all that is read aloud."""
    folder, recipe = run.folder / "text_to_token", run.config.text_to_token
    assert recipe.spans is not None, "a recipe with data says how much is spoken"
    spans = speak(
        folder / "speech",
        lambda _, rng: spoken_span(rng),
        num_lines=recipe.spans,
        sample_rate=USER_RATE,
        seed="spans",
    )
    tokenizer = run.tokenizer()
    encode_set(tokenizer, spans, folder / "codes.jsonl")
    heard = run.codes(*READINGS, *REPLIES)
    spoken = [row for row in heard if row.language != "yue" and not row.extra.get("dialect")]
    write_pairs(folder / "rows.jsonl", [*read_manifest(folder / "codes.jsonl"), *spoken])
    text_tokenizer = load_text_tokenizer(run.folder / "rows" / TOKENIZER_FILE)
    model = train_text_to_token(
        folder / "rows.jsonl", text_tokenizer, run.config.num_codes, recipe, folder / "train"
    )
    model.save(folder / "model", replace=True)


def _model(run: Run) -> None:
    """Join the parts into one folder, with a checksum of every file."""
    config = run.config
    flow, vocoder = FlowModel(config.flow.model), HiFTGenerator(config.vocoder.model)
    for name, part in (("flow", flow), ("vocoder", vocoder)):
        folder = run.folder / name / "model"
        load_into(part, read_tensors(folder), where=folder)
    with new_folder(run.folder / "model" / config.name, replace=True) as folder:
        tokenizer = run.tokenizer()
        tokenizer.save(folder / "tokenizer")
        decoder = SpeechDecoder(flow, vocoder)
        decoder.save(folder / "decoder", dtype=torch.float16)
        if run.data.voices:
            _write_voices(run, decoder, folder)
        for stage, name in (("finetuning", "language_model"), ("text_to_token", "text_to_token")):
            VoiceLM.from_pretrained(run.folder / stage / "model").save(folder / name)
        write_checksums(folder)


def _write_voices(run: Run, decoder: SpeechDecoder, folder: Path) -> None:
    """Put the assistants' voices, and what hears others, into a model's folder.

    The first assistant says every reply, and is the voice that speaks if none is asked for. Tones
    are those of which there are recordings: their speaker is ``NAME/TONE``.
    """
    encoder = SpeakerEncoder.from_pretrained(run.folder / "speaker" / "model")
    encoder.save(folder / PART)
    (folder / FOLDER).mkdir()
    rate = decoder.sample_rate
    first, *_ = ASSISTANTS
    spoken: dict[str | None, list[Utterance]] = {first: run.speech("replies")}
    for one in run.speech("voices"):
        spoken.setdefault(one.speaker, []).append(one)
    for name in ASSISTANTS:
        tones = {tone: spoken[f"{name}/{tone}"] for tone in TONES if f"{name}/{tone}" in spoken}
        voice = make_voice(
            name,
            _clips(spoken.get(name, []), rate),
            encoder,
            sample_rate=rate,
            decoder=decoder.fingerprint,
            tones={tone: _clips(own, rate) for tone, own in tones.items()},
        )
        write_voice(voice, folder / FOLDER)
        if name == first:
            write_voice(replace(voice, name=DEFAULT), folder / FOLDER)


def _clips(spoken: Sequence[Utterance], rate: int) -> list[Recording]:
    """Return the recordings at ``rate`` hertz that a voice is made from."""
    clips = (Recording(str(one.path), read_samples(one, rate), rate) for one in spoken)
    return list(islice((clip for clip in clips if clip.seconds >= MIN_SECONDS), VOICE_CLIPS))


STAGES: Mapping[str, Callable[[Run], None]] = {
    "speech": _speech,
    "people": _people,
    "tokenizer": _tokenizer,
    "recognizer": _recognizer,
    "codes": _codes,
    "asked": _asked,
    "vocoder": _vocoder,
    "speaker": _speaker,
    "flow": _flow,
    "rows": _rows,
    "pretraining": _pretraining,
    "finetuning": _finetuning,
    "text_to_token": _text_to_token,
    "model": _model,
}
"""In order; each needs only what comes before it."""
