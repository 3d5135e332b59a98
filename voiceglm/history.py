"""A conversation as ids, utterance by utterance, kept within what the model can read.

When a conversation outgrows the model, its oldest utterances first lose their speech ids (the text
of the replies stays), then go altogether; the system prompt and the newest question stay whole.
That is done down to half of what the model reads, so that its cached keys and values are not given
up at every turn.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

from voiceglm.prompt import Mode, PromptWriter
from voiceglm.style import Style
from voiceglm.vocabulary import Vocabulary


@dataclass(frozen=True)
class Usage:
    """Ids that one reply took."""

    text_in: int = 0
    speech_in: int = 0
    cached_text_in: int = 0
    """Of ``text_in``, those that had been read before."""
    cached_speech_in: int = 0
    text_out: int = 0
    speech_out: int = 0


@dataclass(eq=False)  # two people may say the same
class Utterance:
    """What one side said."""

    speaker: Literal["user", "assistant", "system"]
    ids: list[int] = field(default_factory=list)
    """Of the assistant what it wrote, without the id that ended it; of others from the id that
    opens their turn on."""
    is_forgotten: bool = False
    """For want of room; only its place in the conversation is still known."""

    def style(self, vocabulary: Vocabulary) -> Style:
        """Return how the assistant said it."""
        opening = takewhile(vocabulary.is_style, self.ids)
        return Style.of(map(vocabulary.style_name, opening))

    def cut(self, num_codes: int, vocabulary: Vocabulary) -> None:
        """Keep ids up to the ``num_codes``-th of speech; all of them if there are fewer."""
        places = [n for n, id_ in enumerate(self.ids) if vocabulary.is_speech(id_)]
        if num_codes < len(places):
            del self.ids[places[num_codes - 1] + 1 if num_codes else 0 :]


Kept = list[tuple[Utterance, list[int]]]  # with the ids that would be kept of each


class History:
    """What was said so far.

    Args:
        vocabulary: Tells speech from text.
        writer: Knows how turns are written.
    """

    def __init__(self, vocabulary: Vocabulary, writer: PromptWriter):
        self.instructions = ""
        """What the system prompt says besides, if the model is made to follow it."""
        self._said: list[Utterance] = []
        self._mode: Mode | None = None
        self._vocabulary = vocabulary
        self._writer = writer

    @property
    def utterances(self) -> list[Utterance]:
        """What is not forgotten."""
        return [one for one in self._said if not one.is_forgotten]

    def add(self, utterance: Utterance, mode: Mode, before: Utterance | None = None) -> None:
        """Put an utterance before another, by default at the end.

        Args:
            utterance: New.
            mode: How the user uttered it; the first decides the system prompt.
            before: In this history, even if it is forgotten; what was removed precedes nothing.
        """
        if utterance.speaker == "user":
            self._mode = self._mode or mode
        if before is None or before not in self._said:
            self._said.append(utterance)
        else:
            self._said.insert(self._said.index(before), utterance)

    def remove(self, utterance: Utterance) -> None:
        """Take an utterance out, and its place with it."""
        if utterance in self._said:
            self._said.remove(utterance)

    def ids(self) -> list[int]:
        """Return the whole conversation; nothing if nobody said anything."""
        return self.prompt(None, [(one, one.ids) for one in self.utterances])

    def spoken_so_far(self, codes: Iterable[int]) -> list[int]:
        """Return the conversation up to the middle of a spoken turn."""
        return [
            *(self.ids() or self._writer.opening("speech", self.instructions)),
            *self._writer.begin_speech_turn(codes),
        ]

    def prompt(self, mode: Mode | None, kept: Kept) -> list[int]:
        """Return utterances as the model reads them, with a system prompt of a mode before them."""
        mode = self._mode or mode
        opening = self._writer.opening(mode, self.instructions) if mode else []
        before_reply = self._writer.reply_opening()
        ids = list(opening)
        for one, said in kept:
            ids += [*before_reply, *said] if one.speaker == "assistant" else said
        return ids

    def shortened(self, new: Sequence[Utterance], context_length: int, max_new_ids: int) -> Kept:
        """Say what to keep so that a reply has the room it may take; nothing is changed yet.

        Args:
            new: What is about to be added; it stays whole.
            context_length: The most ids the model reads.
            max_new_ids: Of the reply; a quarter of the context is kept free for it at the most.
        """
        old = [(one, one.ids) for one in self.utterances]
        fresh = [(one, one.ids) for one in new]
        if not fresh:  # the newest question is in the history already
            old, fresh = old[:-1], old[-1:]

        def total() -> int:
            return len(self.prompt("speech", [*old, *fresh, (Utterance("assistant"), [])]))

        target = context_length // 2
        if total() + min(max_new_ids, context_length // 4) <= context_length:
            return [*old, *fresh]
        for place, (one, ids) in enumerate(old):
            if total() <= target:
                break
            old[place] = one, self._without_speech(ids)
        while old and total() > target:
            old.pop(0)
        return [*old, *fresh]

    def keep(self, kept: Kept) -> None:
        """Forget everything else."""
        ids = dict(kept)
        for one in self._said:
            one.is_forgotten = one not in ids
            one.ids = ids.get(one, [])

    def count(self, ids: Iterable[int]) -> tuple[int, int]:
        """Return how many ids are text or special, and how many speech."""
        speech = [self._vocabulary.is_speech(id_) for id_ in ids]
        return len(speech) - sum(speech), sum(speech)

    def _without_speech(self, ids: list[int]) -> list[int]:
        return [id_ for id_ in ids if not self._vocabulary.is_speech(id_)]
