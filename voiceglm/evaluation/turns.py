"""Table ``turns``: whether the chat goes on rightly, with what was said before in mind."""

from collections.abc import Iterable, Sequence
from typing import Any

from tqdm import tqdm

from data_synth.world import world
from voiceglm.errors import AudioError, ConfigError
from voiceglm.evaluate import RATE, is_right, written_reply
from voiceglm.evaluation import nano_world
from voiceglm.evaluation.subject import Subject
from voiceglm.evaluation.tables import Figure, Row, Table, ratio, without_errors
from voiceglm.manifest import Utterance, read_samples
from voiceglm.scripts import nearest

NAME = "turns"
MEMORY, UNTOLD, FOLLOW_UP, STYLE = "memory", "memory of nothing", "follow-up", "style"
"""Asked for what was told; asked for what was not; a question that refers to the one before; a
wish for a style, which is confirmed."""
BACK = "memory and follow-ups"
"""All that cannot be answered without the turns before."""
_OTHER = "any other"


def right(kind: str) -> str:
    """Return what the share of right replies of a kind of turn is called."""
    return f"right replies, {kind}"


def measure(subject: Subject) -> Table:
    """Hold the nano world's held-out conversations, language by language.

    Raises:
        ConfigError: If a manifest of the run is damaged.
        DependencyError: If there are no recordings and the synthesizer is not installed.
        OutputError: If rows cannot be written.
    """
    figures, skipped = list[Figure](), []
    for language, name in nano_world.CONVERSATIONS.items():
        talks = nano_world.conversations(subject, language)
        rows = [
            row
            for talk in tqdm(talks, desc=name, unit="conversation")
            for row in _hold(subject, talk)
        ]
        subject.keep(NAME, name, rows)
        good = without_errors(rows, name, skipped, what="turns cannot be asked")
        figures += _figures(name, good)
    return Table(
        name=NAME,
        title="Conversations of several turns",
        protocol=[
            f"{nano_world.TURNS} turns each, one behind the other; a conversation goes on behind a"
            " wrong reply. A reply is right if its text is the one right answer, case and"
            " punctuation aside.",
            "Memory: what was told before in the conversation is asked for (memory of nothing: it"
            " was not told). Follow-up: the skill of the turn before, in words that mean nothing"
            " alone. Style: a wish is confirmed; how it sounds is the table style.",
        ],
        figures=figures,
        skipped=skipped,
    )


def kind_of(turn: Utterance, before: Utterance | None) -> str:
    """Say what a turn asks of a conversation.

    Args:
        turn: With ``skill``, ``wording`` and ``answer``.
        before: The turn before it, if there is one.
    """
    skill, language = turn.extra["skill"], turn.language
    known = world(nearest(language))
    if skill == "memory":
        unknown = {thing["unknown"] for thing in known.memory.values()}
        return UNTOLD if turn.extra["answer"] in unknown else MEMORY
    if skill == "style":
        return STYLE
    same = before is not None and before.language == language and before.extra["skill"] == skill
    if same and skill in known.skills:
        own = turn.extra["wording"] in known.skills[skill].wordings()
        return _OTHER if own else FOLLOW_UP
    return _OTHER


def _hold(subject: Subject, talk: Sequence[Utterance]) -> Iterable[Row]:
    chat, before = subject.open_chat(), None
    for number, turn in enumerate(talk, 1):
        row: dict[str, Any] = {
            "dialogue": turn.dialogue,
            "turn": number,
            "kind": kind_of(turn, before),
            "skill": turn.extra["skill"],
            "speaker": turn.speaker,
            "question": turn.text,
            "answer": turn.extra["answer"],
        }
        try:
            samples = read_samples(turn, RATE)
            reply = written_reply(chat, samples, seed=subject.settings.seed)
            yield {**row, "reply": reply, "right": is_right(reply, turn)}
        except (AudioError, ConfigError) as error:
            yield {**row, "error": str(error)}
        before = turn


def _figures(name: str, rows: Sequence[Row]) -> Iterable[Figure]:
    yield ratio(name, "right replies", [float(row["right"]) for row in rows])
    back = [float(row["right"]) for row in rows if row["kind"] in (MEMORY, FOLLOW_UP)]
    if back:
        yield ratio(name, right(BACK), back)
    for field, values in (
        ("kind", (MEMORY, FOLLOW_UP, STYLE, UNTOLD, _OTHER)),
        ("turn", range(1, nano_world.TURNS + 1)),
    ):
        for value in values:
            found = [float(row["right"]) for row in rows if row[field] == value]
            title = value if field == "kind" else f"turn {value}"
            if found:
                yield ratio(name, right(str(title)), found)
