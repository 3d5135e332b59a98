"""A real server with the bundled model: the stock client, turns, interruptions, many at once."""

import asyncio
import base64
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from tests.web.conftest import ANSWER, Client, calling, run, serving
from tests.web.invariants import Invariants
from voiceglm.audio import load_audio, resample
from voiceglm.chat import VoiceChat
from web.codec import PCM
from web.gate import Gate
from web.server import ServerOptions
from web.session import Limits

QUESTIONS = {
    "What is the capital of Italy?": "Rome",
    "What is the capital of Spain?": "Madrid",
    "What is the capital of Japan?": "Tokyo",
    "What is the opposite of hot?": "cold",
}


def test_the_stock_client_holds_a_voice_conversation(models: VoiceChat, question: bytes) -> None:
    async def work() -> None:
        async with serving(models) as server:
            url = f"http://127.0.0.1:{server.port}/v1"
            client = AsyncOpenAI(api_key="any", base_url=url)
            seen, audio = Invariants(), b""
            async with client.realtime.connect(model="nano") as connection:
                heard: Any = {"input": {"transcription": {"model": "whisper-1"}}}
                await connection.session.update(session={"type": "realtime", "audio": heard})
                for start in range(0, len(question), 4_800):
                    piece = base64.b64encode(question[start : start + 4_800]).decode()
                    await connection.input_audio_buffer.append(audio=piece)
                done = False
                while not (done and seen.of(TRANSCRIBED)):
                    raw = await asyncio.wait_for(connection.recv_bytes(), 20)
                    message = json.loads(raw)
                    seen.see(message)
                    if message["type"] == "response.output_audio.delta":
                        audio += base64.b64decode(message["delta"])
                    done = done or message["type"] == "response.done"
            seen.end()
            response = seen.of("response.done")[0]["response"]
            assert response["status"] == "completed"
            assert response["output"][0]["content"][0]["transcript"] == ANSWER
            assert response["usage"]["output_token_details"]["audio_tokens"] > 20
            assert "capital" in seen.of(TRANSCRIBED)[0]["transcript"]
            assert 1.5 < len(audio) / 48_000 < 4.0
            assert "the capital of" in heard_in(models, audio)

    run(work)


TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


def heard_in(models: VoiceChat, pcm: bytes) -> str:
    """Return how the bundled model hears what was sent."""
    import torch

    samples = torch.frombuffer(bytearray(pcm), dtype=torch.int16).float() / 32_768
    return models.tokenizer.transcribe(resample(samples, 24_000, 16_000), 16_000)


def test_a_turn_ended_by_hand_after_an_interruption(models: VoiceChat, question: bytes) -> None:
    async def work() -> None:
        async with serving(models) as server, calling(server) as client:
            await client.ask("Count from one to ten.")
            first = await client.until("response.created")
            await client.until("response.output_audio.delta")
            await client.append(question, step=4_800, pause=0.01)
            done = await client.until("response.done")
            assert done["response"]["id"] == first["response"]["id"]
            assert done["response"]["status_details"]["reason"] == "turn_detected"
            cut = {"item_id": done["response"]["output"][0]["id"], "content_index": 0}
            await client.send("conversation.item.truncate", **cut, audio_end_ms=200)
            await client.until("conversation.item.truncated")
            answer = await client.until("response.done")
            assert answer["response"]["output"][0]["content"][0]["transcript"] == ANSWER
            client.seen.end()

    run(work)


def test_callers_at_once_get_what_they_get_alone(models: VoiceChat) -> None:
    async def call(client: Client, text: str) -> tuple[str, bytes]:
        await client.ask(text)
        response = (await client.until("response.done"))["response"]
        return response["output"][0]["content"][0]["transcript"], client.audio(response["id"])

    async def work() -> None:
        async with serving(models) as server:
            alone = []
            for text in QUESTIONS:
                async with calling(server) as client:
                    alone.append(await call(client, text))

            async def one(text: str) -> tuple[str, bytes]:
                async with calling(server) as client:
                    return await call(client, text)

            together = await asyncio.gather(*map(one, QUESTIONS))
            assert list(together) == alone
            for (said, audio), word in zip(alone, QUESTIONS.values(), strict=True):
                assert word.lower() in said.lower()
                assert len(audio) > 24_000

    run(work)


