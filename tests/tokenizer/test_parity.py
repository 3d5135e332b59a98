"""The tokenizer computes what the published one does, number by number.

Part of the recorded numbers is in this repository: the encoder on padded batches, and a training
step of the whole recognizer. Tests marked ``full`` need all of them and are skipped where these
do not lie beside it.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tokenizer.asr import AttentionRecognizer
from tokenizer.config import EncoderConfig, QuantizerConfig, RecognizerConfig, TokenizerConfig
from tokenizer.encoder import Encoded, WhisperVQEncoder, attention_bias, sinusoids
from tokenizer.model import SpeechTokenizer
from tokenizer.quantizer import EmaQuantizer
from voiceglm.audio import resample

TINY = EncoderConfig(
    width=32,
    num_heads=4,
    feedforward_width=64,
    num_layers=3,
    max_frames=100,
    pool_after=3,
    quantize_after=3,
    block_frames=20,
)
CODEBOOK = QuantizerConfig(codebook_size=64, commitment_weight=2.5, revive_below=0.0)
WHOLE = TokenizerConfig(
    encoder=replace(
        TINY, num_layers=4, max_frames=128, pool_after=2, quantize_after=2, encoder_only=False
    ),
    quantizer=replace(CODEBOOK, codebook_size=16),
    recognizer=RecognizerConfig(
        kind="attention",
        num_layers=2,
        vocab_size=60,
        max_text_ids=32,
        start_id=53,
        pad_id=50,
        end_id=51,
    ),
)
LIBRARY = "quantizer.library._codebook."
RENAMED = {"codebook.weight": "embed", "ema_weight": "embed_avg", "ema_count": "cluster_size"}


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Compare absolutely."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose name begins with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def our_names(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the encoder's published tensors our names; what is a formula or a default is added."""
    book = published["codebook.weight"]
    values = {"ema_weight": book, "ema_count": torch.ones(len(book)), **published}
    named = {
        LIBRARY + RENAMED[k] if k in RENAMED else k: v[None] if k in RENAMED else v
        for k, v in values.items()
    }
    return {LIBRARY + "initted": torch.tensor(True), **named}


def build_encoder(
    config: EncoderConfig, published: Mapping[str, Tensor], quantizer: QuantizerConfig = CODEBOOK
) -> WhisperVQEncoder:
    """Return the encoder with published weights, its position tables cut to ``max_frames``."""
    encoder = WhisperVQEncoder(TokenizerConfig(encoder=config, quantizer=quantizer))
    positions, codes = config.max_frames, config.max_frames // config.pool_stride
    tensors = dict(our_names(published))
    tensors["embed_positions.weight"] = sinusoids(positions, config.width)
    tensors["embed_positions2.weight"] = tensors["embed_positions2.weight"][:codes]
    encoder.load_state_dict(tensors)
    return encoder.eval()


@pytest.fixture(params=["committed", "full"])
def golden(request: pytest.FixtureRequest) -> Path:
    """First the numbers in this repository, then all of them."""
    name = "golden_dir" if request.param == "committed" else "shared_golden"
    return request.getfixturevalue(name) / "tokenizer"


@pytest.fixture
def full(shared_golden: Path) -> Path:
    return shared_golden / "tokenizer"


@torch.no_grad()
@pytest.mark.parametrize("name", ["batch_padded", "odd", "long"])
def test_encoder(golden: Path, name: str) -> None:
    case = under(f"{name}.", load_file(golden / "encoder_cases.safetensors"))
    if not case:
        pytest.skip("only in the full set of recorded numbers")
    encoder = build_encoder(TINY, load_file(golden / "encoder.safetensors"))
    inner: dict[str, Tensor] = {}
    encoder.conv2.register_forward_hook(lambda *args: inner.update(conv2_pre_gelu=args[-1]))
    for number, layer in enumerate(encoder.layers):
        layer.register_forward_pre_hook(
            lambda _, args, n=number: inner.update({f"hidden_states.{n}": args[0]})
        )
    out = encoder(case["input_features"], case["attention_mask"].bool())

    assert torch.equal(out.codes, case["tokens"])
    close(out.pooled, case["pooled"])
    close(out.states, case["last_hidden_state"])
    if "conv2_pre_gelu" in case:  # the full set records what every layer is given
        for inner_name, value in inner.items():
            close(value, case[inner_name])


@torch.no_grad()
def test_codes_to_states(full: Path) -> None:
    """Recorded codes are looked up instead of quantizing, to read text off them."""
    case = under("long.", load_file(full / "encoder_cases.safetensors"))
    encoder = build_encoder(TINY, load_file(full / "encoder.safetensors"))
    close(encoder.recognise(case["tokens"], torch.ones(1, 25).bool()), case["last_hidden_state"])


