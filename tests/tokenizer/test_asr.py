"""Recognizers: spelling and reading, and padding that does not matter."""

from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor

from tokenizer.asr import (
    IGNORED,
    AnyRecognizer,
    AttentionRecognizer,
    CtcRecognizer,
    JointRecognizer,
    build_recognizer,
)
from tokenizer.config import RecognizerConfig
from voiceglm.errors import ConfigError

WIDTH = 8
SIZES = {"width": WIDTH, "num_heads": 2, "feedforward_width": 16}
ATTENTION = RecognizerConfig(
    kind="attention",
    num_layers=2,
    vocab_size=20,
    max_text_ids=12,
    start_id=19,
    pad_id=18,
    end_id=17,
)
MASK = torch.arange(10) < torch.tensor([[10], [6], [8]])
LABELS = torch.tensor([[3, 1, 4, 1, 5], [2, 6, 6, IGNORED, IGNORED], [7, 8, 2, 8, IGNORED]])


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(config: RecognizerConfig) -> AnyRecognizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_recognizer(config, **SIZES).eval()


@pytest.fixture
def ctc() -> CtcRecognizer:
    recognizer = build(RecognizerConfig(upsample=2))
    assert isinstance(recognizer, CtcRecognizer)
    return recognizer


@pytest.fixture
def attention() -> AttentionRecognizer:
    recognizer = build(ATTENTION)
    assert isinstance(recognizer, AttentionRecognizer)
    return recognizer


@pytest.fixture
def speller() -> Tokenizer:
    """Knows sixteen words."""
    words = {word: number for number, word in enumerate([*"abcdefghijklmno", "[UNK]"])}
    speller = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    speller.pre_tokenizer = Whitespace()  # type: ignore[assignment]
    return speller


@pytest.fixture(params=["ctc", "attention"])
def recognizer(request: pytest.FixtureRequest) -> CtcRecognizer | AttentionRecognizer:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("It's four.", "it's four"),
        ("  Hello,   WORLD!\n", "hello world"),
        ("Zürich: 3-4", "z rich"),
        ("", ""),
        ("...", ""),
        ("committee's book", "committee's book"),
    ],
)
def test_what_is_spelled_can_be_read(ctc: CtcRecognizer, text: str, kept: str) -> None:
    spelled = ctc.labels(text)
    assert all(0 < label <= len(ctc.alphabet) for label in spelled)
    path = [0, *(frame for label in spelled for frame in (label, label, 0))]
    path += [0] * (len(path) % ctc.upsample)
    scores = torch.eye(len(ctc.alphabet) + 1)[path]  # one frame each: (C * upsample, V)
    read_off = torch.nn.Linear(1, 1)
    read_off.forward = lambda states: states  # type: ignore[method-assign]
    ctc.project = read_off
    states = 9.0 * scores.unflatten(0, (-1, ctc.upsample)).flatten(1)[None]
    assert ctc.read(states, torch.ones(states.shape[:2]).bool()) == [kept]


def test_reading_stops_at_the_end(ctc: CtcRecognizer) -> None:
    states = draw(3, 10, WIDTH)
    texts = ctc.read(states, MASK)
    assert len(set(texts)) == 3
    for row, mask, text in zip(states, MASK, texts, strict=True):
        alone = row[mask][None]
        assert ctc.read(alone, torch.ones(1, alone.shape[1]).bool()) == [text]


def test_padding_does_not_change_the_loss(
    recognizer: CtcRecognizer | AttentionRecognizer,
) -> None:
    """Garbage in padded states, more padding, and one by one: always the same."""
    states = draw(3, 10, WIDTH)
    loss = recognizer.loss(states, MASK, LABELS)
    assert float(loss.detach()) > 0

    garbage = torch.where(MASK[..., None], states, 1e3 * draw(3, 10, WIDTH, seed=1))
    torch.testing.assert_close(recognizer.loss(garbage, MASK, LABELS), loss)

    longer = torch.nn.functional.pad(states, (0, 0, 0, 5), value=7.0)
    mask = torch.nn.functional.pad(MASK, (0, 5))
    labels = torch.nn.functional.pad(LABELS, (0, 3), value=IGNORED)
    torch.testing.assert_close(recognizer.loss(longer, mask, labels), loss)

    total = torch.zeros(())
    for row, real, spelled in zip(states, MASK, LABELS, strict=True):
        known = spelled[spelled != IGNORED]
        alone = recognizer.loss(row[real][None], real[real][None], known[None])
        total = total + alone * len(known)
    torch.testing.assert_close(total / (LABELS != IGNORED).sum(), loss)


