"""Samples of a corpus as one page that needs nothing else: to read, to hear and to look at.

Documents are anybody's text. Each becomes the text of an element or the value of an attribute of a
tree, which is written with all of it escaped; the page has no script, and tells the browser so.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any
from xml.etree import ElementTree

from data_synth.preview import Sample, Span
from data_synth.preview_sound import Heard, Sound
from data_synth.spectrogram import spectrogram_png
from voiceglm.audio import wav_bytes
from voiceglm.error_rate import readable_errors

_TEMPLATE = "preview.html"
Node = ElementTree.Element


@dataclass(frozen=True)
class Preview:
    """Everything a page shows.

    Attributes:
        title: Of the page.
        statistics: As of :meth:`data_synth.statistics.Status.to_json`.
        samples: In order.
        heard: Of their spans.
        max_error: Share of a span's characters; more that are wrong stand out.
    """

    title: str
    statistics: Mapping[str, Any]
    samples: Sequence[Sample]
    heard: Heard
    max_error: float


def page(preview: Preview) -> bytes:
    """Return the page, UTF-8."""
    body = [_header(preview), *(_sample(sample, preview) for sample in preview.samples)]
    written = "\n".join(ElementTree.tostring(node, "unicode", method="html") for node in body)
    template = (files("data_synth") / _TEMPLATE).read_text(encoding="utf-8")
    return Template(template).substitute(body=written).encode("utf-8", "replace")


def _header(preview: Preview) -> Node:
    figures = [
        _node("div", _node("dt", name), _node("dd", value))
        for name, value in _figures(preview.statistics)
    ]
    return _node(
        "header",
        _node("h1", preview.title),
        _node("p", f"{len(preview.samples)} rows, drawn at random", kind="faint"),
        _node("dl", *figures, kind="figures"),
        *(_node("p", note, kind="note") for note in preview.heard.notes),
    )


def _figures(found: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    counts = found["counts"]
    yield "shards finished", f"{found['shards']:,} of {found['total']:,}"
    yield "rows", f"{counts.get('rows', 0):,}"
    yield "share of speech", _percent(found["speech_share_percent"])
    yield "codes per span", _known(found["codes_per_span"])
    yield "spans", f"{counts.get('spans', 0):,}"
    yield "of them left as text", f"{counts.get('spans_left_text', 0):,}"
    yield "misread characters", _percent(found["character_error_percent"])
    reasons = [f"{count:,} {reason}" for reason, count in found["left_out"].items()]
    yield "documents left out", ", ".join(reasons) or "none"


def _sample(sample: Sample, preview: Preview) -> Node:
    part = f", part {sample.part + 1}" if sample.part else ""
    share = f"{sample.language}, {100 * sample.speech_share:.1f} % speech"
    text = [piece if isinstance(piece, str) else _marked(piece) for piece in sample.pieces]
    return _node(
        "article",
        _node("h2", f"{sample.id}{part}"),
        _node("p", share, kind="faint"),
        _node("p", *text, kind="text", lang=sample.language),
        *(_span(span, preview) for span in sample.spans),
    )


def _marked(span: Span) -> Node:
    number = _node("sup", str(span.number + 1))
    return _node("mark", _node("a", span_text(span), number, href=f"#span-{span.number + 1}"))


def span_text(span: Span) -> str:
    """Return what is shown in the place of a span."""
    return span.text if span.text is not None else f"({span.missing})"


def _span(span: Span, preview: Preview) -> Node:
    number, heard = span.number + 1, preview.heard
    seconds = f"{len(span.codes) / heard.code_rate:.2f} s, {len(span.codes)} codes"
    sound = heard.sounds.get(span.number)
    words = [
        _node(name, value, kind=kind)
        for label, text, kind in _words(span, preview)
        for name, value in (("dt", label), ("dd", text))
    ]
    return _node(
        "section",
        _node(
            "figure",
            _node("figcaption", f"{number}: {seconds}"),
            *([] if sound is None else _sound(sound, number)),
        ),
        _node("dl", *words, kind="words"),
        kind="span",
        id=f"span-{number}",
    )


def _words(span: Span, preview: Preview) -> Iterable[tuple[str, str, str]]:
    """Yield what is known of a span's words: a label, a text, and what kind of text."""
    yield "to say", span.said if span.said is not None else f"({span.missing})", ""
    heard = preview.heard.texts.get(span.number)
    if heard is None:
        return
    yield "read back", heard or "(nothing)", ""
    if span.said is None:
        return
    errors = readable_errors(span.said, heard, preview.heard.alphabet)
    if not errors.length:
        yield "wrong", "not known: the recognizer does not know this writing", ""
        return
    kind = "wrong" if errors.percent > 100 * preview.max_error else ""
    yield "wrong", f"{errors.percent:.0f} % of the characters", kind


def _sound(sound: Sound, number: int) -> list[Node]:
    wav = _data_uri("audio/wav", wav_bytes(sound.samples, sound.sample_rate))
    picture = _data_uri("image/png", spectrogram_png(sound.samples, sound.sample_rate))
    return [
        _node("audio", controls="", preload="metadata", src=wav),
        _node("img", alt=f"log-mel spectrogram of span {number}", src=picture),
    ]


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"


def _known(value: float | None) -> str:
    return "not known" if value is None else f"{value:g}"


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{value:g} %"


def _node(tag: str, *inside: str | Node, kind: str = "", **attributes: str) -> Node:
    """Return an element; ``kind`` is its class."""
    node = Node(tag, {"class": kind, **attributes} if kind else attributes)
    last: Node | None = None
    for each in inside:
        if isinstance(each, Node):
            node.append(each)
            last = each
        elif last is None:
            node.text = (node.text or "") + each
        else:
            last.tail = (last.tail or "") + each
    return node
