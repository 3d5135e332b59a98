"""Every training of the project on a tiny model and made-up data, as one process or as several.

    python tests/stages.py FOLDER STAGE...
    torchrun --standalone --nproc_per_node 2 tests/stages.py FOLDER STAGE...

Tests start it to see what kills and further processes do to a run; each stage writes
``FOLDER/STAGE/weights.safetensors`` when it is through.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from decoder.config import EncoderConfig, EstimatorConfig, FlowConfig, VocoderConfig
from decoder.discriminators import DiscriminatorConfig
from decoder.speaker import SpeakerConfig
from decoder.train_flow import train_flow
from decoder.train_speaker import SpeakerTraining, divide, train_speaker
from decoder.train_vocoder import VocoderTrainConfig, train_vocoder
from tokenizer.config import EncoderConfig as ListenerConfig
from tokenizer.config import (
    FeatureConfig,
    QuantizerConfig,
    RecognizerConfig,
    TokenizerConfig,
)
from tokenizer.train import TokenizerTrainConfig, train_tokenizer
from voiceglm.audio import save_audio
from voiceglm.augmentation import AugmentationConfig
from voiceglm.language_model import LanguageModelConfig, VoiceLM
from voiceglm.manifest import Utterance, read_manifest, write_manifest
from voiceglm.packing import BatchPlan
from voiceglm.prompt import PromptFormat
from voiceglm.ranks import is_first, wait
from voiceglm.text_tokenizer import train_text_tokenizer
from voiceglm.train import LanguageTraining, read_source, train_language_model
from voiceglm.train_config import TrainConfig

LETTERS = "abcd"
STEPS = 6
RATE = 22_050
SAMPLES_PER_CODE = 1_764
TRAIN = TrainConfig(
    steps=STEPS,
    batch_size=8,
    peak_lr=1e-3,
    warmup_steps=2,
    save_every=2,
    log_every=1,
    precision="float32",
)


def sung(folder: Path) -> Path:
    """Write recordings that sing their codes, and a manifest of them; written once."""
    manifest = folder / "manifest.jsonl"
    if is_first() and not manifest.exists():
        folder.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(0)
        utterances = []
        for number in range(20):
            codes = torch.randint(4, (12 + number % 9,), generator=generator).tolist()
            time = torch.arange(SAMPLES_PER_CODE) / RATE
            tones = [0.3 * torch.sin(2 * torch.pi * 300 * (c + 1) * time) for c in codes]
            path = folder / f"{number}.wav"
            save_audio(path, torch.cat(tones), RATE)
            text = "".join(LETTERS[code] for code in codes[::3])
            utterances.append(Utterance(path=path, text=text, extra={"codes": codes}))
        write_manifest(manifest, utterances)
    wait()
    return manifest


def tokenizer(folder: Path) -> Mapping[str, Tensor]:
    """Train a tokenizer with a moving codebook."""
    model = TokenizerConfig(
        features=FeatureConfig(num_mel_bins=20, fixed_floor=-5.0),
        encoder=ListenerConfig(
            width=16,
            num_heads=2,
            feedforward_width=32,
            num_layers=2,
            max_frames=240,
            pool_after=1,
            quantize_after=1,
            encoder_only=False,
            block_frames=40,
        ),
        quantizer=QuantizerConfig(codebook_size=8, commitment_weight=0.25),
        recognizer=RecognizerConfig(alphabet=f"{LETTERS} "),
    )
    augmentation = AugmentationConfig(speed_probability=0.5)
    config = TokenizerTrainConfig(model=model, train=TRAIN, augmentation=augmentation)
    utterances = read_manifest(sung(folder / "sung"))
    return train_tokenizer([utterances], config, folder / "tokenizer").state_dict()


def flow(folder: Path) -> Mapping[str, Tensor]:
    """Train a flow."""
    config = FlowConfig(
        num_codes=4,
        mel_mean=-6.0,
        mel_std=3.0,
        content_weight=1.0,
        encoder=EncoderConfig(dim=16, num_heads=2, hidden_dim=32, num_layers=1, dropout=0.0),
        estimator=EstimatorConfig(
            channels=(32,), num_blocks=1, num_mid_blocks=0, num_heads=2, head_dim=8
        ),
    )
    return train_flow(sung(folder / "sung"), config, TRAIN, folder / "flow").state_dict()


def language_model(folder: Path) -> Mapping[str, Tensor]:
    """Train a language model."""
    rows = folder / "rows.jsonl"
    if is_first() and not rows.exists():
        said = [
            {"kind": kind, "text": LETTERS[n % 4] * (1 + n % 5), "codes": [n % 4] * (3 + n % 7)}
            for n in range(60)
            for kind in ("asr", "tts", "streaming")
        ]
        rows.write_text("".join(f"{json.dumps(row)}\n" for row in said))
    wait()
    sizes = LanguageModelConfig(
        hidden_size=32, num_layers=2, num_heads=4, num_key_value_heads=2, intermediate_size=64
    )
    corpus = [*PromptFormat().texts(), LETTERS] * 10
    model = VoiceLM.new(sizes, train_text_tokenizer(corpus, 320), num_codes=4)
    objective = LanguageTraining(
        speech_loss_weight=0.5, plan=BatchPlan(ids_per_batch=512, row_length=64)
    )
    source = read_source(rows, model.writer)
    trained = train_language_model(model, [source], objective, TRAIN, folder / "language_model")
    return trained.network.state_dict()


def vocoder(folder: Path) -> Mapping[str, Tensor]:
    """Train a vocoder, with discriminators from the third step on."""
    config = VocoderConfig(
        base_channels=16,
        f0_channels=8,
        f0_num_layers=1,
        num_harmonics=1,
        upsample_rates=(8, 8),
        resblock_kernel_sizes=(3,),
        resblock_dilations=(1,),
        source_resblock_kernel_sizes=(3, 3),
        source_resblock_dilations=(1,),
    )
    train = VocoderTrainConfig(
        steps=STEPS,
        adversarial_from=2,
        own_pitch_from=2,
        batch_size=4,
        segment_frames=16,
        fft_sizes=(256, 512),
        discriminator=DiscriminatorConfig(
            periods=(2, 3),
            period_channels=(4, 8),
            fft_sizes=(256,),
            spectrogram_channels=4,
        ),
        save_every=2,
        log_every=1,
        held_out=2,
        precision="float32",
    )
    return train_vocoder(sung(folder / "sung"), config, train, folder / "vocoder").state_dict()


def speaker(folder: Path) -> Mapping[str, Tensor]:
    """Train a speaker encoder."""
    heard = read_manifest(sung(folder / "sung"))
    spoken = [replace(one, speaker=f"singer {n % 4}") for n, one in enumerate(heard)]
    config = SpeakerTraining(
        train=TRAIN, model=SpeakerConfig(dim=8, channels=16, dilations=(1, 2)), crop_frames=60
    )
    return train_speaker(divide(spoken, 0), config, folder / "speaker").state_dict()


STAGES: Mapping[str, Callable[[Path], Mapping[str, Tensor]]] = {
    "tokenizer": tokenizer,
    "flow": flow,
    "language_model": language_model,
    "vocoder": vocoder,
    "speaker": speaker,
}


def main(folder: Path, names: list[str]) -> None:
    """Run stages one after the other."""
    torch.set_num_threads(1)
    for name in names:
        weights = {key: value.clone().contiguous() for key, value in STAGES[name](folder).items()}
        if is_first():
            save_file(weights, folder / name / "weights.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
