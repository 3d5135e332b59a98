"""The samples as two pages: conversations, and what the decoder does to speech.

A page shows texts and figures and plays the files beside it; it has no script and loads nothing
from elsewhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import fmean

from data_synth.page_tree import Node, data_uri, node, page_bytes
from data_synth.spectrogram import spectrogram_png
from decoder.voice import DEFAULT
from voiceglm.error_rate import character_errors
from voiceglm.evaluation.sound import MEASURES
from voiceglm.samples.comparison import DECODED, ORIGINAL, SHOWN, VOCODED, Comparison
from voiceglm.samples.conversations import Played, Reply, answers

INDEX, DECODER = "index.html", "decoder.html"

_PAIRS = ((VOCODED, ORIGINAL), (DECODED, ORIGINAL), (DECODED, VOCODED))
_WAYS = {
    ORIGINAL: "original",
    VOCODED: "vocoder, fed with the original's mel",
    DECODED: "codes, flow and vocoder",
}
_UNITS = {measure.name: measure.unit for measure in MEASURES}


@dataclass(frozen=True)
class About:
    """Where the samples come from."""

    model: str
    digest: str  # of the model's files
    commit: str
    command: str
    seed: int
    date: str  # ISO 8601


def question_file(played: Played, turn: int) -> str:
    """Return where a question's recording lies, beside the pages."""
    return f"audio/{played.scene.name}_{turn + 1}_question.ogg"


def reply_file(played: Played, turn: int) -> str:
    """Return where a reply's recording lies, beside the pages."""
    return f"audio/{played.scene.name}_{turn + 1}_reply.ogg"


def comparison_file(one: Comparison, way: str) -> str:
    """Return where a sentence made in one way lies, beside the pages."""
    return f"decoder/{one.name}_{way}.ogg"


def conversations_page(about: About, played: Sequence[Played]) -> bytes:
    """Return the page of the conversations, UTF-8."""
    asked = answers(played)
    right = sum(reply.is_right for reply in asked)
    intro = [
        "Every question is in a voice, and in words, that the model never met in training. Which"
        f" are shown was drawn by a seed ({about.seed}), not picked; what went wrong stands here"
        " too. A reply is as expected if its text is the one right reply, case and punctuation"
        f" aside: {right} of {len(asked)} are. If the model chose another style than was asked"
        " for, it says which; whether it sounds so is for you to hear."
    ]
    other = node("p", "See also ", node("a", "what the decoder does to speech", href=DECODER), ".")
    body = [
        _header("Conversations", intro, about, other),
        *(_scene(one) for one in played),
    ]
    return page_bytes(_template(), body)


def decoder_page(about: About, comparisons: Sequence[Comparison]) -> bytes:
    """Return the page of the decoder, UTF-8."""
    intro = [
        "Sentences that nobody read in training, in the assistants' own voices. Original: the"
        " synthesizer that the voices come from. Vocoder: the original's mel spectrogram made"
        " sound again, which is the most that the vocoder can do. Codes: 12.5 numbers a second,"
        " made a mel spectrogram by the flow and sound by the vocoder, as in every reply.",
        f"Drawn by a seed ({about.seed}), not picked. Log-spectral distance: root mean square"
        " over frequencies, a mean over time. Pitch error: the median distance where both are"
        " voiced.",
    ]
    other = node("p", "See also ", node("a", "conversations", href=INDEX), ".")
    body = [
        _header("Original, vocoded, decoded", intro, about, other),
        _means(comparisons),
        *(_comparison(one) for one in comparisons),
    ]
    return page_bytes(_template(), body)


def _template() -> str:
    return (files("voiceglm.samples") / "page.html").read_text(encoding="utf-8")


def _header(title: str, intro: Iterable[str], about: About, other: Node) -> Node:
    facts = {
        "model": f"{about.model}, files {about.digest}",
        "commit": f"{about.commit}, {about.date}",
    }
    listed = [node(tag, text) for name, fact in facts.items() for tag, text in _fact(name, fact)]
    command = [node("dt", "command"), node("dd", node("code", about.command))]
    return node(
        "header",
        node("h1", title),
        *(node("p", text) for text in intro),
        other,
        node("dl", *listed, *command, kind="facts"),
    )


