"""Who may come in: keys, origins, names, and clients of the protocol as it was."""

import hmac
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.datastructures import Headers

KEY_SUBPROTOCOL = "openai-insecure-api-key."
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
NOT_LOCAL = (
    "this server is for this machine and was called by another name: open it as localhost, or "
    "start it with --api-key, or with the --origin of the page it stands behind\n"
)


def is_local(name: str | None) -> bool:
    """Say whether a host's name or address is always that of the machine itself."""
    try:
        return name == "localhost" or ipaddress.ip_address(name or "").is_loopback
    except ValueError:
        return False


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
        only_local: Whether a server listens for this machine alone and asks for no key. A page of
            anybody's could have its own name lead here (DNS rebinding) and then be of the same
            origin, so such a server has to be called by a name that is always local, or by that of
            one of ``origins``.
    """

    keys: Collection[str] = ()
    origins: Collection[str] = ()
    only_local: bool = False

    def allows_name(self, host: str | None) -> bool:
        """Say whether a server may be called ``host``, which every browser tells."""
        if not self.only_local or host is None or "*" in self.origins:
            return True
        if any(urlsplit(origin).netloc == host for origin in self.origins):
            return True
        try:
            return is_local(urlsplit(f"//{host}").hostname)
        except ValueError:  # brackets that do not close
            return False

    def allows_origin(self, origin: str | None, host: str | None) -> bool:
        """Say whether a page may connect; ``host`` is what it calls this server."""
        if origin is None or "*" in self.origins or origin in self.origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return is_local(parts.hostname) or (bool(host) and parts.netloc == host)

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
