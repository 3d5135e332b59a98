"""Samples of a corpus as one page that needs nothing else: to read, to hear and to look at.

Documents are anybody's text and are escaped (:mod:`data_synth.page_tree`); the page has no script,
and tells the browser so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from data_synth.page_tree import Node, data_uri, node, page_bytes
from data_synth.preview import Sample, Span
from data_synth.preview_sound import Heard, Sound
from data_synth.spectrogram import spectrogram_png
from voiceglm.audio import wav_bytes
from voiceglm.error_rate import readable_errors

_TEMPLATE = "preview.html"


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
    return page_bytes((files("data_synth") / _TEMPLATE).read_text(encoding="utf-8"), body)


def _header(preview: Preview) -> Node:
    figures = [
        node("div", node("dt", name), node("dd", value))
        for name, value in _figures(preview.statistics)
    ]
    return node(
        "header",
        node("h1", preview.title),
        node("p", f"{len(preview.samples)} rows, drawn at random", kind="faint"),
        node("dl", *figures, kind="figures"),
        *(node("p", note, kind="note") for note in preview.heard.notes),
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
    return node(
        "article",
        node("h2", f"{sample.id}{part}"),
        node("p", share, kind="faint"),
        node("p", *text, kind="text", lang=sample.language),
        *(_span(span, preview) for span in sample.spans),
    )


def _marked(span: Span) -> Node:
    number = node("sup", str(span.number + 1))
    return node("mark", node("a", span_text(span), number, href=f"#span-{span.number + 1}"))


def span_text(span: Span) -> str:
    """Return what is shown in the place of a span."""
    return span.text if span.text is not None else f"({span.missing})"


def _span(span: Span, preview: Preview) -> Node:
    number, heard = span.number + 1, preview.heard
    seconds = f"{len(span.codes) / heard.code_rate:.2f} s, {len(span.codes)} codes"
    sound = heard.sounds.get(span.number)
    words = [
        node(name, value, kind=kind)
        for label, text, kind in _words(span, preview)
        for name, value in (("dt", label), ("dd", text))
    ]
    return node(
        "section",
        node(
            "figure",
            node("figcaption", f"{number}: {seconds}"),
            *([] if sound is None else _sound(sound, number)),
        ),
        node("dl", *words, kind="words"),
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
    wav = data_uri("audio/wav", wav_bytes(sound.samples, sound.sample_rate))
    picture = data_uri("image/png", spectrogram_png(sound.samples, sound.sample_rate))
    return [
        node("audio", controls="", preload="metadata", src=wav),
        node("img", alt=f"log-mel spectrogram of span {number}", src=picture),
    ]


def _known(value: float | None) -> str:
    return "not known" if value is None else f"{value:g}"


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{value:g} %"