def test_padding_teaches_nothing(recognizer: CtcRecognizer | AttentionRecognizer) -> None:
    states = draw(3, 10, WIDTH).requires_grad_()
    recognizer.loss(states, MASK, LABELS).backward()
    assert states.grad is not None
    assert states.grad[MASK].abs().sum(-1).min() > 0
    assert not states.grad[~MASK].any()


def test_a_text_too_long_for_its_codes_is_no_infinity(ctc: CtcRecognizer) -> None:
    states = draw(1, 2, WIDTH).requires_grad_()
    loss = ctc.loss(states, torch.ones(1, 2).bool(), torch.arange(1, 9)[None])
    loss.backward()
    assert float(loss.detach()) == 0
    assert states.grad is not None
    assert states.grad.isfinite().all()


def test_later_text_is_not_seen(attention: AttentionRecognizer) -> None:
    states = draw(3, 10, WIDTH)
    changed = LABELS.clone()
    changed[:, 2:] = torch.where(changed[:, 2:] == IGNORED, IGNORED, 9)
    logits = attention.logits(states, MASK, LABELS)
    other = attention.logits(states, MASK, changed)
    assert logits.shape == (3, 5, 20)
    torch.testing.assert_close(other[:, :3], logits[:, :3])
    assert not torch.allclose(other[:, 3], logits[:, 3])


def test_every_code_is_heard(attention: AttentionRecognizer) -> None:
    states = draw(1, 10, WIDTH).requires_grad_()
    attention.logits(states, MASK[:1], LABELS[:1])[:, 0].square().sum().backward()
    assert states.grad is not None
    assert states.grad.abs().sum(-1).min() > 0


def test_an_alphabet_without_repeats() -> None:
    with pytest.raises(ConfigError, match="repeats a character: 'abca'"):
        build_recognizer(RecognizerConfig(alphabet="abca"), **SIZES)