def test_position_table(full: Path) -> None:
    published = load_file(full / "encoder.safetensors")["embed_positions.weight"]
    close(sinusoids(1500, 32), published, 1e-6)


def test_block_mask(full: Path) -> None:
    case = load_file(full / "block_mask.safetensors")
    bias = attention_bias(case["frame_mask"].bool(), block=20, causal=False)
    assert torch.equal(bias == 0, case["mask_allowed"])
    assert bias.min() == torch.finfo(torch.float32).min


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("pool_before_quant", {"pool_after": 1}),
        ("no_block_mask", {"block_frames": None}),
        (
            "max_pool_plain_conv",
            {"pool_type": "max", "pool_kernel": 2, "causal_convolution": False},
        ),
        ("causal_attention", {"causal_below_quantizer": True}),
    ],
)
def test_variants(full: Path, name: str, changed: dict[str, object]) -> None:
    recorded = load_file(full / "variants.safetensors")
    case = under(f"{name}.", recorded)
    published = load_file(full / "encoder.safetensors")
    published["codebook.weight"] = case["codebook"]
    encoder = build_encoder(replace(TINY, **changed), published)  # type: ignore[arg-type]
    out = encoder(recorded["input_features"], recorded["attention_mask"].bool())
    assert torch.equal(out.codes, case["tokens"])
    close(out.pooled, case["pooled"])
    close(out.states, case["last_hidden_state"])


@pytest.fixture
def recordings(full: Path) -> tuple[dict[str, Tensor], list[Tensor]]:
    """What was recorded, and the four waveforms, 16 kHz mono: 1.2, 31.5, 0.04 and 0.7 seconds."""
    recorded = load_file(full / "audio_to_tokens.safetensors")
    long = (recorded["audio1_base_int16"].float() / 32_767).repeat(10)
    # The reference keeps channel 0 of a stereo file; ours averages, so it is given that channel.
    stereo = resample(recorded["audio3_22050"], 22_050, 16_000)
    close(stereo[0], recorded["audio3_resampled_16k_channel0"], 1e-5)
    return recorded, [recorded["audio0"][0], long, recorded["audio2"][0], stereo[0]]


@pytest.fixture
def listener(recordings: tuple[dict[str, Tensor], list[Tensor]]) -> SpeechTokenizer:
    """A tokenizer of released shape (positions, blocks, features) and tiny width."""
    sizes = replace(TINY, max_frames=1500, block_frames=200)
    tokenizer = SpeechTokenizer(TokenizerConfig(encoder=sizes, quantizer=CODEBOOK)).eval()
    published = our_names(under("weights.", recordings[0]))
    published["embed_positions.weight"] = sinusoids(1500, 32)
    tokenizer.encoder.load_state_dict(published)
    return tokenizer


def test_features(
    listener: SpeechTokenizer, recordings: tuple[dict[str, Tensor], list[Tensor]]
) -> None:
    recorded, (first, *_) = recordings
    features = listener.features([first])
    close(features.values, recorded["features0_alone"])
    assert torch.equal(features.mask.long(), recorded["mask0_alone"])


