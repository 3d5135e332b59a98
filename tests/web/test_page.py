"""The page in a real browser with a fake microphone that plays a real question."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Playwright,
    ViewportSize,
    WebSocket,
    sync_playwright,
)

from tests.conftest import CHROMIUM, NANO, ROOT
from tests.web.conftest import ANSWER, QUESTION
from voiceglm.audio import load_audio

pytestmark = pytest.mark.browser

RATE = 48_000
LAPTOP, PHONE = ViewportSize(width=1_100, height=900), ViewportSize(width=390, height=844)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The demo, started as a user starts it."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    if not (NANO / "language_model").is_dir():
        pytest.skip("the bundled model is not in this checkout")
    command = [sys.executable, "-m", "voiceglm.cli", "demo", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        found = (re.match(r"open (http\S+)", line) for line in process.stderr)
        match = next((each for each in found if each), None)
        assert match, "the demo did not start"
        yield match[1]
        process.terminate()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


def recording(path: Path, *pauses: float) -> Path:
    """Write the question once per pause, each after so many seconds of silence."""
    question = load_audio(QUESTION, RATE).numpy()
    parts = [part for pause in pauses for part in (np.zeros(int(pause * RATE)), question)]
    soundfile.write(path, np.concatenate([*parts, np.zeros(20 * RATE)]), RATE, subtype="PCM_16")
    return path


def launch(playwright: Playwright, microphone: Path) -> Browser:
    return playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=[
            "--no-sandbox",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}%noloop",
            "--autoplay-policy=no-user-gesture-required",
        ],
    )


def new_page(browser: Browser, size: ViewportSize) -> Page:
    page = browser.new_page(viewport=size)
    page.set_default_timeout(180_000)  # a busy machine is slow, not wrong
    return page


class Watched:
    """A page whose complaints and requests are written down."""

    def __init__(self, page: Page, address: str):
        self.page, self.address = page, address
        self.complaints: list[str] = []
        self.origins: set[str] = set()
        self.sent: list[str] = []  # types of events, in order
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("response", self._response)
        page.on("websocket", self._websocket)
        page.goto(address)
        page.wait_for_selector('[data-alive="yes"]')  # before that it does not listen

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _websocket(self, socket: WebSocket) -> None:
        self.origins.add(socket.url.split("/")[2])
        socket.on("framesent", lambda data: self.sent.append(json.loads(data)["type"]))

    def _response(self, response: Any) -> None:
        if not response.url.startswith(("blob:", "data:")):
            self.origins.add(response.url.split("/")[2])
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.url}")

    def stats(self) -> dict[str, Any]:
        return self.page.evaluate("window.voiceglm.stats")

    def replies(self) -> list[str]:
        return self.page.locator(".transcript .assistant").all_inner_texts()

    def wait_for(self, expression: str) -> None:
        self.page.wait_for_function(expression)

    def check(self) -> None:
        assert self.complaints == []
        assert self.origins == {self.address.split("/")[2]}


def ask_aloud(page: Page, address: str) -> Watched:
    """Ask the question of the microphone and wait for the end of the answer."""
    watched = Watched(page, address)
    page.click('[data-part="talk"]')
    watched.wait_for("window.voiceglm?.stats.latencyMs")
    watched.wait_for("!window.voiceglm.isTalking && !window.voiceglm.isAnswering")
    return watched


def test_a_question_is_answered_aloud(playwright: Playwright, address: str, tmp_path: Path) -> None:
    browser = launch(playwright, recording(tmp_path / "one.wav", 1.5))
    watched = ask_aloud(new_page(browser, LAPTOP), address)
    assert watched.replies() == [ANSWER]
    if picture := os.environ.get("SCREENSHOT"):  # SCREENSHOT=docs/demo.png renews the picture
        watched.page.screenshot(path=picture)
    watched.page.click('[data-part="talk"]')
    watched.wait_for("document.querySelector('[data-part=status]').innerText == 'Not connected'")
    watched.check()
    browser.close()


WRITE = """(texts) => texts.forEach((text) => {
  document.querySelector('[data-part="text"]').value = text;
  document.querySelector('[data-part="form"]').requestSubmit();
})"""

MICROPHONE = """(() => {
  let context, microphone;
  navigator.mediaDevices.getUserMedia = async () => {
    context = new AudioContext();
    microphone = context.createMediaStreamDestination();
    return microphone.stream;
  };
  window.say = async (recording) => {
    const bytes = Uint8Array.from(atob(recording), (letter) => letter.charCodeAt(0));
    const source = context.createBufferSource();
    source.buffer = await context.decodeAudioData(bytes.buffer);
    source.connect(microphone);
    source.start();
  };
})()"""


def test_speaking_up_silences_the_reply(
    playwright: Playwright, address: str, tmp_path: Path
) -> None:
    browser = launch(playwright, recording(tmp_path / "none.wav"))
    page = new_page(browser, LAPTOP)
    page.add_init_script(MICROPHONE)  # a recording cannot wait until a reply is heard
    watched = Watched(page, address)
    page.click('[data-part="talk"]')
    watched.wait_for("window.voiceglm")
    page.evaluate(WRITE, ["Count from one to ten."])
    watched.wait_for("window.voiceglm.isTalking")
    page.evaluate("say", base64.b64encode(QUESTION.read_bytes()).decode())
    watched.wait_for("window.voiceglm.stats.clearMs !== null")
    watched.wait_for("document.querySelectorAll('.transcript .assistant').length == 2")
    watched.wait_for("!window.voiceglm.isTalking && !window.voiceglm.isAnswering")
    assert "conversation.item.truncate" in watched.sent, "what was not heard is forgotten"
    assert watched.replies()[1] == ANSWER
    watched.check()
    browser.close()


def test_writing_on_a_telephone(playwright: Playwright, address: str, tmp_path: Path) -> None:
    browser = launch(playwright, recording(tmp_path / "none.wav"))
    watched = Watched(new_page(browser, PHONE), address)
    page = watched.page
    page.fill('[data-part="text"]', "What is the capital of France?")
    page.press('[data-part="text"]', "Enter")
    watched.wait_for("window.voiceglm?.stats.latencyMs")
    watched.wait_for("!window.voiceglm.isAnswering")
    assert watched.replies() == [ANSWER]
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], "nothing is wider than the screen"
    watched.check()
    browser.close()


def test_writing_interrupts_what_was_asked_before(
    playwright: Playwright, address: str, tmp_path: Path
) -> None:
    browser = launch(playwright, recording(tmp_path / "none.wav"))
    page = new_page(browser, LAPTOP)
    endings: list[str] = []

    def received(data: str | bytes) -> None:
        event = json.loads(data)
        if event["type"] == "response.done":
            endings.append(event["response"]["status"])

    page.on("websocket", lambda socket: socket.on("framereceived", received))
    watched = Watched(page, address)
    page.evaluate(WRITE, ["Hello.", "Count from one to ten."])  # both while the call is opened
    watched.wait_for("window.voiceglm?.isTalking")
    assert watched.sent.count("response.create") == 1
    page.evaluate(WRITE, ["What is the capital of France?"])
    watched.wait_for("window.voiceglm.stats.clearMs !== null")
    watched.wait_for("!window.voiceglm.isTalking && !window.voiceglm.isAnswering")
    asked = ["conversation.item.create", "response.create"]
    assert watched.sent[-3:] == ["conversation.item.truncate", *asked]
    assert len(endings) == 2
    assert endings[-1] == "completed", "what nano says to that is another matter"
    assert page.inner_text('[data-part="trouble"]') == ""
    watched.check()
    browser.close()


def test_why_there_is_no_microphone(playwright: Playwright, address: str, tmp_path: Path) -> None:
    browser = launch(playwright, recording(tmp_path / "none.wav"))
    page = new_page(browser, LAPTOP)
    page.add_init_script("Object.defineProperty(window, 'isSecureContext', {value: false})")
    page.goto(address)
    page.wait_for_selector('[data-part="trouble"]:not([hidden])')
    words = page.inner_text('[data-part="trouble"]')
    assert "--https" in words
    assert "ssh -L" in words
    browser.close()


def test_a_recording_is_answered(playwright: Playwright, address: str, tmp_path: Path) -> None:
    browser = launch(playwright, recording(tmp_path / "none.wav"))
    page = new_page(browser, LAPTOP)
    page.goto(address)
    page.get_by_text("Without a live microphone").click()
    page.get_by_label("Upload file").first.click()
    page.locator('input[type="file"]').first.set_input_files(QUESTION)
    page.get_by_role("button", name="Answer").click()
    page.wait_for_function(
        f"[...document.querySelectorAll('textarea')].some(t => t.value == '{ANSWER}')"
    )
    browser.close()