def _fact(name: str, fact: str) -> Iterable[tuple[str, str]]:
    return ("dt", name), ("dd", fact)


def _scene(played: Played) -> Node:
    scene = played.scene
    notes = [] if not scene.credit else [node("p", f"Recording: {scene.credit}.", kind="faint")]
    turns = [_turn(played, number, reply) for number, reply in enumerate(played.replies)]
    return node("article", node("h2", scene.title), *notes, *turns, id=scene.name)


def _turn(played: Played, number: int, reply: Reply) -> Node:
    said, scene = reply.said, played.scene
    user = "a person" if scene.credit else f"the user, {said.speaker} of espeak-ng"
    assistant = "the assistant" if scene.voice == DEFAULT else f"the assistant, {scene.voice}"
    if said.style:
        assistant += f", asked for {', '.join(said.style)}"
    asked = _side(user, said.text, said.language, question_file(played, number))
    asked.set("class", "side asked")
    text = reply.text or "(nothing)"
    answered = _side(assistant, text, said.language, reply_file(played, number))
    answered.append(_misheard(reply) if scene.is_reading else _verdict(reply))
    return node("div", asked, answered, kind="turn")


def _side(who: str, text: str, language: str, file: str) -> Node:
    return node(
        "section",
        node("span", who, kind="who"),
        node("p", text, lang=language),
        _player(file),
        kind="side",
    )


def _player(file: str) -> Node:
    return node("audio", controls="", preload="metadata", src=file)


def _verdict(reply: Reply) -> Node:
    text = "as expected" if reply.is_right else f"expected: {reply.said.answer}"
    if not reply.is_in_style:
        text += f" (style: {', '.join(reply.style) or 'none'})"
    kind = "right" if reply.is_right and reply.is_in_style else "wrong"
    return node("p", text, kind=f"verdict {kind}", lang=reply.said.language)


def _misheard(reply: Reply) -> Node:
    row = {"said": reply.said.text, "heard": reply.text}
    errors = character_errors([row], language=reply.said.language)
    return node("p", f"{errors.percent:.0f} % of the characters misheard", kind="verdict")


def _comparison(one: Comparison) -> Node:
    ways = [_way(one, way) for way in _WAYS]
    return node(
        "article",
        node("h2", one.text, lang=one.language),
        node("p", one.assistant, kind="faint"),
        node("div", *ways, kind="ways"),
        id=one.name,
    )


def _way(one: Comparison, way: str) -> Node:
    picture = data_uri("image/png", spectrogram_png(one.sounds[way], one.sample_rate))
    lines = [
        node("div", f"to the {_WAYS[target].partition(',')[0]}: {_figures(found)}")
        for (made, target), found in one.figures.items()
        if made == way
    ]
    return node(
        "figure",
        node("img", alt=f"log-mel spectrogram, {way}", src=picture),
        _player(comparison_file(one, way)),
        node("figcaption", node("strong", _WAYS[way]), *lines),
    )


def _figures(found: Mapping[str, float | None]) -> str:
    return ", ".join(_figure(name, found[name]) for name in SHOWN)


def _figure(name: str, value: float | None) -> str:
    return f"{name} not known" if value is None else f"{value:.2f} {_UNITS[name]}"


def _means(comparisons: Sequence[Comparison]) -> Node:
    """Return a table of means: a line for each assistant and language, a column for each pair."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for one in comparisons:
        groups.setdefault((one.assistant, one.language), []).append(one)
    names = [f"{made} to {target}, {name}" for made, target in _PAIRS for name in SHOWN]
    head = node("tr", *(node("th", name) for name in ("mean", *names)))
    rows = [
        node("tr", *(node("td", cell) for cell in (f"{assistant}, {language}", *_cells(group))))
        for (assistant, language), group in groups.items()
    ]
    return node("div", node("table", head, *rows), kind="wide")


def _cells(group: Sequence[Comparison]) -> Iterable[str]:
    for pair in _PAIRS:
        for name in SHOWN:
            values = [one.figures[pair][name] for one in group]
            known = [value for value in values if value is not None]
            yield _figure(name, fmean(known) if known else None)
