"""Who gets what from the web page: addresses, tokens, foreign sites and paths, tried over plain sockets."""

from __future__ import annotations

import http.client
import socket
import sys
from collections.abc import Iterator

import pytest
from web_tools import served

from edgeseg.errors import BackendError, OutputError, UsageError
from edgeseg.runtime.sinks.web.address import is_loopback, listen, public_host, read_address
from edgeseg.runtime.sinks.web.server import PAGE, WebPage

TOKEN = "a-token-of-the-tests"


@pytest.mark.parametrize(
    "text, read",
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("8000", ("127.0.0.1", 8000)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_addresses(text: str, read: tuple[str, int]) -> None:
    assert read_address(text) == read


@pytest.mark.parametrize(
    "text", ["demo", "", ":8000", "1:2:3", "host:", "host:65536", "http://host:80", "::1:80", "-1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        read_address(text)


def test_only_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "fe80::1%2")))
    assert public_host("localhost", "127.0.0.1") == "localhost" and public_host("::1", "::1") == "[::1]"
    assert public_host("0.0.0.0", "0.0.0.0") not in ("0.0.0.0", "")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
def test_all_addresses_of_ipv6_are_those_of_ipv4_as_well() -> None:
    """The address that is printed is one of IPv4, and must answer."""
    with listen("::", 0) as open_socket:
        port = open_socket.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), 60).close()


def test_a_taken_port_is_an_output_that_cannot_be_written() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(OutputError, match="cannot serve the web page"):
        WebPage(taken.getsockname()[:2])
    with pytest.raises(OutputError, match="no-such-host"):
        WebPage(("no-such-host.invalid", 0))


def test_without_aiohttp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.setitem(sys.modules, "aiohttp.web", None)
    with pytest.raises(BackendError, match=r"edgeseg\[web\]"):
        WebPage(("127.0.0.1", 0))


def test_a_page_that_others_reach_has_a_token_and_one_that_is_given_is_not_printed() -> None:
    with WebPage(("127.0.0.1", 0)) as page:
        assert page.url.endswith("/")
    made = set()
    for _ in range(2):
        with WebPage(("0.0.0.0", 0)) as page:
            made.add(page.url.partition("?token=")[2])
    assert len(made) == 2 and min(map(len, made)) >= 32
    with WebPage(("0.0.0.0", 0), TOKEN) as page:
        assert TOKEN not in page.url
    for bad in ("short", "with a space in it", "x" * 15, "töken-of-the-tests", "semi;colon-in-a-token"):
        with pytest.raises(UsageError, match="token"):
            WebPage(("127.0.0.1", 0), bad)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(token=TOKEN) as (page, _, _):
        yield int(page.url.rpartition(":")[2].strip("/"))


@pytest.fixture(scope="module")
def open_port() -> Iterator[int]:
    with served() as (page, _, _):
        yield int(page.url.rpartition(":")[2].strip("/"))


