"""Generation is legal, reproducible, interruptible, and equal with or without a cache."""

from pathlib import Path

import pytest
import torch

from voiceglm import language_model
from voiceglm.checkpoint import read_config
from voiceglm.errors import CheckpointError, ConfigError
from voiceglm.interleave import REPLY, SPEECH_ONLY, TEXT_ONLY, Kind
from voiceglm.language_model import LanguageModelConfig, ReplyCache, Sampling, VoiceLM
from voiceglm.text_tokenizer import train_text_tokenizer

TINY = LanguageModelConfig(
    hidden_size=32,
    num_layers=2,
    num_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    context_length=160,
)
GREEDY = Sampling(temperature=0, max_new_ids=45)
WILD = Sampling(temperature=5.0, top_p=1.0, max_new_ids=60)


@pytest.fixture(scope="module")
def model() -> VoiceLM:
    text_tokenizer = train_text_tokenizer(["two plus two is four"] * 5, 280)
    return VoiceLM.new(TINY, text_tokenizer, num_codes=40)


@pytest.fixture
def prompt(model: VoiceLM) -> list[int]:
    return model.writer.opening("speech") + model.writer.speech_turn([1, 2, 3])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(20))
def test_a_random_model_still_writes_legal_replies(
    model: VoiceLM, prompt: list[int], seed: int
) -> None:
    position = REPLY.start()
    for id_ in model.generate(prompt, WILD, generator=seeded(seed)):
        if id_ in model.vocabulary.stop_ids:
            break
        assert model.vocabulary.is_text(id_) or model.vocabulary.is_speech(id_)
        kind = Kind.SPEECH if model.vocabulary.is_speech(id_) else Kind.TEXT
        position = position.step(kind)  # raises on what may not come


def test_layouts_of_one_kind(model: VoiceLM, prompt: list[int]) -> None:
    options = {"generator": seeded(0), "stop_ids": ()}
    written = list(model.generate(prompt, WILD, layout=TEXT_ONLY, **options))
    spoken = list(model.generate(prompt, WILD, layout=SPEECH_ONLY, **options))
    assert len(written) == len(spoken) == WILD.max_new_ids
    assert all(map(model.vocabulary.is_text, written))
    assert all(map(model.vocabulary.is_speech, spoken))


def test_the_stop_id_is_the_last(model: VoiceLM, prompt: list[int]) -> None:
    stop = model.vocabulary.speech_id(7)
    sampling = Sampling(temperature=5.0, top_p=1.0, max_new_ids=130)
    ids = list(
        model.generate(prompt, sampling, generator=seeded(3), stop_ids=[stop], layout=SPEECH_ONLY)
    )
    assert ids[-1] == stop
    assert stop not in ids[:-1]


def test_greedy_is_the_likeliest_legal_id_of_the_whole_pass(
    model: VoiceLM, prompt: list[int]
) -> None:
    ids, position = list(prompt), REPLY.start()
    vocabulary = model.vocabulary
    for chosen in model.generate(prompt, GREEDY, stop_ids=()):
        with torch.inference_mode():
            logits = model.network(torch.tensor([ids])).logits[0, -1]
        legal = torch.full_like(logits, -torch.inf)
        if Kind.TEXT in position.legal():
            legal[: vocabulary.text_size] = 0
        legal[vocabulary.speech_start_id : vocabulary.speech_start_id + 40] = 0
        assert chosen == int((logits + legal).argmax())
        ids.append(chosen)
        position = position.step(Kind.SPEECH if vocabulary.is_speech(chosen) else Kind.TEXT)


def test_seeds(model: VoiceLM, prompt: list[int]) -> None:
    def reply(seed: int | None) -> list[int]:
        generator = None if seed is None else seeded(seed)
        return list(model.generate(prompt, WILD, generator=generator, stop_ids=()))

    state = torch.get_rng_state()
    assert reply(1) == reply(1)
    assert reply(1) != reply(2)
    assert reply(None) == reply(0)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not ours to use"


def test_closing_stops_at_once_and_the_cache_is_whole(model: VoiceLM, prompt: list[int]) -> None:
    cache = ReplyCache()
    reply = model.generate(prompt, GREEDY, cache=cache, stop_ids=())
    heard = [next(reply) for _ in range(5)]
    reply.close()
    assert list(reply) == []
    assert cache.ids == prompt + heard[:-1], "everything but the last id"
    assert cache.past.get_seq_length() == len(cache.ids)