@torch.no_grad()
@pytest.mark.parametrize("how", ["alone", "batched"])
def test_audio_to_codes(
    listener: SpeechTokenizer,
    recordings: tuple[dict[str, Tensor], list[Tensor]],
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One of the four is shorter than our users' recordings may be.
    monkeypatch.setattr("tokenizer.model.check_samples", lambda *args, **named: None)
    recorded, waveforms = recordings
    if how == "batched":
        codes = listener.encode_batch(waveforms, 16_000)
    else:
        codes = [listener.encode(waveform, 16_000) for waveform in waveforms]
    for number, found in enumerate(codes):
        assert found == recorded[f"tokens_{how}.{number}"].tolist()


@pytest.fixture
def recognizer(golden: Path) -> tuple[SpeechTokenizer, dict[str, Tensor]]:
    """The whole training graph with published weights, and what was recorded of it."""
    recorded = load_file(golden / "training.safetensors")
    encoder = our_names(under("weights_before.model.encoder.", recorded))
    encoder["embed_positions.weight"] = sinusoids(128, 32)
    reader = under("weights_before.model.decoder.", recorded)
    model = SpeechTokenizer(WHOLE)
    model.load_state_dict(
        {f"encoder.{k}": v for k, v in encoder.items()}
        | {f"recognizer.decoder.{k}": v for k, v in reader.items()}
    )
    return model.eval(), recorded


def recognize(
    model: SpeechTokenizer, recorded: Mapping[str, Tensor]
) -> tuple[Encoded, dict[str, Tensor]]:
    """Run the recorded batch and keep what the encoder said of it."""
    seen: list[Encoded] = []
    hook = model.encoder.register_forward_hook(lambda *args: seen.append(args[-1]))
    mask = recorded["attention_mask"].bool()
    out = model(recorded["input_features"], mask, recorded["labels"])
    hook.remove()
    return seen[0], out


@torch.no_grad()
def test_recognizer(recognizer: tuple[SpeechTokenizer, dict[str, Tensor]]) -> None:
    model, recorded = recognizer
    encoded, out = recognize(model, recorded)
    close(encoded.states, recorded["eval.encoder_last_hidden_state"])
    close(out["loss"], recorded["eval.loss"], 1e-5)
    assert isinstance(model.recognizer, AttentionRecognizer)
    logits = model.recognizer.logits(encoded.states, encoded.mask, recorded["labels"])
    close(logits, recorded["eval.logits"])


def test_training_step(recognizer: tuple[SpeechTokenizer, dict[str, Tensor]]) -> None:
    model, recorded = recognizer
    encoded, out = recognize(model.train(), recorded)
    close(out["loss"], recorded["train.loss"], 1e-5)
    close(out["commitment"], recorded["train.quantize_loss"], 1e-5)
    assert isinstance(model.recognizer, AttentionRecognizer)
    logits = model.recognizer.logits(encoded.states, encoded.mask, recorded["labels"])
    close(logits, recorded["train.logits"])

    out["loss"].backward()
    expected = under("train.grad.", recorded)
    assert len(expected) >= 2
    for name, gradient in expected.items():
        found = model.encoder.get_parameter(name.removesuffix("_first24")).grad
        assert found is not None
        close(found[: len(gradient)], gradient, 1e-5)

    quantizer = model.encoder.quantizer
    assert isinstance(quantizer, EmaQuantizer)
    check_codebook(quantizer, under("train.", recorded), "_after", within=1e-5)


def check_codebook(
    quantizer: EmaQuantizer,
    recorded: Mapping[str, Tensor],
    suffix: str,
    *,
    within: float,
    only: Tensor | slice = slice(None),
) -> None:
    """Compare entries and their statistics."""
    sums = quantizer.library._codebook.get_buffer("embed_avg")[0]
    close(quantizer.codebook[only], recorded[f"codebook{suffix}"][only], within)
    close(sums[only], recorded[f"ema_weight{suffix}"][only], within)
    # The reference keeps the smoothed counts, the library smooths whenever it divides by them.
    close(quantizer.counts[only], recorded[f"ema_count{suffix}"][only], 1e-4)


def restarting(
    recorded: Mapping[str, Tensor], revive_below: float
) -> tuple[WhisperVQEncoder, EmaQuantizer]:
    """Return the encoder that four recorded training steps begin with: decay 0.5, 16 codes."""
    config = replace(CODEBOOK, codebook_size=16, ema_decay=0.5, revive_below=revive_below)
    published = under("restart.weights_before.", recorded)
    encoder = build_encoder(replace(TINY, max_frames=128), published, config).train()
    assert isinstance(encoder.quantizer, EmaQuantizer)
    return encoder, encoder.quantizer


def test_steps_without_a_restart(full: Path) -> None:
    """Codes and losses of all steps; entries as long as the reference revives none of them."""
    recorded = load_file(full / "training.safetensors")
    encoder, quantizer = restarting(recorded, revive_below=0.0)
    steps = under("restart.", recorded)
    revived = steps["ema_count.3"] == 1.0
    assert int(revived.sum()) == len(steps["sampled_rows_of_valid_hidden"])
    for step in range(4):
        out = encoder(recorded["input_features"], recorded["attention_mask"].bool())
        assert torch.equal(out.codes[out.mask], steps[f"tokens.{step}"][out.mask])
        close(out.commitment, steps[f"quantize_loss.{step}"], 1e-5)
        within = 1e-4 if step else 1e-5
        check_codebook(quantizer, steps, f".{step}", within=within, only=~revived)
        # Smoothing stored counts, again at every step, shrinks entries that are never used.
        if step < 3:
            close(quantizer.codebook, steps[f"codebook.{step}"], 3e-3 if step else 1e-5)


def test_the_same_entries_are_revived(full: Path) -> None:
    """With the reference's threshold; it looks at every second step, the library at each."""
    recorded = load_file(full / "training.safetensors")
    encoder, quantizer = restarting(recorded, revive_below=0.5**2)
    steps = under("restart.", recorded)
    batch = recorded["input_features"], recorded["attention_mask"].bool()
    for step in range(2):
        encoder(*batch)
        close(quantizer.codebook, steps[f"codebook.{step}"], 1e-3)
    out = encoder(*batch)  # the reference is due one step later
    revived = (quantizer.codebook - steps["codebook.2"]).abs().amax(1) > 1e-2
    assert torch.equal(revived, steps["ema_count.3"] == 1.0)
    same = quantizer.codebook[revived][:, None] == out.pooled[out.mask]
    assert same.all(2).any(1).all(), "a revived entry is a frame of the batch"
