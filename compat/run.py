"""Has stock clients of the Realtime protocol talk to the server: ``python compat/run.py``.

Each client gets an environment of its own under ``.compat`` and holds the same conversation: it
asks the bundled question aloud, asks for something long in writing, and interrupts the reply by
asking aloud again. What the client's user noticed is reported by the client, what was said on the
wire by a relay in between. The results go to ``compat/results.json``.
"""

import argparse
import array
import asyncio
import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wire import Record, Relay

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "compat" / "clients"
PLACE = ROOT / ".compat"
QUESTION = ROOT / "voiceglm" / "assets" / "question.wav"
ANSWER = "The capital of France is Paris."
PIP_OPTIONS = ("--quiet", "--disable-pip-version-check")
RATE = 24_000  # of the wire, samples a second
SILENCE_BEFORE, SILENCE_AFTER = 0.5, 1.5  # seconds around the question
SECONDS_TO_START = 120.0  # for the server
SECONDS_TO_TALK = 120.0  # for a client
# A client that cancels by itself what the server has just cancelled is told so, and expects it.
HARMLESS = "response_cancel_not_active"
WHAT_IS_RUN = {
    "voice_turn": "The bundled question is played in real time; the server's voice detection ends "
    "the turn. Passes if the whole answer is heard and its transcript is right.",
    "barge_in": "In a second conversation something long is asked in writing, and the reply is "
    "spoken over with the bundled question. Passes if the client stops playing, the server cancels "
    "the reply, the question is answered rightly, and a client that keeps the conversation has "
    "kept it whole.",
    "truncate": "What the client tells the server of the interrupted reply. Passes if it asks for "
    "a truncation, every one is acknowledged, and the server reports no error, save that there is "
    "nothing to cancel to a client that cancels what the server has cancelled.",
}

Report = dict[str, Any]


@dataclass(frozen=True)
class Client:
    """A client, and what it takes to run it."""

    name: str
    package: str  # whose version is reported
    script: str
    requirements: tuple[str, ...] = ()  # for pip; those for npm are in package.json

    @property
    def place(self) -> Path:
        """Where it is installed."""
        return PLACE / self.name

    @property
    def is_python(self) -> bool:
        """Whether it runs in a virtual environment."""
        return self.script.endswith(".py")


CLIENTS = (
    Client("pipecat", "pipecat-ai", "pipecat_client.py", ("pipecat-ai[openai]~=1.14.0",)),
    Client(
        "livekit",
        "livekit-agents",
        "livekit_client.py",
        ("livekit-agents~=1.8.9", "livekit-plugins-openai~=1.8.9"),
    ),
    Client("agents-python", "openai-agents", "agents_python_client.py", ("openai-agents~=0.24.0",)),
    Client("agents-js", "@openai/agents", "agents_js_client.mjs"),
)


# environments


def install(client: Client) -> list[str]:
    """Make the environment of a client, unless it is there, and return its command."""
    python, script = client.place / "bin" / "python", SCRIPTS / client.script
    wanted = "\n".join(client.requirements) or (SCRIPTS / "package.json").read_text()
    stamp = client.place / "installed"
    if not client.is_python:
        script = client.place / client.script  # node looks for packages beside the script
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(client.place, ignore_errors=True)
        client.place.mkdir(parents=True)
        if client.is_python:
            _run([sys.executable, "-m", "venv", client.place])
            _run([python, "-m", "pip", "install", *PIP_OPTIONS, *client.requirements])
        else:
            shutil.copy(SCRIPTS / "package.json", client.place)
            _run(["npm", "install", "--no-audit", "--no-fund"], cwd=client.place)
        stamp.write_text(wanted)
    if client.is_python:
        return [str(python), str(script)]
    shutil.copy(SCRIPTS / client.script, script)
    return ["node", str(script)]


def version(client: Client) -> str:
    """Return which version is installed."""
    if not client.is_python:
        text = (client.place / "node_modules" / client.package / "package.json").read_text()
        return json.loads(text)["version"]
    code = f"import importlib.metadata as m; print(m.version({client.package!r}))"
    python = client.place / "bin" / "python"
    return subprocess.check_output([python, "-c", code], text=True).strip()


def _run(command: list[Any], cwd: Path | None = None) -> None:
    """Run an installer; what it says is not a result."""
    subprocess.run(command, cwd=cwd, check=True, stdout=sys.stderr)