@pytest.mark.parametrize("forgotten", [0, 4, 20])
def test_going_on_with_a_cache_equals_starting_afresh(
    model: VoiceLM, prompt: list[int], forgotten: int
) -> None:
    """Also after an interruption, when the end of a reply was never heard."""
    cache = ReplyCache()
    first = list(model.generate(prompt, GREEDY, cache=cache, stop_ids=()))
    history = prompt + first[: len(first) - forgotten] + model.writer.text_turn("two")
    kept = list(model.generate(history, GREEDY, cache=cache, stop_ids=()))
    assert kept == list(model.generate(history, GREEDY, stop_ids=()))
    assert cache.past.get_seq_length() == len(cache.ids)


def test_the_same_prompt_again_and_another_conversation(model: VoiceLM, prompt: list[int]) -> None:
    cache = ReplyCache()
    other = model.writer.opening("text") + model.writer.text_turn("four")
    for ids in (prompt, prompt, other, prompt[:3]):
        again = list(model.generate(ids, GREEDY, cache=cache, stop_ids=()))
        assert again == list(model.generate(ids, GREEDY, stop_ids=()))


def test_two_replies_at_once_do_not_disturb_each_other(model: VoiceLM, prompt: list[int]) -> None:
    alone = list(model.generate(prompt, WILD, generator=seeded(5), stop_ids=()))
    pair = [model.generate(prompt, WILD, generator=seeded(5), stop_ids=()) for _ in range(2)]
    assert list(zip(*pair, strict=True)) == list(zip(alone, alone, strict=True))


def test_the_end_of_the_context_ends_a_reply(model: VoiceLM, prompt: list[int]) -> None:
    long = Sampling(temperature=0, max_new_ids=1000)
    ids = list(model.generate(prompt, long, stop_ids=()))
    assert len(prompt) + len(ids) == TINY.context_length
    with pytest.raises(ConfigError, match="has 160 ids, the model reads at most 159"):
        model.generate(prompt + ids, long)


@pytest.mark.parametrize(("ids", "message"), [([], "no ids"), ([-1], "outside"), ([9999], "outsi")])
def test_bad_ids_are_refused_before_anything_runs(
    model: VoiceLM, ids: list[int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        model.generate(ids, GREEDY)


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": -1.0},
        {"speech_temperature": -1.0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"max_new_ids": 0},
    ],
)
def test_bad_sampling(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Sampling(**values)  # type: ignore[arg-type]


def test_sampling_follows_the_odds() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()

    def shares(sampling: Sampling) -> list[float]:
        generator = seeded(0)
        draws = [sampling.choose(logits, generator) for _ in range(2000)]
        return [draws.count(n) / len(draws) for n in range(4)]

    whole = Sampling(temperature=1.0, top_p=1.0)
    assert shares(whole) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.04)
    nucleus = Sampling(temperature=1.0, top_p=0.7)
    assert shares(nucleus) == pytest.approx([0.625, 0.375, 0, 0], abs=0.04)
    best = Sampling(temperature=1.0, top_p=1.0, top_k=1)
    assert shares(best) == [1, 0, 0, 0]
    cold = Sampling(temperature=0.5, top_p=1.0)
    assert shares(cold)[0] == pytest.approx(0.25 / 0.365, abs=0.04)


def test_speech_may_have_its_own_temperature() -> None:
    sampling = Sampling(temperature=0, speech_temperature=0.9)
    assert sampling.for_speech().temperature == 0.9
    assert Sampling(temperature=0.3).for_speech().temperature == 0.3


def test_saving_keeps_everything_but_half_the_precision(
    model: VoiceLM, prompt: list[int], tmp_path: Path
) -> None:
    model.save(tmp_path / "language_model")
    loaded = VoiceLM.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert loaded.vocabulary == model.vocabulary
    assert loaded.prompt_format == model.prompt_format
    assert loaded.encode_text("two plus") == model.encode_text("two plus")
    for name, value in loaded.network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, model.network.state_dict()[name].half().float())
    loaded.save(tmp_path / "again")
    again = VoiceLM.from_pretrained(tmp_path / "again")
    assert list(again.generate(prompt, GREEDY)) == list(loaded.generate(prompt, GREEDY))


