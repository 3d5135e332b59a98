"""The report of a check: what the data is, then what is wrong with it, worst first."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from data_synth.check import ERRORS, WARNINGS, Checked, Finding, Limits, count_kinds

_NUM_EXAMPLES = 3
_WIDTH = 72  # of one example


def report(manifest: Path, checked: Sequence[Checked]) -> str:
    """Return the report as text, several lines."""
    lines = [f"{name:<12} {value}" for name, value in _summary(manifest, checked)]
    return "\n".join([*lines, "", *_findings(checked), _verdict(checked)]) + "\n"


def report_json(manifest: Path, checked: Sequence[Checked], limits: Limits) -> bytes:
    """Return the raw figures of every utterance, and what they were compared with."""
    content = {
        "manifest": str(manifest),
        "limits": asdict(limits),
        "counts": count_kinds(checked),
        "utterances": [asdict(one) for one in checked],
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)
    return f"{text}\n".encode("utf-8", "backslashreplace")  # half a character stays JSON


def plain(text: str) -> str:
    """Return a text as one line that no terminal obeys and no encoding refuses."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _summary(manifest: Path, checked: Sequence[Checked]) -> Iterable[tuple[str, str]]:
    sounds = [one.sound for one in checked if one.sound]
    lengths = [sound.seconds for sound in sounds]
    hours = sum(lengths) / 3600
    speakers = len({one.speaker for one in checked if one.speaker})
    yield "manifest", plain(str(manifest))
    yield "utterances", f"{len(checked):,}, {hours:.2f} hours, {speakers:,} named speakers"
    yield "languages", _counts(one.language for one in checked if one.language)
    if roles := _counts(one.role for one in checked if one.role):
        yield "roles", roles
    if sounds:
        yield "rates", _counts(f"{sound.sample_rate:,} Hz" for sound in sounds)
        yield "length", _spread(lengths, "s")
        yield "level", _spread([sound.level_dbfs for sound in sounds], "dBFS")
        yield "silence", _spread([sound.silence * 100 for sound in sounds], "%")
    spoken = [(one.letters, one.sound.speech_seconds) for one in checked if one.sound]
    letters = [count / seconds for count, seconds in spoken if count and seconds]
    texts = sum(one.letters is not None for one in checked)
    rate = f"; {_spread(letters, 'letters a second')}" if letters else ""
    yield "transcripts", f"{texts:,}{rate}"
    codes = [one.num_codes for one in checked if one.num_codes is not None]
    yield "codes", f"{sum(codes):,} of {len(codes):,} utterances" if codes else "none"


def _counts(values: Iterable[str]) -> str:
    common = Counter(values).most_common()
    shown = ", ".join(f"{plain(value)} ({count:,})" for value, count in common[:6])
    return shown + (f" and {len(common) - 6} more" if len(common) > 6 else "")


def _spread(values: Sequence[float], unit: str) -> str:
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"median {middle:.1f} {unit}, nine in ten from {low:.1f} to {high:.1f}"


def _findings(checked: Sequence[Checked]) -> Iterable[str]:
    counts = count_kinds(checked)
    if not counts:
        return
    yield f"{'':8} {'what':<22} {'how many':>8} {'share':>8}  examples"
    for severity, kinds in (("error", ERRORS), ("warning", WARNINGS)):
        for kind in (kind for kind in kinds if counts[kind]):
            share = counts[kind] / len(checked)
            examples = "; ".join(_examples(checked, kind))
            yield f"{severity:<8} {kind:<22} {counts[kind]:>8,} {share:>8.2%}  {examples}"
    yield ""


def _examples(checked: Sequence[Checked], kind: str) -> list[str]:
    found: list[str] = []
    for one in checked:
        found += [_example(one, finding) for finding in one.findings if finding.kind == kind]
        if len(found) >= _NUM_EXAMPLES:
            break
    return found[:_NUM_EXAMPLES]


def _example(one: Checked, finding: Finding) -> str:
    text = f"line {one.line}: {plain(finding.detail)}"
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _verdict(checked: Sequence[Checked]) -> str:
    counts = count_kinds(checked)
    errors, warnings = (sum(counts[kind] for kind in kinds) for kinds in (ERRORS, WARNINGS))
    parts = ((errors, "error"), (warnings, "warning"))
    found = " and ".join(f"{count:,} {name}{'s' * (count != 1)}" for count, name in parts)
    return f"{found} in {len(checked):,} utterances"
