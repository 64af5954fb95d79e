"""Where the page is served: the word HOST:PORT read, a socket bound to it, and the address that people open."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket

from edgeseg.errors import OutputError, UsageError

DEFAULT = ("127.0.0.1", 8000)
_WORD = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):)?(?P<port>\d{1,5})")


def read_address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:PORT` or `PORT` alone, which is of this machine (127.0.0.1); port 0 is any free one.

    Raises:
        UsageError: it is none of these.
    """
    found = _WORD.fullmatch(text)
    if found is None or int(found["port"]) > 65_535:
        todo = "Give HOST:PORT or a port, such as 127.0.0.1:8000, or write --web behind the sources"
        raise UsageError("bad address of a web page", text or "''", todo)
    return (found["host"] or DEFAULT[0]).strip("[]"), int(found["port"])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; OutputError where none can."""
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # `::` stands for all of a machine's addresses, those of IPv4 included.
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(place[:2], family=family, dualstack_ipv6=both)
    except OSError as error:
        seen = f"{host}:{port} ({error.strerror or error})"
        raise OutputError("cannot serve the web page", seen, "Give another HOST:PORT, or port 0 for any") from None


def is_loopback(bound: str) -> bool:
    """True for an address that only this machine can reach."""
    return ipaddress.ip_address(bound.partition("%")[0]).is_loopback


def public_host(host: str, bound: str) -> str:
    """The host that people write to reach the socket: `host` itself, or this machine's address where it is all of them.

    Args:
        host: as the user wrote it.
        bound: the address the socket is bound to.
    """
    if not ipaddress.ip_address(bound.partition("%")[0]).is_unspecified:
        return f"[{host}]" if ":" in host else host
    # Connecting a datagram socket sends nothing; it only looks up which address would be the sender.
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # RFC 5737: an address that nobody has
        return str(probe.getsockname()[0])
    return socket.gethostname()


def is_ip(host: str) -> bool:
    """True for an address in figures, brackets of IPv6 taken off."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
