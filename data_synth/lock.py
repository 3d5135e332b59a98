"""One run at a time in a folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voiceglm.errors import ConfigError, OutputError

LOCK = "lock"
"""The file in a folder by which others are kept out."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep others out of a folder that is written to; a kill lets go of it.

    Raises:
        ConfigError: If somebody else is at work in it.
        OutputError: If it cannot be written.
    """
    try:
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"somebody is at work in {folder} already") from None
        yield
