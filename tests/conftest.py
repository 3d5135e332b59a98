"""What several test files share: where recorded numbers lie, sample files, a full disk, fakes."""

import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shutil import which
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from playwright.sync_api import Page, sync_playwright
from torch import Tensor

from voiceglm.events import AudioDelta, Event, TextDelta, TurnEnd

ROOT = Path(__file__).parent.parent
NANO = ROOT / "voiceglm" / "assets" / "nano"
CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Two test processes on two cores: more threads would only wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture
def phone() -> Iterator[Page]:
    """An empty page of a browser on a telephone."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium.new_page(viewport={"width": 360, "height": 740})
        chromium.close()


@pytest.fixture
def golden_dir() -> Path:
    """The numbers recorded from the reference that are part of this repository."""
    return ROOT / "tests" / "golden"


@pytest.fixture
def shared_golden() -> Path:
    """All the numbers recorded from the reference, where they lie beside the repository."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("the full set of recorded numbers is not beside this checkout")
    return folder


@pytest.fixture
def nano() -> Path:
    """The bundled model's folder."""
    if not (NANO / "language_model").is_dir():
        pytest.skip("the bundled model is not in this checkout")
    return NANO


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A good file: one second of noise at 16 kHz, 16 bit, mono."""
    path = tmp_path / "speech.wav"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000)
    soundfile.write(path, noise, 16_000)
    return path


@pytest.fixture
def full_disk() -> Callable[[], AbstractContextManager[None]]:
    """A context in which no file grows past 200 bytes: the operating system itself refuses."""

    @contextmanager
    def limited() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)

    return limited


class FakeTokenizer:
    """Hears one id per 80 ms and always the same words."""

    num_codes = 64

    def encode(self, samples: Tensor, sample_rate: int) -> list[int]:
        return [
            number % self.num_codes for number in range(-(-len(samples) // (sample_rate // 25 * 2)))
        ]

    def transcribe(self, samples: Tensor, sample_rate: int) -> str:
        return "what is two plus two"


class FakeDecoder:
    """Speaks every id as 80 ms of noise from the generator it is given."""

    num_codes = 64
    sample_rate = 22_050

    def decode(self, ids: list[int], *, generator: torch.Generator | None = None) -> Tensor:
        generator = generator or torch.Generator().manual_seed(0)
        return 0.1 * torch.randn(len(ids) * 1764, generator=generator)

    def check_voice(self, voice: object) -> None:
        """Take any voice."""

    def in_voice(self, voice: object) -> "FakeDecoder":
        """Sound the same in every voice."""
        return self


class FakeChat:
    """Answers everything with four, in three pieces."""

    tokenizer = FakeTokenizer()

    def __init__(self) -> None:
        self.asked: list[Tensor | str] = []

    def reply(
        self, question: Tensor | str, *, sampling: None = None, seed: int = 0
    ) -> Iterator[Event]:
        self.asked.append(question)
        yield TextDelta("It is", (1, 2))
        yield AudioDelta(torch.zeros(0), 22_050)
        yield AudioDelta(torch.full((11_025,), 0.25), 22_050)
        yield TextDelta(" four.", (3,))
        yield AudioDelta(torch.full((11_025,), -0.25), 22_050)
        yield TurnEnd("finished")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Tensor | str]:
    """Stand in for every model a command can load, and return what the chat was asked."""
    chat = FakeChat()

    def load(model: type) -> SimpleNamespace:
        return SimpleNamespace(from_pretrained=lambda name_or_folder: model())

    homes = {
        "voiceglm.pretrained": SimpleNamespace(load_chat=lambda name, **options: chat),
        "tokenizer.model": SimpleNamespace(SpeechTokenizer=load(FakeTokenizer)),
        "decoder.model": SimpleNamespace(SpeechDecoder=load(FakeDecoder)),
    }
    for name, home in homes.items():
        monkeypatch.setitem(sys.modules, name, home)
    return chat.asked
