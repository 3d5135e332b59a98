"""Who may come in: keys, origins, and clients of the protocol as it was."""

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.datastructures import Headers

KEY_SUBPROTOCOL = "openai-insecure-api-key."
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Refusal:
    """Why a client is turned away, after the handshake, where a browser can read it."""

    code: str
    message: str
    close_code: int

    @property
    def reason(self) -> str:
        """What the connection is closed with."""
        known = self.code in ("invalid_api_key", "beta_api_shape_disabled")
        return f"invalid_request_error.{self.code}" if known else self.message


@dataclass(frozen=True)
class Gate:
    """The rules.

    Attributes:
        keys: One of which is needed, if there are any.
        origins: Pages that may connect besides those of this server and of this machine, such as
            ``https://example.org``; ``*`` for all. Programs that are no browser send none.
    """

    keys: Collection[str] = ()
    origins: Collection[str] = ()

    def allows_origin(self, origin: str | None, host: str | None) -> bool:
        """Say whether a page may connect; ``host`` is what it calls this server."""
        if origin is None or "*" in self.origins or origin in self.origins:
            return True
        parts = urlsplit(origin)
        return parts.hostname in LOCAL or (bool(host) and parts.netloc == host)

    def check(self, headers: Headers) -> Refusal | None:
        """Return why a client is turned away, None if it is welcome."""
        offered = _offered(headers)
        if "realtime=v1" in headers.get("OpenAI-Beta", "") or BETA_SUBPROTOCOL in offered:
            message = "The Realtime Beta API is not served here. Please use the GA API."
            return Refusal("beta_api_shape_disabled", message, 4000)
        if not self.keys:
            return None
        given = _key(headers, offered).encode()
        # All are compared, so that the time tells nothing.
        if not sum(hmac.compare_digest(given, key.encode()) for key in self.keys):
            return Refusal("invalid_api_key", "Incorrect API key provided.", 3000)
        return None


def _offered(headers: Headers) -> list[str]:
    values = headers.get_all("Sec-WebSocket-Protocol")
    return [each.strip() for value in values for each in value.split(",")]


def _key(headers: Headers, offered: list[str]) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    for each in offered:
        if each.startswith(KEY_SUBPROTOCOL):
            return each.removeprefix(KEY_SUBPROTOCOL)
    return headers.get("api-key", "")
