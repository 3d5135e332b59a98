"""A batch says what each prompt says alone; rooms, ends and illegal ids are respected."""

import pytest
import torch

from data_synth.batch_lm import Choice
from data_synth.local_lm import LocalEngine
from data_synth.models import speech_ids
from tests.data_synth.tiny import SIZE, WORDS
from voiceglm.errors import ConfigError
from voiceglm.language_model import VoiceLM
from voiceglm.text_tokenizer import train_text_tokenizer

TEXTS = train_text_tokenizer([" ".join(WORDS)] * 20, 300)
MODEL = VoiceLM.new(SIZE, TEXTS, num_codes=20, seed=3)
PROMPTS = [MODEL.writer.speaking_prompt(" ".join(WORDS[: n % 9 + 1])) for n in range(23)]
END = MODEL.vocabulary.end_of_audio


def engine(**choice: object) -> LocalEngine:
    settings = Choice(**{"batch_size": 8, **choice})  # type: ignore[arg-type]
    return LocalEngine(MODEL.network, speech_ids(MODEL.vocabulary), END, settings)


@pytest.mark.parametrize("batch_size", [1, 2, 8, 64])
def test_batch_equals_single(batch_size: int) -> None:
    rooms = [70 + n for n in range(len(PROMPTS))]
    single = engine(temperature=0.0)
    alone = [single.generate([PROMPTS[n]], [rooms[n]], 0)[0] for n in range(len(PROMPTS))]
    together = engine(temperature=0.0, batch_size=batch_size).generate(PROMPTS, rooms, 0)
    assert together == alone


def test_it_is_what_the_model_itself_says() -> None:
    legal = torch.tensor(sorted(speech_ids(MODEL.vocabulary)))
    (found,) = engine(temperature=0.0).generate(PROMPTS[:1], [30], 0)
    ids = list(PROMPTS[0])
    with torch.inference_mode():
        for expected in found:
            logits = MODEL.network(torch.tensor([ids])).logits[0, -1]
            assert int(legal[logits[legal].argmax()]) == expected
            ids.append(expected)


def test_the_same_seed_says_the_same() -> None:
    rooms = [40] * len(PROMPTS)
    first = engine(temperature=1.0, top_p=1.0).generate(PROMPTS, rooms, 5)
    assert engine(temperature=1.0, top_p=1.0).generate(PROMPTS, rooms, 5) == first
    assert engine(temperature=1.0, top_p=1.0).generate(PROMPTS, rooms, 6) != first
    assert any(ids[-1] == END for ids in first), "some come to an end"
    for ids, room in zip(first, rooms, strict=True):
        assert 1 <= len(ids) <= room
        assert len(ids) == room or ids[-1] == END
        assert END not in ids[:-1]
        assert set(ids) <= set(speech_ids(MODEL.vocabulary))


def test_draws_follow_the_odds() -> None:
    prompts = [PROMPTS[0]] * 4_000
    found = engine(temperature=1.0, top_p=1.0, top_k=21, batch_size=4_000).generate(
        prompts, [1] * 4_000, 1
    )
    legal = sorted(speech_ids(MODEL.vocabulary))
    with torch.inference_mode():
        logits = MODEL.network(torch.tensor([PROMPTS[0]])).logits[0, -1]
    odds = logits[torch.tensor(legal)].softmax(0)
    counts = torch.tensor([sum(ids == [id_] for ids in found) for id_ in legal])
    assert (counts / 4_000 - odds).abs().max() < 0.025
    best = engine(temperature=1.0, top_k=3).generate(prompts[:500], [1] * 500, 1)
    assert len({ids[0] for ids in best}) == 3


@pytest.mark.parametrize("bad", [[], [-1], [10**9]])
def test_bad_prompts_are_refused(bad: list[int]) -> None:
    with pytest.raises(ConfigError, match="a prompt needs ids"):
        engine().generate([PROMPTS[0], bad], [5, 5], 0)


@pytest.mark.parametrize(
    "changes", [{"temperature": -1}, {"top_p": 0}, {"top_k": 0}, {"batch_size": 0}]
)
def test_impossible_choices(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="choice"):
        Choice(**changes)  # type: ignore[arg-type]
