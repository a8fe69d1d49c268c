"""ASGI: the HTTP connection scope (www.rst). One test per rule, named by its id."""

import socket
import ssl
from typing import Any

import pytest
from peer import Peer, answer, over
from wire import H1, H2

from tools import Certificate

# A scope does not depend on the event loop.
both, h1, h2_only = (
    over(*versions, loops=["asyncio"]) for versions in (("h1", "h2"), ("h1",), ("h2",))
)

TYPES = {
    "type": str,
    "asgi": dict,
    "http_version": str,
    "method": str,
    "scheme": str,
    "path": str,
    "raw_path": bytes,
    "query_string": bytes,
    "root_path": str,
    "headers": list,
    "client": tuple,
    "server": tuple,
    "state": dict,
    "extensions": dict,
}


class Recorder:
    """An application that keeps the scopes of its requests."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.scopes.append(scope)
        await answer(send)

    @property
    def last(self) -> dict[str, Any]:
        """The latest scope."""
        return self.scopes[-1]


async def raw_h1(client: H1, target: bytes, method: bytes = b"GET", *fields: bytes) -> int:
    """The status for a request with this target."""
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: localhost", *fields, b"", b""]
    return (await client.raw(b"\r\n".join(lines))).status


@both
async def test_h1_keys_and_types(peer: Peer) -> None:
    app = Recorder()
    await (await peer.serve(app, lifespan="on")).ask("/x?y")
    assert {key: type(value) for key, value in app.last.items()} == TYPES
    for name, value in app.last["headers"]:
        assert (type(name), type(value)) == (bytes, bytes)
    assert [type(part) for part in (*app.last["client"], *app.last["server"])] == [str, int] * 2


@both
async def test_h2_http_version(peer: Peer) -> None:
    app = Recorder()
    await (await peer.serve(app)).ask()
    assert app.last["http_version"] == {"h1": "1.1", "h2": "2"}[peer.version]


@h1
async def test_h2_http_version_1_0(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    await client.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert app.last["http_version"] == "1.0"


@both
async def test_h3_methods(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    methods = ["GET", "HEAD", "POST", "DELETE", "PATCH", "QUERY", "M-SEARCH", "X" * 40]
    for method in methods:
        assert (await client.ask(method=method)).status == 200
    assert [scope["method"] for scope in app.scopes] == methods


@both
async def test_h3_methods_are_in_upper_case(peer: Peer) -> None:
    app = Recorder()
    assert (await (await peer.serve(app)).ask(method="get")).status == 200
    assert app.last["method"] == "GET"


@both
async def test_h4_the_path_is_decoded_once(peer: Peer) -> None:
    app = Recorder()
    await (await peer.serve(app)).ask("/a%2Fb/%C3%A9%20%2541?q=%2F")
    assert app.last["path"] == "/a/b/é %41"
    assert app.last["raw_path"] == b"/a%2Fb/%C3%A9%20%2541"
    assert app.last["query_string"] == b"q=%2F"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/%ff", "/\ufffd"),
        ("/%C3/%A9", "/\ufffd/\ufffd"),
        ("/%E2%82x", "/\ufffdx"),
        ("/%ed%a0%80", "/\ufffd\ufffd\ufffd"),
    ],
    ids=["octet", "halves", "cut", "surrogate"],
)
@both
async def test_h5_a_path_that_is_not_utf8(peer: Peer, target: str, path: str) -> None:
    app = Recorder()
    assert (await (await peer.serve(app)).ask(target)).status == 200
    assert app.last["path"] == path
    assert app.last["raw_path"] == target.encode()


@pytest.mark.parametrize("target", ["/%", "/%4", "/%zz", "/100%/x", "/%%41"])
@both
async def test_h5_broken_percent_encoding_does_no_harm(peer: Peer, target: str) -> None:
    """It is a 400, or kept as it is; never an octet that was not meant."""
    app = Recorder()
    client = await peer.serve(app)
    response = await client.ask(target)
    if response.status == 200:
        assert app.last["raw_path"] == target.encode()
        assert app.last["path"] == target.replace("%41", "A")
    else:
        assert response.status == 400
        assert not app.scopes


@both
async def test_h6_raw_path_is_what_was_on_the_wire(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app, root_path="/api")
    for target in ("/a%2fb;c=1//d/../e", "/%7Euser/%e4", "/a+b&c=d", "/"):
        await client.ask(target + "?x=/%20")
        assert app.last["raw_path"] == target.encode()


@h1
async def test_h7_absolute_form(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    for target, path, query in [
        (b"http://localhost/p?q", "/p", b"q"),
        (b"http://localhost/", "/", b""),
        (b"http://localhost", "/", b""),
        (b"http://localhost?q", "/", b"q"),
        (b"HTTP://localhost/a%20b", "/a b", b""),
    ]:
        assert await raw_h1(client, target) == 200, target
        assert (app.last["path"], app.last["query_string"]) == (path, query), target
        assert app.last["raw_path"].startswith(b"/")
        assert dict(app.last["headers"])[b"host"] == b"localhost"


@h1
async def test_h7_the_host_of_the_absolute_form_wins_or_it_is_refused(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    if await raw_h1(client, b"http://other/p") == 200:
        assert dict(app.last["headers"])[b"host"] == b"other"
    else:
        assert not app.scopes


@both
async def test_h8_options_asterisk(peer: Peer) -> None:
    app = Recorder()
    assert (await (await peer.serve(app)).ask("*", method="OPTIONS")).status == 200
    assert (app.last["path"], app.last["raw_path"], app.last["query_string"]) == ("*", b"*", b"")


@pytest.mark.parametrize("target", ["?x", "x", "*"])
@both
async def test_h8_other_forms_are_refused(peer: Peer, target: str) -> None:
    app = Recorder()
    client = await peer.serve(app)
    response = await client.ask(target)
    assert not app.scopes
    assert response.status == 400 or response.reset == 1
    assert (await (await peer.connect()).ask()).status == 200


@both
async def test_h9_query_string(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    for target, query in [
        ("/x", b""),
        ("/x?", b""),
        ("/x?a=%20&b=+?c", b"a=%20&b=+?c"),
        ("/x??", b"?"),
    ]:
        assert (await client.ask(target)).status == 200
        assert app.last["query_string"] == query
        assert app.last["path"] == "/x"


@both
async def test_h10_root_path(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app, root_path="/api")
    await client.ask("/x")
    await client.ask("/api/y")
    assert [scope["root_path"] for scope in app.scopes] == ["/api", "/api"]
    assert all(type(scope["root_path"]) is str for scope in app.scopes)


@both
async def test_e_root_path_begins_with_root_path_exactly_once(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app, root_path="/api")
    for target, path in [
        ("/x", "/api/x"),
        ("/api/x", "/api/x"),
        ("/api", "/api"),
        ("/api/", "/api/"),
        ("/", "/api/"),
        ("/apix", "/api/apix"),
        ("/%61pi/x", "/api/x"),
        ("/api/api/x", "/api/api/x"),
    ]:
        await client.ask(target)
        assert (app.last["path"], app.last["root_path"]) == (path, "/api"), target


@pytest.mark.parametrize("given", ["/api/", "api", "/"])
@both
async def test_e_root_of_another_form(peer: Peer, given: str) -> None:
    """Whatever was typed: `path` begins with `root_path`, without a slash too many."""
    app = Recorder()
    client = await peer.serve(app, root_path=given)
    await client.ask("/x")
    assert app.last["path"] == f"{app.last['root_path']}/x"
    assert app.last["path"] == ("/x" if given == "/" else "/api/x")


@both
async def test_e_root_with_the_asterisk(peer: Peer) -> None:
    app = Recorder()
    await (await peer.serve(app, root_path="/api")).ask("*", method="OPTIONS")
    assert app.last["path"] in ("*", "/api", "/api/*")


@h1
async def test_h11_headers(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    fields = [
        b"X-Two:  two words \t",
        b"x-one:\t1",
        b"X-TWO:three",
        b"Accept: a, b",
        b"X-Empty:",
        b"X-Latin: \xe9\xff",
    ]
    assert await raw_h1(client, b"/", b"GET", *fields) == 200
    assert app.last["headers"] == [
        (b"host", b"localhost"),
        (b"x-two", b"two words"),
        (b"x-one", b"1"),
        (b"x-two", b"three"),
        (b"accept", b"a, b"),
        (b"x-empty", b""),
        (b"x-latin", b"\xe9\xff"),
    ]


@h2_only
async def test_h11_headers_of_http2(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    fields = [("x-two", "2"), ("x-one", "1"), ("x-two", "3"), ("x-empty", ""), ("x-l", "\xe9\xff")]
    assert (await client.ask("/", fields)).status == 200
    assert app.last["headers"] == [
        (b"host", b"localhost"),
        *((name.encode(), value.encode("latin-1")) for name, value in fields),
    ]


@h2_only
async def test_h12_authority_becomes_host_at_the_start(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
    for fields in (
        [*pseudo, (":authority", "a:1"), ("x", "y")],
        [*pseudo, (":authority", "a:1"), ("x", "y"), ("host", "a:1")],
        [*pseudo, ("x", "y"), ("host", "a:1")],
    ):
        exchange = await client.open(fields)
        assert (await exchange.response()).status == 200
        assert sorted(app.last["headers"]) == [(b"host", b"a:1"), (b"x", b"y")]
        if (":authority", "a:1") in fields:
            assert app.last["headers"][0] == (b"host", b"a:1")


@both
async def test_h13_no_invented_headers(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    await client.ask()
    assert app.last["headers"] == [(b"host", b"localhost")]
    if isinstance(client, H1):
        await client.raw(b"GET / HTTP/1.0\r\n\r\n")
        assert app.last["headers"] == []


@h2_only
async def test_h13_no_invented_host(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    exchange = await client.open([(":method", "GET"), (":scheme", "http"), (":path", "/")])
    response = await exchange.response()
    if response.status == 200:
        assert app.last["headers"] == []
    else:
        assert not app.scopes


@h2_only
async def test_h14_cookies_are_joined(peer: Peer) -> None:
    app = Recorder()
    fields = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3"), ("cookie", "d=4")]
    await (await peer.serve(app)).ask("/", fields)
    cookies = [value for name, value in app.last["headers"] if name == b"cookie"]
    assert cookies == [b"a=1; b=2; c=3; d=4"]


@h1
async def test_h14_cookies_of_http1_are_as_sent(peer: Peer) -> None:
    app = Recorder()
    await (await peer.serve(app)).ask("/", [("cookie", "a=1"), ("cookie", "b=2")])
    cookies = [value for name, value in app.last["headers"] if name == b"cookie"]
    assert cookies == [b"a=1", b"b=2"]


@both
async def test_h15_client_and_server(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    await client.ask()
    assert tuple(app.last["client"]) == client.wire.sock.getsockname()
    assert tuple(app.last["server"]) == client.wire.sock.getpeername()


@both
async def test_h15_unix_socket(peer: Peer, tmp_path: Any) -> None:
    app = Recorder()
    path = str(tmp_path / "s")
    await (await peer.serve(app, uds=path)).ask()
    assert app.last["client"] is None
    assert list(app.last["server"]) == [path, None]
    assert "unix" in peer.access[0]


@both
async def test_h15_ipv6(peer: Peer) -> None:
    app = Recorder()
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    client = await peer.serve(app, host="::1")
    await client.ask()
    assert tuple(app.last["client"]) == client.wire.sock.getsockname()[:2]
    assert tuple(app.last["server"]) == client.wire.sock.getpeername()[:2]


@both
async def test_h16_scheme(peer: Peer) -> None:
    app = Recorder()
    await (await peer.serve(app)).ask()
    assert app.last["scheme"] == "http"


@both
async def test_h16_scheme_inside_tls(peer: Peer, certificate: Certificate) -> None:
    app = Recorder()
    files = {"ssl_certfile": str(certificate.cert), "ssl_keyfile": str(certificate.key)}
    await peer.start(app, **files)
    client = await peer.connect(tls=ssl.create_default_context(cafile=certificate.cert))
    assert (await client.ask()).status == 200
    assert app.last["scheme"] == "https"
    assert app.last["http_version"] == {"h1": "1.1", "h2": "2"}[peer.version]


@h2_only
async def test_h16_scheme_is_not_what_the_client_says(peer: Peer) -> None:
    app = Recorder()
    client = await peer.serve(app)
    for scheme in ("https", "ftp"):
        fields = [(":method", "GET"), (":scheme", scheme), (":path", "/"), (":authority", "a")]
        response = await (await client.open(fields)).response()
        if response.status == 200:
            assert app.last["scheme"] == "http"


@both
async def test_h17_state(peer: Peer) -> None:
    shared: list[int] = []

    class App(Recorder):
        async def __call__(self, scope, receive, send):
            if scope["type"] == "lifespan":
                scope["state"].update(shared=shared, number=1)
            else:
                assert scope["state"]["number"] == 1
                scope["state"]["number"] = 2
                scope["state"]["other"] = 3
                scope["state"]["shared"].append(len(scope["state"]))
            await super().__call__(scope, receive, send)

    app = App()
    client = await peer.serve(app, lifespan="on")
    for _ in range(2):
        assert (await client.ask()).status == 200
    assert app.scopes[0]["state"] is not app.scopes[1]["state"]
    assert shared == [3, 3]


@both
async def test_h17_no_state_without_lifespan(peer: Peer) -> None:
    app = Recorder()
    await (await peer.serve(app, lifespan="off")).ask()
    assert "state" not in app.last


@both
async def test_h18_names_with_an_underscore_are_kept(peer: Peer) -> None:
    app = Recorder()
    await (await peer.serve(app)).ask("/", [("x_forwarded_for", "a"), ("x-forwarded-for", "b")])
    assert app.last["headers"][1:] == [(b"x_forwarded_for", b"a"), (b"x-forwarded-for", b"b")]


@h2_only
async def test_h11_many_fields(peer: Peer) -> None:
    """More than one frame can hold."""
    app = Recorder()
    client = await peer.serve(app)
    assert isinstance(client, H2)
    fields = [(f"x-{number}", "v" * 500) for number in range(100)]
    assert (await client.ask("/", fields)).status == 200
    assert len(app.last["headers"]) == 101
