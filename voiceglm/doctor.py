"""This machine, this installation, and whether the bundled model is what it should be.

Works without torch, because saying that torch is missing is one of its jobs.
"""

import json
import os
import platform
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from voiceglm.errors import VoiceGLMError
from voiceglm.files import CHECKSUMS, checksums

OURS = ("voiceglm", "tokenizer", "decoder", "data_synth", "web")
NEEDED = (
    "torch",
    "torchaudio",
    "transformers",
    "accelerate",
    "tokenizers",
    "vector-quantize-pytorch",
    "librosa",
    "soundfile",
    "safetensors",
    "pyyaml",
    "numpy",
)
EXTRAS = ("espeakng-loader", "tensorboard")
ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "note", "bad"]  # a note is worth knowing, bad has to be mended
    detail: str  # one line


def examine() -> list[Finding]:
    """Look at everything; whatever goes wrong becomes a finding."""
    checks = (check_machine, check_threads, check_packages, check_names, check_torch, check_files)
    findings = [finding for check in checks for finding in check()]
    if any(finding.state == "bad" for finding in findings):
        return findings  # decoding would only fail for the same reason
    return findings + check_decoding()


def check_machine() -> list[Finding]:
    """Say what this machine is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30  # GiB
    system = f"{platform.system()} {platform.machine()}, {_cores()} cores, {memory:.0f} GiB memory"
    return [
        Finding("machine", "ok", system),
        Finding("python", "ok", f"{platform.python_version()} at {sys.executable}"),
    ]


def check_threads() -> list[Finding]:
    """Say whether torch would fight for the cores that are there."""
    asked = os.environ.get("OMP_NUM_THREADS", "not set")
    load = os.getloadavg()[0]
    detail = f"OMP_NUM_THREADS {asked}, load {load:.1f} on {_cores()} cores"
    if load > _cores():
        return [Finding("threads", "note", f"{detail}: busy, so keep to --threads 1")]
    return [Finding("threads", "ok", detail)]


def check_packages() -> list[Finding]:
    """List the versions of what is needed, and what of it is missing."""
    findings = []
    for name in (*NEEDED, *EXTRAS):
        try:
            findings.append(Finding(name, "ok", version(name)))
        except PackageNotFoundError:
            optional = name in EXTRAS
            detail = "not installed" + ("; only training needs it" if optional else "")
            findings.append(Finding(name, "note" if optional else "bad", detail))
    return findings


def check_torch() -> list[Finding]:
    """Load torch and torchaudio together, whose builds must match, and look for a GPU."""
    try:
        torch = import_module("torch")
        import_module("torchaudio")
    except (ImportError, OSError) as error:
        reason = str(error).partition("\n")[0]
        return [Finding("torch loads", "bad", f"{reason}; reinstall both, of the same version")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none, none is needed"
    return [Finding("gpu", "ok", gpu)]


def check_names() -> list[Finding]:
    """See that our top-level names are ours: ``tokenizer`` and ``web`` are on PyPI as well."""
    root = Path(__file__).parent.parent
    findings = []
    for name in OURS:
        spec = find_spec(name)
        origin = Path(spec.origin) if spec and spec.origin else None
        if origin is not None and origin.parent.parent == root:
            continue
        owners = ", ".join(packages_distributions().get(name, ())) or "unknown"
        found = f"found at {origin} (from: {owners})" if origin else "not found"
        findings.append(
            Finding(f"package {name}", "bad", f"{found}, expected {root / name}; uninstall it")
        )
    return findings or [Finding("package names", "ok", f"all five are ours, at {root}")]


def check_files(folder: Path = ASSETS / "nano") -> list[Finding]:
    """Compare every file of the bundled model with the SHA-256 it was committed with."""
    try:
        expected = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        found = checksums(folder)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        return [Finding("nano files", "bad", f"cannot read {folder / CHECKSUMS}: {reason}")]
    findings = [
        Finding(f"nano {name}", "bad", "missing" if name not in found else "not what it should be")
        for name, digest in sorted(expected.items())
        if found.get(name) != digest
    ]
    findings += [
        Finding(f"nano {name}", "note", "does not belong to the model")
        for name in sorted(found.keys() - expected.keys())
    ]
    return findings or [Finding("nano files", "ok", f"all {len(expected)} are what they should be")]


def check_decoding() -> list[Finding]:
    """Let the bundled decoder speak a second of ids, twice: the same sound, and not silence."""
    import torch

    from decoder.model import SpeechDecoder

    try:
        decoder = SpeechDecoder.from_pretrained("nano")
    except VoiceGLMError as error:
        return [Finding("nano decoder", "bad", str(error))]
    ids = [number % decoder.num_codes for number in range(13)]  # 1.04 s
    first, second = decoder.decode(ids), decoder.decode(ids)
    if not torch.isfinite(first).all() or first.abs().max() < 1e-3:
        return [Finding("nano decoder", "bad", "speaks silence or noise that is no number")]
    if not torch.equal(first, second):
        return [Finding("nano decoder", "bad", "speaks the same ids differently each time")]
    return [Finding("nano decoder", "ok", f"{len(ids)} ids, {len(first)} samples, twice the same")]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
