"""``voiceglm serve``: a Realtime server that any OpenAI Realtime client can talk to."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from voiceglm.commands.options import (
    add_model_arguments,
    add_voice_arguments,
    positive,
    use_threads,
)
from voiceglm.errors import ConfigError

if TYPE_CHECKING:
    from voiceglm.chat import Speaker, VoiceChat
    from web.server import Host, Server, ServerOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8765, help="0 for any that is free")
    add_server_arguments(parser)


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what every server has."""
    add_model_arguments(parser)
    add_voice_arguments(parser)
    parser.add_argument("--device", default="cpu", help="where models compute, such as cuda")
    parser.add_argument(
        "--workers",
        type=positive,
        help="threads for models; by default one per core, with --engine vllm one per session, for "
        "they mostly wait",
    )
    parser.add_argument("--max-sessions", type=positive, default=16, help="at the same time")
    parser.add_argument(
        "--api-key",
        action="append",
        default=[],
        metavar="KEY|@FILE",
        help="a key that clients need, or a file with one per line (repeatable)",
    )
    parser.add_argument(
        "--origin",
        action="append",
        default=[],
        help="a page that may connect, such as https://example.org (repeatable; * for all)",
    )
    parser.add_argument("--max-minutes", type=float, default=60.0, help="of one session")
    parser.add_argument("--idle-minutes", type=float, default=10.0, help="without a word")
    parser.add_argument("--drain-seconds", type=float, default=30.0, help="to finish replies in")
    parser.add_argument("--temperature", type=float, default=0.0, help="of choosing ids")
    parser.add_argument("--max-ids", type=positive, default=1_000, help="of one reply")
    parser.add_argument("--min-interruption-ms", type=positive, default=192, help="of speech")
    add_engine_arguments(parser)
    parser.add_argument("--log-json", action="store_true", help="one JSON object per log line")


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare who runs the language model."""
    parser.add_argument(
        "--engine",
        choices=["local", "vllm"],
        default="local",
        help="who runs the language model: this process, or a server at --engine-url",
    )
    parser.add_argument("--engine-url", help="such as http://127.0.0.1:8000, without /v1")
    parser.add_argument("--engine-model", help="what it is called there; by default the first")
    parser.add_argument("--engine-key", help="if the server wants one")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted or terminated."""
    import asyncio

    from web.server import Server

    host = make_host(args)
    try:
        asyncio.run(_serve(Server(host), args.host, args.port))
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {args.host} port {args.port}: {error.strerror}"
        ) from None
    return 0


def make_host(args: argparse.Namespace) -> "Host":
    """Load the model and return what serves it.

    Raises:
        ConfigError: If everybody could connect and no key is asked for, or no voice is so called.
    """
    from voiceglm.pretrained import load_chat
    from web.gate import Gate, is_local
    from web.logs import set_up
    from web.server import Host

    keys = tuple(_keys(args.api_key))
    gate = Gate(keys, tuple(args.origin), only_local=not keys)
    if not keys and not is_local(args.host):
        raise ConfigError(
            f"--host {args.host} lets others connect: give --api-key, or listen on 127.0.0.1"
        )
    set_up(as_json=args.log_json)
    use_threads(args)
    if (args.engine == "vllm") != bool(args.engine_url):
        raise ConfigError("--engine vllm and --engine-url go together")
    chat = load_chat(
        args.model,
        device=args.device,
        engine_url=args.engine_url,
        engine_model=args.engine_model,
        engine_key=args.engine_key,
    )
    voice, voices = _voices(args, chat)
    return Host(chat, _options(args, voice), gate, voices)


def _options(args: argparse.Namespace, voice: str) -> "ServerOptions":
    """Return how the server is run."""
    from voiceglm.language_model import Sampling
    from web.server import ServerOptions
    from web.session import Limits
    from web.turns import Patience

    limits = Limits(
        max_seconds=60 * args.max_minutes,
        max_idle_seconds=60 * args.idle_minutes,
        sampling=Sampling(temperature=args.temperature, max_new_ids=args.max_ids),
    )
    return ServerOptions(
        model=Path(str(args.model)).name,
        voice=voice,
        max_sessions=args.max_sessions,
        workers=args.workers or _workers(args),
        drain_seconds=args.drain_seconds,
        limits=limits,
        patience=Patience(min_interruption_ms=args.min_interruption_ms),
    )


def _voices(args: argparse.Namespace, chat: "VoiceChat") -> "tuple[str, Mapping[str, Speaker]]":
    """Return the voice of sessions that ask for none, empty for the default, and all voices."""
    from decoder.model import VoicedDecoder, shared_decoder
    from decoder.voice import DEFAULT
    from decoder.voices import all_speaking, speaking

    decoder = shared_decoder(chat.decoder)
    voices: dict[str, Speaker] = {**all_speaking(decoder, args.model, args.voices)}
    if args.voice == DEFAULT:
        return "", voices
    chosen = speaking(decoder, args.voice, args.model, args.voices)
    assert isinstance(chosen, VoicedDecoder), "any voice but the default one has a file"
    return chosen.voice.name, {**voices, chosen.voice.name: chosen}


def _workers(args: argparse.Namespace) -> int:
    """Return how many threads models get, if nobody says it."""
    cores = os.cpu_count() or 1
    # A thread that waits for a server elsewhere must not be one that another session needs.
    return max(cores, args.max_sessions) if args.engine_url else cores


async def _serve(server: "Server", address: str, port: int) -> None:
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start(address, port)
    sys.stderr.write(f"listening on ws://{address}:{server.port}/v1/realtime\n")
    sys.stderr.flush()
    await stop.wait()
    sys.stderr.write("finishing replies ...\n")
    await server.stop()


def _keys(given: list[str]) -> list[str]:
    keys: list[str] = []
    for key in given:
        if key.startswith("@"):
            try:
                keys += Path(key[1:]).read_text(encoding="utf-8").split()
            except OSError as error:
                raise ConfigError(f"cannot read keys from {key[1:]}: {error.strerror}") from None
        else:
            keys.append(key)
    return keys
