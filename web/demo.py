"""The page: hands-free talk in a browser, over the same protocol as every other client.

Page and socket share one port. Sound goes through worklets on the browser's audio thread, never
through a Gradio widget; those serve the fallback, a recording that is answered as a whole.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from voiceglm.audio import load_speech
from voiceglm.chat import SAMPLE_RATE
from voiceglm.errors import VoiceGLMError
from voiceglm.events import AudioDelta, TextDelta
from web.asgi import NameCheck, routes
from web.items import remember
from web.server import Host

STATIC = Path(__file__).parent / "static"
ABOUT = """# voiceglm

Press *Start talking* and speak; interrupt whenever you like. Headphones are safest. What you say
stays on the machine that runs the model, and is kept only while the conversation lasts."""
ON_LOAD = """
import(new URL("talk/page.js", document.baseURI)).then((page) => page.start(element));
"""


def page(voices: Sequence[str]) -> str:
    """Return the panel's HTML.

    Args:
        voices: What there is to choose from, the one that speaks at first before the others.
    """
    options = "".join(f"<option>{escape(name)}</option>" for name in voices)
    return (STATIC / "page.html").read_text(encoding="utf-8").replace("<!-- voices -->", options)


def blocks(host: Host) -> gr.Blocks:
    """Return the page."""
    with gr.Blocks(title="voiceglm", analytics_enabled=False) as demo:
        gr.Markdown(ABOUT)
        gr.HTML(
            html_template=page(host.voices),
            css_template=(STATIC / "page.css").read_text(encoding="utf-8"),
            js_on_load=ON_LOAD,
            elem_id="talk",
        )
        if host.gate.keys:  # the widgets below could be used without one
            return demo
        with gr.Accordion("Without a live microphone: record or upload a question", open=False):
            _fallback(host)
    return demo


def _fallback(host: Host) -> None:
    recording = gr.Audio(sources=["microphone", "upload"], type="filepath", label="Question")
    button = gr.Button("Answer")
    asked = gr.Textbox(label="Heard", interactive=False)
    said = gr.Textbox(label="Reply", interactive=False)
    sound = gr.Audio(label="Reply, aloud", interactive=False)

    def answer(path: str | None) -> tuple[str, str, Any]:
        if host.is_draining:
            raise gr.Error("The server is about to restart.")
        if path is None:
            raise gr.Error("Record or upload a question first.")
        try:
            return reply(host, path)
        except VoiceGLMError as error:
            raise gr.Error(str(error)) from None

    button.click(answer, [recording], [asked, said, sound], api_name="answer")


def reply(host: Host, path: str) -> tuple[str, str, tuple[int, np.ndarray] | None]:
    """Answer a recording as a whole.

    Returns:
        What was heard, what is answered, and its sound as (hertz, 16-bit samples).
    """
    chat, question = host.fresh_chat(), load_speech(path, SAMPLE_RATE)
    heard = chat.tokenizer.transcribe(question, SAMPLE_RATE) if host.can_transcribe else ""
    text, sounds = "", []
    for event in chat.reply(question):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, AudioDelta):
            sounds.append(event.samples)
    if not sounds:
        return heard, text, None
    samples = remember(torch.cat(sounds))
    return heard, text, (chat.decoder.sample_rate, samples.cpu().numpy())


def application(host: Host) -> FastAPI:
    """Return page, socket and all."""

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await host.warm_up()
        yield
        host.close()

    app = FastAPI(lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(NameCheck, host=host)
    app.router.routes.extend(routes(host))
    app.mount("/talk", StaticFiles(directory=STATIC))  # Gradio has a /static of its own
    return gr.mount_gradio_app(app, blocks(host), path="/", ssr_mode=False, footer_links=[])


class PageServer(uvicorn.Server):
    """Lets replies be finished before it closes.

    Args:
        host: What is served.
        address: To listen on.
        port: 0 for any that is free.
        certificate: And its key, for https.
    """

    def __init__(
        self, host: Host, address: str, port: int, certificate: tuple[Path, Path] | None = None
    ):
        secure: dict[str, Any] = {}
        if certificate:
            secure = {"ssl_certfile": str(certificate[0]), "ssl_keyfile": str(certificate[1])}
        super().__init__(
            uvicorn.Config(
                application(host),
                host=address,
                port=port,
                log_level="warning",
                ws_max_size=host.options.max_message_bytes,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=5,
                **secure,
            )
        )
        self._host = host

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self.servers[0].sockets[0].getsockname()[1]

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Drain, then close."""
        await self._host.drain()
        await super().shutdown(sockets)