@pytest.mark.parametrize(
    ("alphabet", "message"), [("", "alphabet is empty"), ("auto", "auto is for training")]
)
def test_an_alphabet_that_is_none(alphabet: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_recognizer(RecognizerConfig(alphabet=alphabet), **SIZES)


def test_letters_of_any_script_with_or_without_a_space() -> None:
    chinese = build(RecognizerConfig(alphabet="你好世界"))
    assert isinstance(chinese, CtcRecognizer)
    assert chinese.labels("你好，世 界!") == [1, 2, 3, 4]
    mixed = build(RecognizerConfig(alphabet="好 ab"))
    assert isinstance(mixed, CtcRecognizer)
    assert mixed.labels("AB好，b") == [3, 4, 1, 2, 4]


def test_a_text_as_ids(attention: AttentionRecognizer, speller: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="needs a text tokenizer; set text_tokenizer"):
        attention.labels("a b")
    attention.text_tokenizer = speller
    assert attention.labels("b d") == [1, 3, 17]
    assert attention.labels("") == []
    attention.config = replace(attention.config, prefix_ids=(16,))
    assert attention.labels("b d") == [16, 1, 3, 17]
    assert len(attention.labels("a b c d " * 9)) == 12, "no more than there are positions"


@torch.no_grad()
@pytest.mark.parametrize("prefix", [(), (16, 15)])
def test_reading_id_by_id_is_reading_all_at_once(
    attention: AttentionRecognizer, prefix: tuple[int, ...]
) -> None:
    """With keys and values kept, each next id is the best one of the whole text so far."""
    attention.config = replace(attention.config, prefix_ids=prefix)
    states = 3 * draw(3, 10, WIDTH)
    for row, chosen in enumerate(attention.best_ids(states, MASK)):
        ids = [*prefix]
        while len(ids) < 11:
            labels = torch.tensor([[*ids, 0]])
            best = int(attention.logits(states[row, None], MASK[row, None], labels)[0, -1].argmax())
            if best == 17:
                break
            ids.append(best)
        assert chosen == ids[len(prefix) :][: len(chosen)]
        assert len(chosen) == len(ids) - len(prefix) or len(chosen) + len(prefix) == 11


@torch.no_grad()
def test_what_is_read_ends_at_the_end(attention: AttentionRecognizer, speller: Tokenizer) -> None:
    """A decoder that says "b", "d", end, whatever it hears."""
    attention.text_tokenizer = speller
    spoken = iter([1, 3, 17, 5])

    def score(ids: Tensor, *rest: object) -> Tensor:
        return torch.eye(20)[next(spoken)].expand(len(ids), 1, 20)

    attention._score = score  # type: ignore[method-assign]
    assert attention.read(draw(2, 10, WIDTH), MASK[:2]) == ["b d", "b d"]
    assert next(spoken) == 5, "nothing is computed behind the end"


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_joint_loss_is_the_weighted_sum(
    weight: float, ctc: CtcRecognizer, attention: AttentionRecognizer
) -> None:
    joint = JointRecognizer(ctc, attention, weight)
    states, characters = draw(3, 10, WIDTH), LABELS.clamp(min=-100)
    losses = joint.losses(states, MASK, {"labels": characters, "text_ids": LABELS}, None)
    torch.testing.assert_close(losses["ctc_loss"], ctc.loss(states, MASK, characters))
    torch.testing.assert_close(losses["attention_loss"], attention.loss(states, MASK, LABELS))
    expected = weight * losses["ctc_loss"] + (1 - weight) * losses["attention_loss"]
    torch.testing.assert_close(losses["text_loss"], expected)


@pytest.mark.parametrize(("weight", "reads"), [(0.5, "ctc"), (0.4, "attention")])
def test_the_greater_half_reads(weight: float, reads: str, speller: Tokenizer) -> None:
    joint = build(replace(ATTENTION, kind="joint", ctc_weight=weight, upsample=2))
    assert isinstance(joint, JointRecognizer)
    joint.attention.text_tokenizer = speller
    states = 3 * draw(3, 10, WIDTH)
    assert joint.ctc.read(states, MASK) != joint.attention.read(states, MASK)
    assert joint.read(states, MASK) == getattr(joint, reads).read(states, MASK)
    assert joint.targets("b a").keys() == {"labels", "text_ids"}


def test_a_weight_makes_a_text_count_less(
    recognizer: CtcRecognizer | AttentionRecognizer,
) -> None:
    """Half the weight is half the gradient, also of a batch in which every text has it."""
    states = draw(3, 10, WIDTH)
    whole = recognizer.loss(states, MASK, LABELS)
    ones = recognizer.loss(states, MASK, LABELS, torch.ones(3))
    torch.testing.assert_close(ones, whole)
    torch.testing.assert_close(
        recognizer.loss(states, MASK, LABELS, torch.full((3,), 0.5)), 0.5 * whole
    )
    parts = [recognizer.loss(states, MASK, LABELS, torch.eye(3)[n]) for n in range(3)]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)


def test_nothing_to_learn_from_is_no_loss(
    recognizer: CtcRecognizer | AttentionRecognizer,
) -> None:
    """A rank whose batch is all padding must neither stop nor spoil the others."""
    states = draw(2, 10, WIDTH).requires_grad_()
    labels = torch.full((2, 3), IGNORED)
    loss = recognizer.train().loss(states, torch.zeros(2, 10).bool(), labels)
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(w.grad is None or w.grad.isfinite().all() for w in recognizer.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"end_id": 20}, "end_id is 20, outside recognizer.vocab_size 20"),
        ({"prefix_ids": (3, 99)}, r"prefix_ids\[1\] is 99, outside"),
        ({"ctc_weight": 1.5}, r"ctc_weight must be in \[0, 1\], got 1.5"),
    ],
)
def test_ids_outside_the_vocabulary_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(ATTENTION, **settings)
