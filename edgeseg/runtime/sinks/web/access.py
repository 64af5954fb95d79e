"""Who may see the page: the token, and what a page of somebody else's must not do with the user's browser."""

from __future__ import annotations

import hmac
import re
import secrets
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeseg.errors import UsageError
from edgeseg.runtime.sinks.web.address import is_ip

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest, StreamResponse

SHORTEST_TOKEN = 16
# Nothing is fetched from elsewhere, nothing is framed, no address with a token travels on in a Referer.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "edgeseg",
}


def new_token() -> str:
    """192 random bits, fit for an address."""
    return secrets.token_urlsafe(24)


def check_token(token: str) -> str:
    """The token as given; UsageError for one that is easily guessed or does not fit into an address or a cookie."""
    if not re.fullmatch(rf"[A-Za-z0-9._~-]{{{SHORTEST_TOKEN},}}", token):
        todo = f"Use at least {SHORTEST_TOKEN} letters, figures or any of . _ ~ -"
        raise UsageError("the web page's token is no good", f"{len(token)} characters", todo)
    return token


class Access:
    """Decides on requests.

    A page elsewhere can point a name of its own at this machine (DNS rebinding): so the `Host` of a request must be an
    address in figures, which needs no lookup, or a name that is ours. It can also open a WebSocket here, which browsers
    allow across origins: so an `Origin` must be the page's own. Programs that are no browser send none.

    Args:
        token: what a request has to show; None lets everybody in.
        host: the host that the user asked for; a name among others that are ours.
        port: that of the page, for the name of the cookie: browsers share cookies between the ports of a host.
    """

    def __init__(self, token: str | None, host: str, port: int) -> None:
        self._token = token
        self._names = {"localhost", host.lower()}
        if token is not None:
            # In a local network anybody may answer to a name that ends in .local: without a token none is believed.
            name = socket.gethostname().lower()
            self._names |= {name, f"{name.partition('.')[0]}.local"}
        self.cookie = f"edgeseg-{port}"

    def misdirected(self, request: BaseRequest) -> str | None:
        """Why the request is not for this page, None where it is."""
        hosts = request.headers.getall("Host", [])
        host = _hostname(f"//{hosts[0]}") if len(hosts) == 1 else None
        if host is None or not (is_ip(host) or host in self._names):
            return "this page is not served under that name; open it by its address"
        # https: where something in front of this server adds it.
        own = {f"{scheme}://{hosts[0]}".lower() for scheme in ("http", "https")}
        if not {origin.lower() for origin in request.headers.getall("Origin", [])} <= own:
            return "another site's page may not use this one"
        return None

    def is_let_in(self, request: BaseRequest) -> bool:
        """True where the request shows the token: in its address, a cookie, or `Authorization: Bearer`."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        shown = [request.query.get("token"), request.cookies.get(self.cookie)]
        shown.append(credentials.strip() if scheme.lower() == "bearer" else None)
        return self._token is None or any(self._is_token(word) for word in shown)

    def remember(self, response: StreamResponse) -> None:
        """Put the token into a cookie, so that it can leave the address.

        `Lax` since a strict cookie is not sent after a link in a message was followed.
        """
        if self._token is not None:
            response.set_cookie(self.cookie, self._token, httponly=True, samesite="Lax")

    def _is_token(self, word: str | None) -> bool:
        return word is not None and hmac.compare_digest(word.encode(errors="replace"), str(self._token).encode())


def _hostname(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