def test_text_and_telephone(models: VoiceChat, question: bytes) -> None:
    async def work() -> None:
        async with serving(models) as server, calling(server) as client:
            await client.send(
                "session.update", session={"type": "realtime", "output_modalities": ["text"]}
            )
            await client.ask("What is the capital of France?")
            done = await client.until("response.done")
            part = {"type": "output_text", "text": ANSWER}
            assert done["response"]["output"][0]["content"] == [part]
            form = {"format": {"type": "audio/pcmu"}}
            await client.send(
                "session.update",
                session={
                    "type": "realtime",
                    "output_modalities": ["audio"],
                    "audio": {"input": {**form, "turn_detection": None}, "output": form},
                },
            )
            await client.until("session.updated")
            await client.append(telephone(question), step=800)
            await client.send("input_audio_buffer.commit")
            await client.send("response.create")
            done = await client.until("response.done")
            # What nano makes of a telephone's band is another matter: docs/nano.md.
            content = done["response"]["output"][0]["content"][0]
            seconds = len(client.audio(done["response"]["id"])) / 8_000
            assert 0.04 < seconds / len(content["transcript"]) < 0.2, "as long as its text"

    run(work)


def telephone(pcm: bytes) -> bytes:
    import torch

    from web.codec import FORMATS

    samples = torch.frombuffer(bytearray(pcm), dtype=torch.int16).float() / 32_768
    return FORMATS["audio/pcmu"].write(resample(samples, 24_000, 8_000).numpy())


def test_doors(models: VoiceChat) -> None:
    gate = Gate(keys=("secret",), origins=("https://example.org",))

    async def refused(url: str, **options: Any) -> tuple[str, int, str]:
        async with connect(url, **options) as socket:
            error = json.loads(await socket.recv())
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            return error["error"]["code"], closed.value.rcvd.code, closed.value.rcvd.reason

    async def work() -> None:
        async with serving(models, ServerOptions(max_sessions=1), gate) as server:
            url = f"ws://127.0.0.1:{server.port}/v1/realtime"
            wrong = await refused(url, additional_headers={"Authorization": "Bearer wrong"})
            assert wrong == ("invalid_api_key", 3000, "invalid_request_error.invalid_api_key")
            assert (await refused(url))[0] == "invalid_api_key"
            key: dict[str, Any] = {"additional_headers": {"Authorization": "Bearer secret"}}
            beta = {"additional_headers": {"OpenAI-Beta": "realtime=v1"}}
            assert (await refused(url, **beta))[:2] == ("beta_api_shape_disabled", 4000)
            offers: Any = ["realtime", "openai-insecure-api-key.secret"]
            async with calling(server, subprotocols=offers) as client:
                assert client.socket.subprotocol == "realtime", "and never the key"
                assert (await refused(url, **key))[:2] == ("session_limit_reached", 1013)
            for origin in ("https://example.org", "http://localhost:7860"):
                async with connect(url, origin=Origin(origin), **key):
                    pass
                await asyncio.sleep(0.05)  # for the only place to be free again
            for origin in ("https://evil.example", "null", "https://example.org.evil.example"):
                with pytest.raises(InvalidStatus, match="403"):
                    async with connect(url, origin=Origin(origin), **key):
                        pass
            for path in ("/", "/v1/../etc/passwd", "/v1/realtime/x"):
                with pytest.raises(InvalidStatus, match="404"):
                    async with connect(f"ws://127.0.0.1:{server.port}{path}", **key):
                        pass
            text = await asyncio.to_thread(get, f"http://127.0.0.1:{server.port}/metrics")
            assert 'voiceglm_refused_total{reason="invalid_api_key"} 2.0' in text
            assert 'voiceglm_refused_total{reason="origin"} 3.0' in text
            health = await asyncio.to_thread(get, f"http://127.0.0.1:{server.port}/health")
            assert json.loads(health)["status"] == "ok"

    run(work)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


def test_rubbish_is_answered_and_survived(models: VoiceChat) -> None:
    async def work() -> None:
        options = ServerOptions(max_message_bytes=100_000)
        async with serving(models, options) as server:
            async with calling(server) as client:
                for rubbish in ("{", "[" * 50_000, "", '"a"', b"\x00\x01", '{"type": 1e999}'):
                    await client.socket.send(rubbish)
                    assert (await client.next())["type"] == "error"
                await client.ask("What is the capital of France?")
                await client.until("response.done")
                await client.socket.send("x" * 200_000)
                with pytest.raises(ConnectionClosed) as closed:
                    await client.next()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1009
            async with calling(server) as client:
                await client.ask("What is the capital of France?")
                await client.until("response.done")

    run(work)


