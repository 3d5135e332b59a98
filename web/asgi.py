"""The same sessions behind a route of a web application, so that page and socket share a port."""

from typing import cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from websockets.datastructures import Headers

from web.call import DisconnectedError
from web.gate import NOT_LOCAL
from web.server import PATHS, Host, choose_subprotocol


def routes(host: Host) -> list[BaseRoute]:
    """Return the socket, and what operators look at."""

    async def converse(socket: WebSocket) -> None:
        headers = Headers(socket.headers.items())
        if not host.admits_page(headers):
            await socket.close(1008)  # before it is accepted: 403
            return
        await socket.accept(choose_subprotocol(socket.scope.get("subprotocols", [])))
        target = f"{socket.url.path}?{socket.url.query}"
        await host.converse(_Socket(socket), headers, target)

    def health(request: Request) -> Response:
        return JSONResponse(host.health(), 503 if host.is_draining else 200)

    def metrics(request: Request) -> Response:
        return PlainTextResponse(host.metrics.text())

    sockets = [WebSocketRoute(path, converse) for path in PATHS]
    return [*sockets, Route("/health", health), Route("/metrics", metrics)]


def application(host: Host) -> Starlette:
    """Return an application that is nothing but the server, for any ASGI host."""
    return Starlette(routes=routes(host), middleware=[Middleware(NameCheck, host=host)])


class NameCheck:
    """Refuses every request, of a page or of a socket, that calls the server by a wrong name.

    Args:
        app: What is asked if the name is right.
        host: Knows which are.
    """

    def __init__(self, app: ASGIApp, host: Host):
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request, or one connection."""
        app = self._app
        if scope["type"] in ("http", "websocket"):
            headers = Headers(HTTPConnection(scope).headers.items())
            if not self._host.admits_name(headers):
                app = PlainTextResponse(NOT_LOCAL, 403)
        await app(scope, receive, send)


class _Socket:
    """A connection of an ASGI server."""

    def __init__(self, socket: WebSocket):
        self._socket = socket

    async def receive(self) -> str | bytes:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise DisconnectedError
        return cast("str | bytes", message.get("text") or message.get("bytes") or "")

    async def send(self, text: str) -> None:
        try:
            await self._socket.send_text(text)
        except (WebSocketDisconnect, RuntimeError):
            raise DisconnectedError from None

    async def close(self, code: int, reason: str) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            await self._socket.close(code, reason[:120])

    def abort(self) -> None:
        """Leave it to the server: the route ends, and with it the connection."""
