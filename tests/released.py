"""Tiny folders in exactly the layouts GLM-4-Voice is released in, made of recorded weights."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

CONFIG_YAML = """
__set_seed1: !apply:random.seed [1986]
__set_seed2: !apply:numpy.random.seed [1986]
__set_seed3: !apply:torch.manual_seed [1986]
__set_seed4: !apply:torch.cuda.manual_seed_all [1986]
sample_rate: 22050
text_encoder_input_size: 32
mel_size: 80
llm: !new:cosyvoice.llm.llm.TransformerLM
    text_encoder_input_size: !ref <text_encoder_input_size>
    sampling: !name:cosyvoice.utils.common.ras_sampling
        top_p: 0.8
flow: !new:cosyvoice.flow.flow.MaskedDiffWithXvec
    input_size: 32
    output_size: !ref <mel_size>
    spk_embed_dim: 192
    output_type: 'mel'
    vocab_size: 64
    input_frame_rate: 12.5
    only_mask_loss: True
    encoder: !new:cosyvoice.transformer.encoder.BlockConformerEncoder
        output_size: 32
        attention_heads: 4
        linear_units: 64
        num_blocks: 2
        dropout_rate: 0.1
        positional_dropout_rate: 0.1
        attention_dropout_rate: 0.1
        normalize_before: True
        input_layer: 'linear'
        pos_enc_layer_type: 'rel_pos_espnet'
        selfattention_layer_type: 'block_rel_selfattn'
        input_size: 32
        use_cnn_module: False
        macaron_style: False
        block_size: 10
    length_regulator: !new:cosyvoice.flow.length_regulator.InterpolateRegulator
        channels: 80
        sampling_ratios: [1, 1, 1, 1]
    decoder: !new:cosyvoice.flow.flow_matching.ConditionalCFM
        in_channels: 240
        n_spks: 1
        spk_emb_dim: 80
        cfm_params: !new:omegaconf.DictConfig
            content:
                sigma_min: 1e-06
                solver: 'euler'
                t_scheduler: 'cosine'
                training_cfg_rate: 0.2
                inference_cfg_rate: 0.7
                reg_loss_type: 'l1'
        estimator: !new:cosyvoice.flow.decoder.ConditionalDecoder
            in_channels: 320
            out_channels: 80
            channels: [16, 16]
            dropout: 0
            attention_head_dim: 8
            n_blocks: 2
            num_mid_blocks: 2
            num_heads: 2
            act_fn: 'gelu'
hift: !new:cosyvoice.hifigan.generator.HiFTGenerator
    in_channels: 80
    base_channels: 32
    nb_harmonics: 8
    sampling_rate: !ref <sample_rate>
    nsf_alpha: 0.1
    nsf_sigma: 0.003
    nsf_voiced_threshold: 10
    upsample_rates: [8, 8]
    upsample_kernel_sizes: [16, 16]
    istft_params:
        n_fft: 16
        hop_len: 4
    resblock_kernel_sizes: [3, 7, 11]
    resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
    source_resblock_kernel_sizes: [7, 11]
    source_resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5]]
    lrelu_slope: 0.1
    audio_limit: 0.99
    f0_predictor: !new:cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor
        num_class: 1
        in_channels: 80
        cond_channels: 16
