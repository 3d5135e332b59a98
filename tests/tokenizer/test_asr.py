"""Recognizers: spelling and reading, and padding that does not matter."""

import pytest
import torch
from torch import Tensor

from tokenizer.asr import IGNORED, AttentionRecognizer, CtcRecognizer, build_recognizer
from tokenizer.config import RecognizerConfig
from voiceglm.errors import ConfigError

WIDTH = 8
SIZES = {"width": WIDTH, "num_heads": 2, "feedforward_width": 16}
ATTENTION = RecognizerConfig(
    kind="attention", num_layers=2, vocab_size=20, max_text_ids=12, start_id=19, pad_id=18
)
MASK = torch.arange(10) < torch.tensor([[10], [6], [8]])
LABELS = torch.tensor([[3, 1, 4, 1, 5], [2, 6, 6, IGNORED, IGNORED], [7, 8, 2, 8, IGNORED]])


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(config: RecognizerConfig) -> CtcRecognizer | AttentionRecognizer:
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