def _said(*command: str) -> str | None:
    """Return what a program says, None if it is not there."""
    try:
        return subprocess.check_output(command, cwd=ROOT, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


# server


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """Run the server of this checkout and yield its port."""
    log = PLACE / "server.log"
    command = [sys.executable, "-m", "voiceglm.cli", "serve", "--port", "0"]
    with log.open("w") as file:
        server = subprocess.Popen(
            command, cwd=ROOT, stderr=file, env={"OMP_NUM_THREADS": "1", **os.environ}
        )
    try:
        yield _port(server, log)
    finally:
        server.terminate()
        server.wait()


def _port(server: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until the server listens."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"listening on ws://[^/]*:(\d+)/", log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


def write_question() -> Path:
    """Write the question as the clients send it, at the rate of the wire, between silences."""
    with wave.open(str(QUESTION)) as file:
        rate = file.getframerate()
        samples = array.array("h", file.readframes(file.getnframes()))
    # Straight lines between samples: the images this leaves above the old band are gone again
    # once the server has brought the sound down to its own rate.
    last = len(samples) - 1
    spoken = array.array("h")
    for n in range(last * RATE // rate):
        place, rest = divmod(n * rate, RATE)
        step = samples[place + 1] - samples[place]
        spoken.append(samples[place] + round(step * rest / RATE))
    path = PLACE / "question.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(2 * int(SILENCE_BEFORE * RATE)))
        file.writeframes(spoken.tobytes())
        file.writeframes(bytes(2 * int(SILENCE_AFTER * RATE)))
    return path


# conversation


async def talk(command: list[str], port: int, recording: Path) -> tuple[Report, Record]:
    """Run a client's script against the server, with a relay in between."""
    async with Relay(port) as relay:
        url = f"ws://127.0.0.1:{relay.port}/v1/realtime"
        process = await asyncio.create_subprocess_exec(
            *command, url, str(recording), stdout=asyncio.subprocess.PIPE, env=_environment()
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), SECONDS_TO_TALK)
        except TimeoutError:
            process.kill()
            await process.wait()
            return {"failed": f"not done after {SECONDS_TO_TALK:.0f} s"}, relay.record
    if process.returncode != 0:
        return {"failed": f"exit status {process.returncode}"}, relay.record
    return json.loads(out.splitlines()[-1]), relay.record


def _environment() -> dict[str, str]:
    """Return the variables of a client, which is not to find the modules of this checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def judge(report: Report, record: Record) -> Report:
    """Return what was run, each with whether it passed and what was seen."""
    if "failed" in report:
        return {name: {"passed": False, **report} for name in ("voice_turn", "barge_in")} | {
            "truncate": _truncate(record)
        }
    voice, barge = report["voice_turn"], report["barge_in"]
    cancelled = [
        done["response"]["status_details"]["reason"]
        for done in record.of("response.done")
        if done["response"]["status"] == "cancelled"
    ]
    return {
        "voice_turn": {"passed": _answered(voice), **voice},
        "barge_in": {
            "passed": barge["interrupted"]
            and cancelled == ["turn_detected"]
            and _answered(barge["answer"])
            and barge["history"] in (None, ["user", "assistant"] * 2),
            **barge,
            "cancelled": cancelled,
        },
        "truncate": _truncate(record),
    }


def _answered(reply: Report) -> bool:
    return (
        reply["transcript"].strip() == ANSWER
        and reply["audio_seconds"] > 1
        and not reply["interrupted"]
    )


def _truncate(record: Record) -> Report:
    """Say whether every truncation was acknowledged, and nothing was refused."""
    asked = record.of("conversation.item.truncate")
    done = {event["item_id"]: event for event in record.of("conversation.item.truncated")}
    errors = [event["error"] for event in record.of("error")]
    return {
        "passed": bool(asked)
        and all(event["item_id"] in done for event in asked)
        and all(error["code"] == HARMLESS for error in errors),
        "asked_ms": [event["audio_end_ms"] for event in asked],
        "acknowledged_ms": [event["audio_end_ms"] for event in done.values()],
        "errors": [f"{error['code']}: {error['message']}" for error in errors],
    }


# report


def check(client: Client, port: int, recording: Path) -> Report:
    """Install and run one client."""
    result: Report = {"client": client.name, "package": client.package}
    try:
        command = install(client)
        result["version"] = version(client)
    except (OSError, subprocess.CalledProcessError) as error:
        return {**result, "passed": False, "failed": f"could not be installed: {error}"}
    report, record = asyncio.run(talk(command, port, recording))
    checks = judge(report, record)
    passed = all(each["passed"] for each in checks.values())
    return {**result, "passed": passed, "checks": checks}


def table(results: list[Report]) -> str:
    """Return the results for a person."""
    names = list(WHAT_IS_RUN)
    rows = [["client", "version", *names]]
    for result in results:
        checks = result.get("checks", {})
        marks = (checks.get(name, {}).get("passed", False) for name in names)
        said = ("pass" if mark else "FAIL" for mark in marks)
        rows.append([result["package"], result.get("version", "-"), *said])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines) + "\n"


def write(results: list[Report]) -> None:
    """Write down the results, and with what they were got."""
    document = {
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "python": platform.python_version(),
        "node": _said("node", "--version"),
        "what_is_run": WHAT_IS_RUN,
        "results": results,
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    (ROOT / "compat" / "results.json").write_text(text, encoding="utf-8")


def main() -> int:
    """Run every client, or the one that is named."""
    parser = argparse.ArgumentParser(description="Have stock clients talk to the server.")
    names = [client.name for client in CLIENTS]
    parser.add_argument(
        "--only",
        choices=names,
        metavar="NAME",
        help=f"one of {', '.join(names)}; leaves results.json as it is",
    )
    only = parser.parse_args().only
    PLACE.mkdir(exist_ok=True)
    recording = write_question()
    with serving() as port:
        results = [
            check(client, port, recording) for client in CLIENTS if only in (None, client.name)
        ]
    if only is None:  # the file is about all of them
        write(results)
    sys.stdout.write(table(results))
    for result in results:
        if not result["passed"]:
            sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return 0 if all(result["passed"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