"""

TOKENIZER_JSON = {
    "architectures": ["WhisperVQEncoder"],
    "d_model": 32,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "encoder_layers": 4,
    "num_mel_bins": 128,
    "max_source_positions": 100,
    "activation_function": "gelu",
    "scale_embedding": False,
    "pooling_kernel_size": 4,
    "pooling_type": "avg",
    "pooling_position": 3,
    "quantize_vocab_size": 64,
    "quantize_position": 3,
    "quantize_commit_coefficient": 0.25,
    "quantize_loss_scale": 10.0,
    "quantize_ema_decay": 0.99,
    "quantize_restart_interval": 100,
    "quantize_encoder_only": True,
    "quantize_causal_encoder": False,
    "quantize_causal_block_size": 20,
    "encoder_causal_attention": False,
    "encoder_causal_convolution": True,
}


def tokenizer_weights(golden: Path) -> dict[str, Tensor]:
    """Return all 249-tensor-like weights: what this repository leaves out is a formula."""
    weights = load_file(golden / "tokenizer" / "encoder.safetensors")
    codebook = weights["codebook.weight"]
    positions = torch.zeros(100, 32)  # a formula, so the file's values are not looked at
    defaults = {
        "ema_count": torch.ones(len(codebook)),
        "ema_weight": codebook.clone(),
        "embed_positions.weight": positions,
    }
    return {**defaults, **weights}


def write_tokenizer(
    folder: Path, golden: Path, *, whole: bool = False, num_codes: int = 64
) -> Path:
    """Write a released tokenizer; ``whole``: inside the recognizer it was trained in."""
    weights = tokenizer_weights(golden)
    for name in ("codebook.weight", "ema_count", "ema_weight"):
        weights[name] = weights[name][:num_codes].clone()
    if whole:
        weights = {f"model.encoder.{name}": tensor for name, tensor in weights.items()}
        weights["model.encoder.layer_norm.weight"] = torch.ones(32)
        weights["model.encoder.layer_norm.bias"] = torch.zeros(32)
        weights["model.encoder.layers.3.fc1.weight"] = torch.zeros(64, 32)
        weights["model.decoder.embed_tokens.weight"] = torch.zeros(60, 32)
        weights["proj_out.weight"] = torch.zeros(60, 32)
    folder.mkdir(parents=True)
    config = {**TOKENIZER_JSON, "quantize_vocab_size": num_codes}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_decoder(folder: Path, golden: Path, *, num_codes: int = 64) -> Path:
    """Write a released decoder."""
    folder.mkdir(parents=True)
    config = CONFIG_YAML.replace("vocab_size: 64", f"vocab_size: {num_codes}")
    (folder / "config.yaml").write_text(config)
    flow = load_file(golden / "flow" / "flow.safetensors")
    flow["input_embedding.weight"] = flow["input_embedding.weight"][:num_codes].clone()
    flow.setdefault("spk_embed_affine_layer.weight", torch.zeros(80, 192))
    torch.save(flow, folder / "flow.pt")
    torch.save(load_file(golden / "hift" / "hift.safetensors"), folder / "hift.pt")
    return folder


def ranks(pieces: Mapping[bytes, int]) -> bytes:
    """Write pieces of text the way ``tokenizer.model`` does."""
    return b"".join(base64.b64encode(p) + b" " + str(n).encode() + b"\n" for p, n in pieces.items())


def write_language_model(
    folder: Path, golden: Path, pieces: Mapping[bytes, int], num_codes: int
) -> Path:
    """Write a released language model in two shards, with rows enough for the ids."""
    folder.mkdir(parents=True)
    config = json.loads((golden / "lm" / "config.json").read_text())["config"]
    config |= {"padded_vocab_size": len(pieces) + 18 + num_codes, "seq_length": 1_024}
    (folder / "config.json").write_text(json.dumps({"model_type": "chatglm", **config}))
    (folder / "tokenizer.model").write_bytes(ranks(pieces))
    names = ["mask", "gmask", "smask", "sop", "eop", "system", "user", "assistant", "observation"]
    special = {f"<|{name}|>": len(pieces) + n for n, name in enumerate(["endoftext", *names])}
    first = config["padded_vocab_size"] - num_codes
    audio = {f"<|audio_{n}|>": first + n for n in range(num_codes - 1)}  # the last has no string
    added = {str(id_): {"content": name} for name, id_ in {**special, **audio}.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    weights = load_file(golden / "lm" / "chatglm.safetensors")
    for name in ("transformer.embedding.word_embeddings.weight", "transformer.output_layer.weight"):
        missing = config["padded_vocab_size"] - len(weights[name])
        weights[name] = F.pad(weights[name], (0, 0, 0, missing))
    keys = sorted(weights)
    files = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    halves = keys[: len(keys) // 2], keys[len(keys) // 2 :]
    for file, part in zip(files, halves, strict=True):
        save_file({key: weights[key].contiguous() for key in part}, folder / file)
    weight_map = {key: files[key in halves[1]] for key in keys}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder
