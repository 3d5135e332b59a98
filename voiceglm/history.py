"""A conversation as ids, turn by turn, kept within what the model can read.

When a conversation outgrows the model, its oldest turns first lose their speech ids (the text of
the replies stays), then go altogether; the system prompt and the newest question stay whole. That
is done down to half of what the model reads, so that its cached keys and values are not given up
at every turn.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from voiceglm.prompt import Mode, PromptWriter
from voiceglm.vocabulary import Vocabulary


@dataclass
class Turn:
    """One utterance of the user and the reply to it."""

    prompt: list[int]  # up to where the reply begins
    reply: list[int] = field(default_factory=list)  # without the id that ended it

    def cut(self, num_codes: int, vocabulary: Vocabulary) -> None:
        """Keep the reply up to its ``num_codes``-th speech id; all of it if it has fewer."""
        places = [n for n, id_ in enumerate(self.reply) if vocabulary.is_speech(id_)]
        if num_codes < len(places):
            del self.reply[places[num_codes - 1] + 1 if num_codes else 0 :]

    def __len__(self) -> int:
        """Count the ids."""
        return len(self.prompt) + len(self.reply)


class History:
    """What was said so far.

    Args:
        vocabulary: Tells speech from text.
        writer: Knows how turns are written.
    """

    def __init__(self, vocabulary: Vocabulary, writer: PromptWriter):
        self.opening: list[int] = []
        self.turns: list[Turn] = []
        self._vocabulary = vocabulary
        self._writer = writer

    @property
    def last(self) -> Turn:
        """The newest turn."""
        return self.turns[-1]

    def ids(self) -> list[int]:
        """Return the whole conversation."""
        turns = (ids for turn in self.turns for ids in (turn.prompt, turn.reply))
        return [*self.opening, *(id_ for ids in turns for id_ in ids)]

    def copy(self) -> "History":
        """Return a history of its own."""
        new = History(self._vocabulary, self._writer)
        new.opening = list(self.opening)
        new.turns = [Turn(list(turn.prompt), list(turn.reply)) for turn in self.turns]
        return new

    def ask(self, mode: Mode, turn: list[int]) -> None:
        """Add a turn of the user; the mode of the first decides the system prompt."""
        self.opening = self.opening or self._writer.opening(mode)
        self.turns.append(Turn(turn))

    def spoken_so_far(self, codes: Iterable[int]) -> list[int]:
        """Return the conversation up to the middle of a spoken turn."""
        opening = [] if self.opening else self._writer.opening("speech")
        return [*opening, *self.ids(), *self._writer.begin_speech_turn(codes)]

    def shorten(self, context_length: int, max_new_ids: int) -> None:
        """Forget old turns if the reply would not have the room it may take.

        Args:
            context_length: The most ids the model reads.
            max_new_ids: Of the reply; a quarter of the context is kept free for it at the most.
        """
        total, target = len(self.ids()), context_length // 2
        if total + min(max_new_ids, context_length // 4) <= context_length:
            return
        for turn in self.turns[:-1]:
            if total <= target:
                return
            before = len(turn)
            turn.prompt = self._without_speech(turn.prompt)
            turn.reply = self._without_speech(turn.reply)
            total -= before - len(turn)
        while total > target and len(self.turns) > 1:
            total -= len(self.turns.pop(0))

    def _without_speech(self, ids: list[int]) -> list[int]:
        return [id_ for id_ in ids if not self._vocabulary.is_speech(id_)]
