"""Playing speech through the loudspeaker, with whatever program can."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from torch import Tensor

from voiceglm.audio import save_audio
from voiceglm.errors import AudioError

PLAYERS = {  # program: what it is told before the file's name
    "aplay": ("-q",),
    "ffplay": ("-nodisp", "-autoexit", "-loglevel", "error"),
    "afplay": (),
}


def find_player() -> list[str] | None:
    """Return the beginning of a command line that plays a file; None if no program can."""
    found = ((shutil.which(name), arguments) for name, arguments in PLAYERS.items())
    return next(([path, *arguments] for path, arguments in found if path), None)


def play(samples: Tensor, sample_rate: int, player: list[str]) -> None:
    """Play (num_samples,) to the end.

    Args:
        samples: In [-1, 1].
        sample_rate: In hertz.
        player: What :func:`find_player` returned.

    Raises:
        AudioError: If the player fails, for example without a sound card.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "span.wav"
        save_audio(path, samples, sample_rate)
        command = [*player, str(path)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[0] if said else f"status {done.returncode}"
        raise AudioError(f"{Path(player[0]).name} cannot play: {reason}")