def test_a_restart_lets_replies_be_finished(models: VoiceChat) -> None:
    async def work() -> None:
        async with serving(models) as server, calling(server) as client:
            await client.ask("What is the capital of France?")
            await client.until("response.created")
            draining = asyncio.ensure_future(server.stop())
            await asyncio.sleep(0.05)
            async with connect(f"ws://127.0.0.1:{server.port}/v1/realtime") as late:
                assert "server_draining" in str(await late.recv())
            done = await client.until("response.done")
            assert done["response"]["status"] == "completed"
            with pytest.raises(ConnectionClosed) as closed:
                await client.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            await draining

    run(work)


def test_whoever_does_not_read_is_cut_off(models: VoiceChat) -> None:
    async def work() -> None:
        options = ServerOptions(send_timeout=0.5, limits=Limits())
        async with serving(models, options) as server:
            url = f"ws://127.0.0.1:{server.port}/v1/realtime"
            async with connect(url, max_queue=1, compression=None) as socket:
                socket.transport.pause_reading()  # type: ignore[attr-defined]
                session = {"type": "realtime", "instructions": "x" * 90_000}
                for _ in range(400):
                    try:
                        await socket.send(
                            json.dumps({"type": "session.update", "session": session})
                        )
                    except ConnectionClosed:
                        break
                for _ in range(100):
                    if not server.host.health()["sessions"]:
                        break
                    await asyncio.sleep(0.1)
                assert server.host.health()["sessions"] == 0

    run(work)


def test_dropped_calls_leave_nothing(models: VoiceChat, question: bytes) -> None:
    """At every point of a conversation; no task and no session stays behind."""

    async def work() -> None:
        async with serving(models) as server:
            before = len(asyncio.all_tasks())
            for events in range(1, 24, 2):
                async with calling(server) as client:
                    await client.append(question)
                    for _ in range(events):
                        await client.next()
                    client.socket.transport.abort()
            for _ in range(50):
                if len(asyncio.all_tasks()) <= before:
                    break
                await asyncio.sleep(0.1)
            assert len(asyncio.all_tasks()) <= before
            assert server.host.health()["sessions"] == 0

    run(work)


def test_a_murmur_does_not_end_a_reply(models: VoiceChat) -> None:
    murmur = load_audio(Path(__file__).parent / "sounds" / "mm_hmm.flac", 24_000)
    data = PCM.write(murmur[18_000:].numpy())  # a quarter of a second of silence before it

    async def work() -> None:
        async with serving(models) as server, calling(server) as client:
            await client.ask("Count from one to ten.")
            await client.until("response.output_audio.delta")
            await client.append(data, pause=0.1)
            done = await client.until("response.done")
            assert done["response"]["status"] == "completed"
            assert not client.seen.of("input_audio_buffer.speech_started")
            client.seen.end()

    run(work)


def test_slow_and_compressed_handshakes(models: VoiceChat) -> None:
    async def work() -> None:
        options = ServerOptions(open_timeout=0.3)
        async with serving(models, options) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\n")
            assert b"101" not in await asyncio.wait_for(reader.read(), 5), "hung up on"
            writer.close()
            async with calling(server, compression="deflate") as client:
                assert client.socket.protocol.extensions == [], "no bombs to unpack"

    run(work)


def test_what_was_said_is_not_written_down(
    models: VoiceChat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="web.server")
    caplog.set_level("DEBUG", logger="web.call")
    caplog.set_level("DEBUG", logger="web.talker")

    async def work() -> None:
        async with serving(models) as server, calling(server) as client:
            await client.send("input_audio_buffer.append", audio="c2VjcmV0 !")
            assert (await client.next())["error"]["code"] == "invalid_value"
            await client.ask("My secret is the capital of France.")
            await client.until("response.done")

    run(work)
    assert "session opened" in caplog.text
    for word in ("secret", "c2VjcmV0", "capital", "Paris"):
        assert word not in caplog.text


def test_a_bug_ends_its_session_and_no_other(
    models: VoiceChat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with serving(models) as server, calling(server) as other:
            async with calling(server) as client:

                def broken(*_: object, **__: object) -> None:
                    raise RuntimeError("a bug")

                newest = max(server.host._calls, key=lambda call: call.session._opened)
                monkeypatch.setattr(newest._talker, "_do", broken)
                part = {"type": "input_text", "text": "Hello."}
                item = {"type": "message", "role": "user", "content": [part]}
                await client.send("conversation.item.create", item=item)
                with pytest.raises(ConnectionClosed) as closed:
                    await client.until("the end")
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1011
            await other.ask("What is the capital of France?")
            await other.until("response.done")

    run(work)
    assert "a session failed" in caplog.text
