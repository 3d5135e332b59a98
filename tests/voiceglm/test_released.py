"""GLM-4-Voice's files as they are released: loaded natively, refused where they are not that."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from decoder.config import DecoderConfig
from decoder.flow_model import FlowModel
from decoder.model import SpeechDecoder
from decoder.vocoder import HiFTGenerator
from tests.released import write_decoder, write_language_model, write_tokenizer
from tokenizer.config import TokenizerConfig
from tokenizer.model import SpeechTokenizer
from voiceglm.errors import CheckpointError
from voiceglm.events import TurnEnd
from voiceglm.language_model import Sampling, VoiceLM
from voiceglm.pretrained import load_chat
from voiceglm.prompt import PromptFormat
from voiceglm.vocabulary import Vocabulary

PIECES = {**{bytes([n]): n for n in range(256)}, b"in": 256, b"ing": 257}
NUM_CODES = 44
MELODY = 0.3 * torch.sin(torch.linspace(0, 9_000, 40_000) ** 1.1)


@pytest.fixture
def family(tmp_path: Path, golden_dir: Path) -> Path:
    """The folder of three folders, named as they are on the hub."""
    write_tokenizer(tmp_path / "glm-4-voice-tokenizer", golden_dir, num_codes=NUM_CODES)
    write_decoder(tmp_path / "glm-4-voice-decoder", golden_dir, num_codes=NUM_CODES)
    write_language_model(tmp_path / "glm-4-voice-9b", golden_dir, PIECES, NUM_CODES)
    return tmp_path


@pytest.mark.parametrize("whole", [False, True], ids=["encoder", "recognizer"])
def test_the_tokenizer_in_both_layouts(tmp_path: Path, golden_dir: Path, whole: bool) -> None:
    folder = write_tokenizer(tmp_path / "t", golden_dir, whole=whole)
    tokenizer = SpeechTokenizer.from_pretrained(folder)
    case = load_file(golden_dir / "tokenizer" / "encoder_cases.safetensors")
    with torch.inference_mode():
        out = tokenizer.encoder(
            case["batch_padded.input_features"], case["batch_padded.attention_mask"].bool()
        )
    assert torch.equal(out.codes, case["batch_padded.tokens"])
    assert tokenizer.num_codes == 64


def test_the_decoder(tmp_path: Path, golden_dir: Path) -> None:
    decoder = SpeechDecoder.from_pretrained(write_decoder(tmp_path / "d", golden_dir))
    assert decoder.num_codes == 64
    case = load_file(golden_dir / "hift" / "cases.safetensors")
    wav = decoder.vocoder.synthesize(case["plain.mel"], case["plain.source"])
    torch.testing.assert_close(wav, case["plain.wav"], atol=1e-3, rtol=0)
    flow = load_file(golden_dir / "flow" / "flow.safetensors")
    assert torch.equal(decoder.flow.input_embedding.weight, flow["input_embedding.weight"])
    assert not decoder.training
    assert not any("llm" in name for name, _ in decoder.named_parameters())


def test_the_language_model(tmp_path: Path, golden_dir: Path) -> None:
    folder = write_language_model(tmp_path / "lm", golden_dir, PIECES, NUM_CODES)
    model = VoiceLM.from_pretrained(folder)
    case = load_file(golden_dir / "lm" / "cases.safetensors")
    with torch.inference_mode():
        logits = model.network(case["input_ids"]).logits
    recorded = case["logits"]
    torch.testing.assert_close(logits[..., : recorded.shape[-1]], recorded, atol=1e-4, rtol=0)
    assert model.prompt_format == PromptFormat.glm4voice()
    assert model.vocabulary == Vocabulary(258, NUM_CODES, 276, 320)
    assert model.vocabulary.speech_id(NUM_CODES - 1) == 319, "the code without a string works"
    assert model.encode_text("inging") == [257, 257]
    assert model.decode_text(model.encode_text("naïve \n\n 你好")) == "naïve \n\n 你好"


def test_bfloat16_stays_what_it_is(tmp_path: Path, golden_dir: Path) -> None:
    folder = write_language_model(tmp_path / "lm", golden_dir, PIECES, NUM_CODES)
    for path in folder.glob("*.safetensors"):
        save_file({k: v.bfloat16() for k, v in load_file(path).items()}, path)
    model = VoiceLM.from_pretrained(folder)
    assert {weight.dtype for weight in model.network.parameters()} == {torch.bfloat16}
    assert model.network.model.rotary_emb.inv_freq.dtype == torch.float32
    single = VoiceLM.from_pretrained(folder, dtype=torch.float32)
    assert {weight.dtype for weight in single.network.parameters()} == {torch.float32}


def test_a_conversation_finds_its_companions(family: Path) -> None:
    chat = load_chat(family / "glm-4-voice-9b")
    events = list(chat.reply(MELODY, sampling=Sampling(temperature=0.0, max_new_ids=60)))
    assert isinstance(events[-1], TurnEnd)
    assert chat.decoder.sample_rate == 22_050


def test_companions_on_the_hub(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, *, allow_patterns: list[str]) -> str:
        asked.append(name)
        return str(family / name.rpartition("/")[2])

    monkeypatch.chdir(family / "glm-4-voice-9b")
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    load_chat("THUDM/glm-4-voice-9b")
    assert set(asked) == {f"THUDM/glm-4-voice-{part}" for part in ("9b", "tokenizer", "decoder")}


def test_a_missing_companion_is_named(family: Path) -> None:
    for path in (family / "glm-4-voice-decoder").iterdir():
        path.unlink()
    (family / "glm-4-voice-decoder").rmdir()
    with pytest.raises(CheckpointError, match="glm-4-voice-decoder"):
        load_chat(family / "glm-4-voice-9b")


def test_parts_of_different_families_are_refused(
    tmp_path: Path, family: Path, golden_dir: Path
) -> None:
    (family / "glm-4-voice-tokenizer").rename(tmp_path / "old")
    write_tokenizer(family / "glm-4-voice-tokenizer", golden_dir)
    with pytest.raises(CheckpointError, match="the tokenizer has 64 codes, the language model 44"):
        load_chat(family / "glm-4-voice-9b")


def test_sizes_and_weights_that_disagree_are_listed(tmp_path: Path, golden_dir: Path) -> None:
    folder = write_tokenizer(tmp_path / "t", golden_dir)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "encoder_ffn_dim": 48}))
    with pytest.raises(CheckpointError, match=r"of another shape .*layers\.0\.fc1"):
        SpeechTokenizer.from_pretrained(folder)
    del values["pooling_position"]
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="'pooling_position' is missing"):
        SpeechTokenizer.from_pretrained(folder)


def test_missing_and_extra_tensors_are_listed(tmp_path: Path, golden_dir: Path) -> None:
    folder = write_language_model(tmp_path / "lm", golden_dir, PIECES, NUM_CODES)
    path = folder / "model-00001-of-00002.safetensors"
    weights = load_file(path)
    gone = "transformer.embedding.word_embeddings.weight"
    save_file({k: v for k, v in weights.items() if k != gone}, path)
    with pytest.raises(CheckpointError, match=r"1 missing \(model\.embed_tokens\.weight\)"):
        VoiceLM.from_pretrained(folder)
    save_file({**weights, "transformer.vision.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"transformer\.vision\.weight is not part"):
        VoiceLM.from_pretrained(folder)


def test_a_config_that_would_run_code_is_refused(tmp_path: Path, golden_dir: Path) -> None:
    folder = write_decoder(tmp_path / "d", golden_dir)
    good = (folder / "config.yaml").read_text()
    for bad in ("x: !apply:os.system [touch /tmp/x]", "x: !!python/object/apply:os.getcwd []"):
        (folder / "config.yaml").write_text(f"{good}\n{bad}\n")
        with pytest.raises(CheckpointError, match=r"config\.yaml is refused"):
            SpeechDecoder.from_pretrained(folder)


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('it ran')",))


def test_weights_that_would_run_code_are_refused(tmp_path: Path, golden_dir: Path) -> None:
    folder = write_decoder(tmp_path / "d", golden_dir)
    torch.save({"a": Evil()}, folder / "flow.pt")
    with pytest.raises(CheckpointError, match=r"flow\.pt is refused"):
        SpeechDecoder.from_pretrained(folder)
    (folder / "flow.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=r"flow\.pt"):
        SpeechDecoder.from_pretrained(folder)
    (folder / "flow.pt").unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*flow\.pt"):
        SpeechDecoder.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ("use_cnn_module: True", "use_cnn_module True is not known here"),
        ("selfattention_layer_type: 'rel'", "selfattention_layer_type 'rel' is not known here"),
    ],
)
def test_another_decoder_is_refused(
    tmp_path: Path, golden_dir: Path, changed: str, complaint: str
) -> None:
    folder = write_decoder(tmp_path / "d", golden_dir)
    name = changed.partition(":")[0]
    lines = (folder / "config.yaml").read_text().splitlines()
    lines = [f"        {changed}" if line.strip().startswith(name) else line for line in lines]
    (folder / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(CheckpointError, match=complaint):
        SpeechDecoder.from_pretrained(folder)


def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path: Path, golden_dir: Path) -> None:
    folder = write_language_model(tmp_path / "lm", golden_dir, PIECES, NUM_CODES)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match="has 258 text ids, GLM-4-Voice 151329"):
        VoiceLM.from_pretrained(folder)
    (folder / "tokenizer.model").write_bytes(b"not base64 at all\n")
    with pytest.raises(CheckpointError, match="no list of pieces and ranks"):
        VoiceLM.from_pretrained(folder)


def test_released_sizes() -> None:
    """Built without memory: the counts of the published models (reference, section 0)."""
    with torch.device("meta"):
        tokenizer = SpeechTokenizer(TokenizerConfig())
        flow, vocoder = FlowModel(DecoderConfig().flow), HiFTGenerator(DecoderConfig().vocoder)
    assert tokenizer.encoder.quantizer is not None
    stored = [*tokenizer.encoder.parameters(), tokenizer.encoder.quantizer.codebook]
    assert sum(tensor.numel() for tensor in stored) == 343_599_360
    assert sum(parameter.numel() for parameter in flow.parameters()) == 111_166_208
    assert sum(parameter.numel() for parameter in vocoder.parameters()) == 20_460_591
