"""What a run still has to make, what it has made and what it has given up: whoever does the work.

Every event is also a line of ``log.jsonl``, from which ``voiceglm synth status`` tells the speed.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from data_synth.lock import locked
from data_synth.models import check_models
from data_synth.plan import check_source, read_plan
from data_synth.shards import finished, remove_drafts
from voiceglm.errors import SynthesisError

LOG = "log.jsonl"
ATTEMPTS = 3  # of one shard, in one run


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        done: Shards, those of earlier runs included.
        total: Shards.
        codes: Written in this run.
        failed: Why, by shard.
    """

    done: int
    total: int
    codes: int = 0
    failed: dict[int, str] = field(default_factory=dict)


class Ledger:
    """The shards of a run, each of which is made, made again, or given up.

    Args:
        folder: Of the synthesis; the log is kept there.
        waiting: Shards to be made.
        progress: Kept up to date.
        watch: Told of it.
    """

    def __init__(
        self,
        folder: Path,
        waiting: list[int],
        progress: Progress,
        watch: Callable[[Progress], None],
    ) -> None:
        self.progress = progress
        self._folder = folder
        self._waiting = deque(waiting)
        self._attempts: dict[int, int] = {}
        self._watch = watch
        self._fatal: str | None = None

    @property
    def waiting(self) -> int:
        """How many shards nobody is making."""
        return len(self._waiting)

    def begin(self, workers: int) -> None:
        """Note that work begins."""
        self._log(event="run", workers=workers, shards=len(self._waiting))
        self._watch(self.progress)

    def next(self) -> int | None:
        """Return a shard to be made; None if there is none now, or no work is possible."""
        return self._waiting.popleft() if self._waiting and not self._fatal else None

    def note(self, codes: int) -> None:
        """Note that so many more codes are written."""
        self.progress.codes += codes
        self._watch(self.progress)

    def done(self, number: int, seconds: float) -> None:
        """Note a shard that is finished."""
        self.progress.done += 1
        self._log(event="done", shard=number, seconds=seconds)
        self._watch(self.progress)

    def refuse(self, number: int, reason: str, *, is_fatal: bool) -> None:
        """Note a shard that could not be made; if ``is_fatal``, no other can."""
        if not is_fatal:
            self.again(number, reason)
            return
        self._fatal = self._fatal or reason
        self._log(event="stopped", shard=number, reason=reason)

    def again(self, number: int, reason: str) -> None:
        """Have a shard made once more, or give it up."""
        self._attempts[number] = self._attempts.get(number, 0) + 1
        gives_up = self._attempts[number] >= ATTEMPTS
        self._log(event="failed" if gives_up else "again", shard=number, reason=reason)
        if gives_up:
            self.progress.failed[number] = reason
            self._watch(self.progress)
        else:
            self._waiting.append(number)

    def check(self) -> None:
        """Refuse to end as if nothing had happened.

        Raises:
            SynthesisError: If no work was possible.
        """
        if self._fatal:
            raise SynthesisError(
                f"{self._fatal} ({self.progress.done} of {self.progress.total} shards are "
                "finished and stay; run again to go on)"
            )

    def _log(self, **event: object) -> None:
        line = json.dumps({"time": round(time.time(), 3), **event}, ensure_ascii=False)
        path = self._folder / LOG
        # A full disk is noticed where it matters.
        with suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


@contextmanager
def opened(folder: Path, watch: Callable[[Progress], None]) -> Iterator[Ledger]:
    """Keep the folder of a synthesis to oneself, with everything as it was when it was planned.

    Raises:
        ConfigError: If there is no plan, or somebody else is at work in the folder.
        SourceError: If a source is not what it was.
        CheckpointError: If a model is not.
    """
    plan = read_plan(folder)
    with locked(folder):
        for source in plan.sources:
            check_source(source)
        check_models(plan)
        remove_drafts(folder)
        done = set(finished(folder, len(plan.shards)))
        waiting = [number for number in range(len(plan.shards)) if number not in done]
        yield Ledger(folder, waiting, Progress(len(done), len(plan.shards)), watch)
