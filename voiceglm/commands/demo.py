"""``voiceglm demo``: a page to talk with a model in the browser."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from voiceglm.commands.serve import add_server_arguments, make_host
from voiceglm.errors import ConfigError, DependencyError

if TYPE_CHECKING:
    from web.demo import PageServer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this task's arguments."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860, help="0 for any that is free")
    parser.add_argument(
        "--https",
        action="store_true",
        help="with a certificate made for this run: browsers give the microphone to no plain http "
        "page from another machine",
    )
    parser.add_argument(
        "--share", action="store_true", help="also under a public address, through Gradio's relay"
    )
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the page until interrupted or terminated."""
    import asyncio

    if args.share and not args.api_key:
        raise ConfigError("--share lets everybody connect: give --api-key")
    host = make_host(args)
    with tempfile.TemporaryDirectory() as folder:
        certificate = None
        if args.https:
            from web.certificate import make_certificate

            certificate = make_certificate(Path(folder))
        from web.demo import PageServer

        server = PageServer(host, args.host, args.port, certificate)
        try:
            asyncio.run(_serve(server, args))
        except SystemExit:  # uvicorn has said why in its log
            raise ConfigError(f"cannot listen on {args.host} port {args.port}") from None
    return 0


async def _serve(server: "PageServer", args: argparse.Namespace) -> None:
    import asyncio

    running = asyncio.ensure_future(server.serve())
    while not server.started and not running.done():
        await asyncio.sleep(0.05)
    if server.started:
        scheme = "https" if args.https else "http"
        sys.stderr.write(f"open {scheme}://{args.host}:{server.port} in a browser\n")
        if args.share:
            sys.stderr.write(f"or {await asyncio.to_thread(_share, server.port)} from anywhere\n")
        sys.stderr.flush()
    await running


def _share(port: int) -> str:
    """Open a tunnel of Gradio's and return its address."""
    import secrets

    from gradio.networking import setup_tunnel

    try:
        return setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except Exception as error:  # the network, the relay, its program: anything
        raise DependencyError(f"--share needs Gradio's relay: {error}") from None
