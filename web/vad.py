"""How likely it is that somebody speaks: Silero's network, out of its wheel.

The package itself is not imported, because that sets torch to one thread for the whole process. Its
network takes and returns its memory, so one network serves every session.
"""

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from voiceglm.errors import DependencyError

WINDOW = 512  # samples at 16 kHz that are judged at once
WINDOW_MS = 32
_CONTEXT = 64  # samples before a window that are looked at again


@dataclass(frozen=True)
class VadState:
    """What is remembered of one stream."""

    memory: Tensor  # (2, 1, 128), hidden and cell
    context: Tensor  # (_CONTEXT,), the newest samples


class SileroVad:
    """Judges windows of 32 ms.

    Raises:
        DependencyError: If the package silero-vad is not installed.
    """

    def __init__(self) -> None:
        self._network = _network()

    def start(self) -> VadState:
        """Return the state before the first window: silence."""
        return VadState(torch.zeros(2, 1, 128), torch.zeros(_CONTEXT))

    @torch.inference_mode()
    def step(self, window: Tensor, state: VadState) -> tuple[float, VadState]:
        """Return how likely (512,) samples at 16 kHz hold speech, 0 to 1."""
        heard = torch.cat([state.context, window])
        probability, memory = self._network(heard[None], state.memory)
        return float(probability), VadState(memory, heard[-_CONTEXT:])


@cache
def _network() -> torch.jit.ScriptModule:
    found = find_spec("silero_vad")
    if found is None or found.origin is None:
        raise DependencyError("the voice detector needs silero-vad: pip install silero-vad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to drop this format; the wheel has no other
        path = Path(found.origin).parent / "data" / "silero_vad.jit"
        whole = torch.jit.load(str(path), map_location="cpu").eval()
    return whole._model  # of 16 kHz; the outer module keeps the memory to itself
