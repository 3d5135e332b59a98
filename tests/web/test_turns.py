"""Voice activity to turns: when they open, when they close, and what is none."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from tests.web.conftest import QUESTION
from voiceglm.audio import load_audio
from web.codec import PCM
from web.ear import Ear, EarEvent, Heard, Turned
from web.turns import Change, Patience, TurnDetection, TurnDetector
from web.vad import WINDOW, WINDOW_MS, SileroVad, VadState

SOUNDS = sorted((Path(__file__).parent / "sounds").glob("*.flac"))


def judge(
    probabilities: list[float],
    *,
    talking: bool = False,
    settings: TurnDetection | None = None,
) -> dict[int, Change]:
    """Return what each window changed."""
    detector = TurnDetector(settings or TurnDetection(), Patience())
    changes = [detector.push(value, talking=talking) for value in probabilities]
    return {n: change for n, change in enumerate(changes) if change}


def test_a_turn_opens_after_a_little_speech_and_closes_after_a_silence() -> None:
    changes = judge([0.0] * 3 + [0.9] * 20 + [0.0] * 40)
    assert changes == {3: Change.SUSPECTED, 7: Change.STARTED, 38: Change.STOPPED}
    assert Patience().min_speech_ms == 5 * WINDOW_MS
    assert 16 * WINDOW_MS >= TurnDetection().silence_ms > 15 * WINDOW_MS


def test_a_pause_within_a_sentence_does_not_end_it() -> None:
    assert Change.STOPPED not in judge([0.9] * 10 + [0.1] * 15 + [0.9] * 10).values()


def test_interrupting_takes_longer_than_beginning() -> None:
    said = [0.9] * 5 + [0.0] * 10
    assert judge(said)[4] is Change.STARTED
    assert judge(said, talking=True) == {0: Change.SUSPECTED, 7: Change.REFUTED}
    assert judge([0.9] * 6, talking=True)[5] is Change.STARTED


def test_weak_speech_keeps_a_turn_open_and_opens_none() -> None:
    assert judge([0.4] * 30) == {}
    assert Change.STOPPED not in judge([0.9] * 6 + [0.4] * 40).values()
    assert Change.STARTED not in judge([0.9] + [0.4] * 3 + [0.0] * 4).values()


def test_what_never_becomes_clear_is_no_turn() -> None:
    changes = judge([0.9] + [0.4] * 60, talking=True)
    assert list(changes.values()) == [Change.SUSPECTED, Change.REFUTED]


@pytest.mark.parametrize("threshold", [0.0, 0.1, 1.0])
def test_any_threshold_lets_a_turn_end(threshold: float) -> None:
    changes = judge([1.0] * 20 + [0.0] * 60, settings=TurnDetection(threshold=threshold))
    assert list(changes.values())[-2:] == [Change.STARTED, Change.STOPPED]


@pytest.mark.parametrize(("eagerness", "silence"), [("high", 300), ("auto", 600), ("low", 1_000)])
def test_eagerness_is_a_silence(eagerness: str, silence: int) -> None:
    settings = TurnDetection(type="semantic_vad", eagerness=eagerness)
    changes = judge([0.9] * 10 + [0.0] * 60, settings=settings)
    stopped = next(n for n, change in changes.items() if change is Change.STOPPED)
    assert abs((stopped - 9) * WINDOW_MS - silence) < WINDOW_MS


@pytest.mark.parametrize("seed", range(20))
def test_changes_come_in_order(seed: int) -> None:
    rng = random.Random(seed)
    detector = TurnDetector(TurnDetection(silence_duration_ms=96), Patience())
    last = Change.REFUTED
    after = {
        Change.SUSPECTED: (Change.REFUTED, Change.STOPPED),
        Change.REFUTED: (Change.SUSPECTED,),
        Change.STARTED: (Change.SUSPECTED,),
        Change.STOPPED: (Change.STARTED,),
    }
    for _ in range(400):
        change = detector.push(rng.choice((0.0, 0.4, 0.9, 0.9)), talking=rng.random() < 0.3)
        if change:
            assert last in after[change]
            last = change


def hear(
    samples: Tensor, *, talking: bool = False, seed: int | None = None, padding_ms: int = 300
) -> list[EarEvent]:
    """Have an ear hear 16 kHz samples as 24 kHz PCM, cut anywhere."""
    from voiceglm.audio import resample

    ear = Ear(SileroVad(), Patience())
    ear.configure(PCM, TurnDetection(prefix_padding_ms=padding_ms))
    data = PCM.write(resample(samples, 16_000, 24_000).numpy())
    rng, events, start = random.Random(seed), [], 0
    while start < len(data):
        size = len(data) if seed is None else 2 * rng.randrange(1, 8_000)
        events += ear.push(data[start : start + size], talking=talking)
        start += size
    return events


@pytest.mark.parametrize("path", SOUNDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("talking", [False, True], ids=["idle", "talking"])
def test_noise_is_no_turn_and_a_murmur_no_interruption(path: Path, talking: bool) -> None:
    if path.stem == "mm_hmm" and not talking:
        pytest.skip("said into silence it may well be an answer")
    changes = [e.change for e in hear(load_audio(path), talking=talking) if isinstance(e, Turned)]
    assert Change.STARTED not in changes


def test_a_kitchen_is_no_turn() -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "noise" / "picovoice_kitchen.flac"
    if not path.is_file():
        pytest.skip("the recordings are not beside this checkout")
    samples, rate = soundfile.read(path, dtype="float32", frames=60 * 16_000)
    assert rate == 16_000
    changes = [e.change for e in hear(torch.from_numpy(samples)) if isinstance(e, Turned)]
    assert Change.STARTED not in changes


@pytest.mark.parametrize("seed", range(3))
def test_a_question_is_one_turn_however_it_is_cut(seed: int) -> None:
    speech = torch.cat([torch.zeros(8_000), load_audio(QUESTION), torch.zeros(16_000)])
    whole, cut = hear(speech), hear(speech, seed=seed)
    turned = [event for event in whole if isinstance(event, Turned)]
    assert [e.change for e in turned] == [Change.SUSPECTED, Change.STARTED, Change.STOPPED]
    assert 200 <= turned[1].at_ms <= 500, "half a second of silence, less the padding"
    assert [event for event in cut if isinstance(event, Turned)] == turned
    sounds = [torch.cat([e.samples for e in each if isinstance(e, Heard)]) for each in (whole, cut)]
    torch.testing.assert_close(sounds[0], sounds[1])
    expected = turned[2].at_ms - turned[1].at_ms
    assert len(sounds[0]) == expected * 16, "everything from the padding to the silence, once"


def test_the_padding_is_what_was_asked_for() -> None:
    speech = torch.cat([torch.zeros(16_000), load_audio(QUESTION), torch.zeros(16_000)])
    starts = []
    for padding in (0, 320, 640):
        events = hear(speech, padding_ms=padding)
        starts.append(
            next(e.at_ms for e in events if isinstance(e, Turned) and e.change is Change.STARTED)
        )
    assert np.diff(starts).tolist() == [-320, -320]


def test_without_detection_everything_belongs_to_the_turn() -> None:
    ear = Ear(SileroVad(), Patience())
    ear.configure(PCM, None)
    data = PCM.write(torch.rand(24_000).numpy())
    events = [*ear.push(data, talking=False), *ear.flush()]
    assert all(isinstance(event, Heard) for event in events)
    num_samples = sum(len(event.samples) for event in events if isinstance(event, Heard))
    assert 15_500 < num_samples <= 16_000, "but for what the resampler holds"


class Scripted(SileroVad):
    """Says what it is told."""

    def __init__(self, probabilities: list[float]):
        self.left = list(probabilities)

    def step(self, window: Tensor, state: VadState) -> tuple[float, VadState]:
        return self.left.pop(0), state


def test_a_turn_that_the_client_ends_is_forgotten() -> None:
    ear = Ear(Scripted([0.9] * 10 + [0.0] * 50), Patience())
    ear.configure(PCM, replace(TurnDetection(), prefix_padding_ms=0))
    window = PCM.write(np.zeros(WINDOW * 3 // 2, dtype=np.float32))
    events = [event for _ in range(11) for event in ear.push(window, talking=False)]
    assert any(isinstance(e, Turned) and e.change is Change.STARTED for e in events)
    ear.forget()
    later = [event for _ in range(40) for event in ear.push(window, talking=False)]
    assert later == []


def test_the_detector_is_the_package_s_own() -> None:
    """Window by window, beside the wheel's whole model, which keeps its memory to itself."""
    from importlib.util import find_spec

    found = find_spec("silero_vad")
    assert found is not None
    assert found.origin is not None
    threads = torch.get_num_threads()
    whole = torch.jit.load(Path(found.origin).parent / "data" / "silero_vad.jit")
    vad = SileroVad()
    state, speech = vad.start(), load_audio(QUESTION)
    probabilities = []
    for window in speech[: len(speech) // WINDOW * WINDOW].split(WINDOW):
        probability, state = vad.step(window, state)
        probabilities.append(probability)
        with torch.inference_mode():
            expected = float(whole(window, 16_000))
        assert abs(probability - expected) < 1e-5
    assert max(probabilities) > 0.9
    assert torch.get_num_threads() == threads