def ask(port: int, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": f"127.0.0.1:{port}", **(headers or {})}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def cookie(port: int, token: str = TOKEN) -> dict[str, str]:
    return {"Cookie": f"edgeseg-{port}={token}"}


def test_the_token_leaves_the_address_for_a_cookie(port: int) -> None:
    answer = ask(port, f"/?token={TOKEN}")
    assert (answer.status, answer.getheader("Location")) == (302, "/")
    given = answer.getheader("Set-Cookie") or ""
    assert given.startswith(f"edgeseg-{port}={TOKEN};") and "HttpOnly" in given and "SameSite=Lax" in given
    assert ask(port, "/", {"Cookie": given.partition(";")[0]}).status == 200


@pytest.mark.parametrize("path", ["/", "/page.js", "/live", "/no-such-page"])
def test_without_the_token_no_path_says_anything(port: int, path: str) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    wrong = [{}, cookie(port, TOKEN[:-1]), cookie(port, TOKEN + "x"), cookie(port + 1), cookie(port, '"\xe9"')]
    wrong += [{"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer"}, {"Authorization": TOKEN}]
    assert [ask(port, path, headers).status for headers in wrong] == [401] * len(wrong)
    for query in (f"?token={TOKEN[:-1]}", "?token=", f"?Token={TOKEN}", "?token=%C3%A9%ff", f"?token=&x={TOKEN}"):
        assert ask(port, path + query).status == 401
    right = {"/": 200, "/page.js": 200, "/live": 400, "/no-such-page": 404}[path]
    assert ask(port, path, bearer).status == ask(port, path, cookie(port)).status == right


def test_a_name_that_is_not_ours_is_refused_whatever_else_is_right(port: int, open_port: int) -> None:
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "", "[x"):
        assert ask(port, "/", {**cookie(port), "Host": host}).status == 403
        assert ask(open_port, "/", {"Host": host}).status in (400, 403)
    # A tunnel has another port; figures cannot be pointed elsewhere.
    for host in ("localhost:9000", "LOCALHOST", "127.0.0.1", "[::1]:80", "192.168.1.7:8000"):
        assert ask(open_port, "/", {"Host": host}).status == 200
    name = socket.gethostname()
    local = f"{name.partition('.')[0].upper()}.local:{port}"
    assert [ask(port, "/", {**cookie(port), "Host": host}).status for host in (name, local)] == [200, 200]
    assert ask(open_port, "/", {"Host": local}).status == 403, "whoever answers to that name"


def test_another_site_s_page_cannot_use_the_socket(open_port: int) -> None:
    shake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    shake["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    own = f"http://127.0.0.1:{open_port}"
    for origin in ("http://evil.example", "null", "http://127.0.0.1", f"http://127.0.0.1:{open_port + 1}", "http://[x"):
        assert ask(open_port, "/live", {**shake, "Origin": origin}).status == 403
        assert ask(open_port, "/page.js", {"Origin": origin}).status == 403
    assert ask(open_port, "/page.js", {"Origin": own}).status == 200


def test_no_path_but_its_own(open_port: int) -> None:
    assert {path.name for path in PAGE.iterdir()} == {
        "index.html", "token.html", "page.css", "page.js", "charts.js", "icon.svg"
    }  # fmt: skip
    for path in ("/", "/page.css", "/page.js", "/charts.js", "/icon.svg", "/page.js?x=1"):
        answer = ask(open_port, path)
        assert answer.status == 200 and answer.getheader("X-Content-Type-Options") == "nosniff"
        assert "default-src 'none'" in (answer.getheader("Content-Security-Policy") or "")
    outside = ["/server.py", "/page", "/page/", "/page/page.js", "/../server.py", "/page/../server.py", "//etc/passwd"]
    outside += [
        "/..%2fserver.py",
        "/%2e%2e/%2e%2e/",
        "/....//server.py",
        "/page.js/",
        "/page.js%00",
        "/\\..\\server.py",
    ]
    outside += ["/../../../../../../etc/passwd", "/%2fetc%2fpasswd", "/token.html", "/static/", "/favicon.ico"]
    assert {path: ask(open_port, path).status for path in outside} == dict.fromkeys(outside, 404)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(open_port, "/page.js", method=method).status == 405
    assert ask(open_port, "/", method="HEAD").status == 200


@pytest.mark.parametrize(
    "sent", [b"garbage\r\n\r\n", b"GET / HTTP/1.1\r\nA B: c\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\n\n"]
)
def test_what_is_no_http_is_refused_without_a_word(
    open_port: int, sent: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", open_port), 60) as raw:
        raw.sendall(sent)
        assert raw.recv(100).startswith(b"HTTP/1.0 400")
    # Two names are no name, and none is none.
    for hosts in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", open_port), 60) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")
            assert raw.recv(100).split()[1] in (b"400", b"403")
    assert capfd.readouterr().err == ""