def test_a_configuration_is_read_once(
    model: VoiceLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read twice, it might have been replaced in between."""
    model.save(tmp_path / "language_model")
    read: list[Path] = []
    monkeypatch.setattr(
        language_model, "read_config", lambda folder: read.append(folder) or read_config(folder)
    )
    VoiceLM.from_pretrained(tmp_path)
    assert read == [tmp_path / "language_model"]


def test_damaged_checkpoints(model: VoiceLM, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model.save(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="no text tokenizer"):
        VoiceLM.from_pretrained(folder)
    (folder / "config.json").write_text('{"model": {"hiden_size": 3}, "vocabulary": {}}')
    with pytest.raises(CheckpointError, match="did you mean"):
        VoiceLM.from_pretrained(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is no language model"):
        VoiceLM.from_pretrained(folder)


def test_new_models(model: VoiceLM) -> None:
    again = VoiceLM.new(TINY, model.text_tokenizer, num_codes=40)
    other = VoiceLM.new(TINY, model.text_tokenizer, num_codes=40, seed=1)
    weights = [m.network.lm_head.weight for m in (model, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_sizes_that_do_not_fit_are_refused(model: VoiceLM) -> None:
    with pytest.raises(ConfigError, match="5 heads"):
        LanguageModelConfig(hidden_size=256, num_heads=5)
    with pytest.raises(ConfigError, match="multiple of num_key_value_heads"):
        LanguageModelConfig(num_heads=4, num_key_value_heads=3)
    network = TINY.network(model.vocabulary.size + 1)
    with pytest.raises(ConfigError, match="rows"):
        VoiceLM(network, TINY, model.vocabulary, model.text_tokenizer, model.prompt_format)


def test_text_of_a_reply(model: VoiceLM) -> None:
    ids = [*model.encode_text("two plus"), model.vocabulary.speech_id(3), model.vocabulary.user]
    assert model.decode_text(ids) == "two plus"


STYLES = ("slow_1", "loud", "sad")


@pytest.fixture(scope="module")
def styled() -> VoiceLM:
    text_tokenizer = train_text_tokenizer(["two plus two is four"] * 5, 280)
    return VoiceLM.new(TINY, text_tokenizer, num_codes=40, styles=STYLES)


def opened_by_styles(model: VoiceLM, ids: list[int]) -> int:
    """Return how many styles come first, and make sure that there are no others."""
    places = [place for place, id_ in enumerate(ids) if model.vocabulary.is_style(id_)]
    assert places == list(range(len(places)))
    return len(places)


def test_a_reply_may_begin_with_styles_and_with_nothing_else_of_the_kind(styled: VoiceLM) -> None:
    prompt = styled.writer.opening("speech") + styled.writer.speech_turn([1, 2, 3])
    style = styled.vocabulary.style_ids
    with torch.no_grad():  # so that they come wherever they may
        weight = styled.network.lm_head.weight
        before = weight.clone()
        state = styled.network.model(torch.tensor([prompt])).last_hidden_state[0, -1]
        weight[style.start : style.stop] = state * 10
    counts = []
    for seed in range(30):
        ids = list(styled.generate(prompt, WILD, generator=seeded(seed), stop_ids=()))
        counts.append(opened_by_styles(styled, ids))
        assert len(ids) == WILD.max_new_ids
    written = list(styled.generate(prompt, WILD, layout=TEXT_ONLY, stop_ids=()))
    with torch.no_grad():
        weight.copy_(before)
    assert max(counts) > 0, "they can be chosen"
    assert opened_by_styles(styled, written) == 0, "what is only written has no style"


def test_a_model_with_styles_is_read_back(styled: VoiceLM, tmp_path: Path) -> None:
    styled.save(tmp_path / "styled")
    assert VoiceLM.from_pretrained(tmp_path / "styled").vocabulary == styled.vocabulary
    plain = VoiceLM.untrained(TINY, like=styled).vocabulary
    assert plain.styles == STYLES
    assert styled.decode_text([styled.vocabulary.style_ids[0]]) == ""
