"""cno.Client with other servers (nginx, nghttpd, haproxy, hypercorn, granian and uvicorn) and with
the servers of cno."""

import asyncio
import functools
import hashlib
import inspect
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from origins import BRIEF, LARGE, Origins, body, start_nginx
from peer import LOOPS, run
from wire import soon

import cno
import cno.client.connection
import cno.client.exchange
import cno.client.upload
from tools import Certificate

# How a client talks to a server: the scheme of the server's URL, the scheme that cno is given,
# options of connect(), and whether the connection is HTTP/2.
WAYS: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "h1": ("http", "http", {}, False),
    "h2c": ("http", "h2c", {}, True),
    "h1-tls": ("https", "https", {"http2": False}, False),
    "h2-tls": ("https", "https", {}, True),
}

ALL = tuple(WAYS)
SERVERS = {
    "nginx": ("h1", "h1-tls", "h2-tls"),
    "nghttpd": ("h2c", "h2-tls"),
    "haproxy": ALL,
    "hypercorn": ALL,
    "granian": ALL,
    "uvicorn": ("h1", "h1-tls"),
    "uvicorn-h11": ("h1",),
    "cno-asgi": ALL,
    "cno.Server": ALL,
}
APPLICATIONS = [name for name in SERVERS if name not in ("nginx", "nghttpd")]
UPLOAD = body(3_000_000)


class Site:
    """A server, and how the client talks to it."""

    def __init__(self, origins: Origins, name: str, way: str) -> None:
        self.name, self.way = name, way
        self.origins = origins
        self.scheme, self.ours, self.options, self.http2 = WAYS[way]
        self.version = "2" if self.http2 else "1.1"

    def url(self, kind: str = "") -> str:
        """The URL of the server for cno; `kind` is a special resource of the server."""
        return self.ours + self.origins.url(self.name, kind or self.scheme)[len(self.scheme) :]

    def trust(self) -> dict[str, Any]:
        """The options of connect() for this server."""
        tls = None
        if self.scheme == "https":
            tls = ssl.create_default_context(cafile=str(self.origins.certificate.cert))
        return {"ssl_ctx": tls, "timeout": 10.0, **self.options}

    @asynccontextmanager
    async def connect(self, kind: str = "", **options: Any) -> AsyncIterator[cno.Client]:
        """A client that is connected with the expected version."""
        async with await cno.connect(None, self.url(kind), **{**self.trust(), **options}) as client:
            assert client.is_http2 is self.http2
            yield client

    async def request(self, method: str, path: str, *more: Any, **options: Any) -> cno.Response:
        """Makes a request by cno.request()."""
        options = {**self.trust(), **options}
        return await cno.request(None, method, self.url() + path, *more, **options)


def talks(*loops: Any) -> Callable[[Any], Any]:
    """Runs a coroutine function on each of these event loops."""

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def call(*, loop_name: str, **more: Any) -> None:
            run(lambda: test(**more), loop_name)

        own = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
        others = inspect.signature(test).parameters.values()
        call.__signature__ = inspect.Signature([*others, own])  # type: ignore[attr-defined]
        del call.__wrapped__  # type: ignore[attr-defined]
        return pytest.mark.parametrize("loop_name", list(loops))(call)

    return decorate


def sites(*names: str, ways: tuple[str, ...] = ALL, loops: Any = ("asyncio",)) -> Any:
    """Runs a coroutine function for each of these servers and each way to talk to a server."""
    pairs = [(name, way) for name in names for way in SERVERS[name] if way in ways]

    def decorate(test: Callable[..., Any]) -> Any:
        ids = [f"{name}-{way}" for name, way in pairs]
        return pytest.mark.parametrize("site", pairs, indirect=True, ids=ids)(talks(*loops)(test))

    return decorate


@pytest.fixture(scope="module")
def origins(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[Origins]:
    made = Origins(tmp_path_factory.mktemp("origins"), certificate)
    yield made
    made.close()


@pytest.fixture
def site(request: pytest.FixtureRequest, origins: Origins) -> Site:
    made = Site(origins, *request.param)
    made.url()  # comes up, or skips the test
    return made


async def ask(
    client: cno.Client,
    path: str,
    method: str = "GET",
    headers: Any = (),
    body: Any = b"",
    **more: Any,
) -> tuple[int, dict[str, str], bytes]:
    """Makes a request; returns the response with its whole body."""
    async with await client.request(method, path, headers, body, **more) as response:
        return response.code, dict(response.headers), await response.payload.read()


async def get(client: cno.Client, path: str) -> bytes:
    code, _, body = await ask(client, path)
    assert code == 200
    return body


async def pieces(data: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


# ---- all of them --------------------------------------------------------------------------------

OUR_LOOPS = [loop for loop in LOOPS if loop != "python"]


@sites(*SERVERS, loops=OUR_LOOPS)
async def test_hello(site: Site) -> None:
    async with site.connect() as client:
        code, headers, body = await ask(client, "/hello?q=1")
        assert code == 200
        assert body.startswith(b"hello")
        if site.name not in ("nginx", "nghttpd", "haproxy"):
            assert body == f"hello over {site.version}".encode()
        if (site.name, site.http2) == ("granian", True):  # the body is sent nevertheless
            with pytest.raises(cno.BadResponse, match="length-mismatch"):
                await ask(client, "/hello", "HEAD")
        else:
            code, headers, nothing = await ask(client, "/hello", "HEAD")
            assert (code, nothing) == (200, b"")
            assert headers["content-length"] == str(len(body))
        for _ in range(20):
            assert await get(client, "/hello") == body
    async with await site.request("GET", "/hello") as response:
        assert await response.payload.read() == body
    assert response.conn.is_closed


@sites(*SERVERS)
async def test_uploads(site: Site) -> None:
    """Bodies of a known or unknown length are read whole or in parts."""
    async with site.connect() as client:
        for path in ["/echo"] if site.name == "nghttpd" else ["/echo", "/digest"]:
            want = UPLOAD
            if path == "/digest":
                want = hashlib.sha256(UPLOAD).hexdigest().encode()
            for body in (UPLOAD, pieces(UPLOAD)):
                code, _, got = await ask(client, path, "POST", (), body)
                assert code == 200
                assert got == want
            code, _, got = await ask(client, path, "POST", (), b"")
            assert code == 200
            assert got == (b"" if path == "/echo" else hashlib.sha256().hexdigest().encode())


@sites(*SERVERS)
async def test_50_at_a_time(site: Site) -> None:
    """Uploads and downloads are mixed, and each response belongs to its request."""
    async with site.connect() as client:

        async def one(number: int) -> None:
            sent = body(1000 * number + 1)
            code, _, got = await ask(client, "/echo", "POST", (), pieces(sent))
            assert code == 200
            assert got == sent
            assert (await get(client, "/hello")).startswith(b"hello")

        await asyncio.gather(*map(one, range(50)))


@sites(*APPLICATIONS)
async def test_bodies_of_applications(site: Site) -> None:
    async with site.connect() as client:
        for size in (0, 1, 65536, 5_000_000):
            got = await get(client, f"/bytes/{size}")
            assert len(got) == size
        assert await get(client, "/stream") == b"".join(b"%099d\n" % n for n in range(100))
        for status in (404, 500, 503):
            code, _, got = await ask(client, f"/status/{status}")
            assert (code, got) == (status, b"as you like it")
        assert await get(client, "/bytes/3") == b"\x00\x01\x02"


async def gone(site: Site) -> int:
    """Returns how many clients have left streams of events."""
    async with await site.request("GET", "/gone") as response:
        return int(await response.payload.read())


@sites(*APPLICATIONS, "nginx")
async def test_a_stream_cut_by_closing_the_response(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application learns that the client has left. On HTTP/2 the connection can be used
    again."""
    monkeypatch.setattr(cno.client.connection, "READ_PAST", 0.1)
    async with site.connect() as client:
        before = await gone(site)
        async with await client.request("GET", "/events") as response:
            assert await response.payload.readline() == b"data: x\n"
        # haproxy 2.6 reads on from its backend now and then when a stream of HTTP/2 is reset, even
        # when the whole connection has ended.
        while not (site.name == "haproxy" and site.http2) and await gone(site) == before:
            pass
        if site.http2:
            assert not client.is_closed
            assert await get(client, "/stream")
        else:
            assert client.is_closed


@sites("cno.Server", ways=("h1",))
async def test_a_stream_closed_while_it_is_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cno.client.connection, "READ_PAST", 0.1)
    async with site.connect() as client:
        response = await client.request("GET", "/events")
        assert await response.payload.readline() == b"data: x\n"
        reading = asyncio.create_task(response.payload.read())
        await asyncio.sleep(0)
        response.close()
        with pytest.raises(cno.RequestFailed, match="was closed"):
            await reading
        await soon(client.wait_closed())


@sites(*APPLICATIONS)
async def test_an_upload_cut_by_closing_the_response(site: Site) -> None:
    """The request is cancelled in the middle of its body, and the channel of the body has no
    writer."""
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"a first part"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with site.connect() as client:
        async with await client.request("POST", "/echo", (), endless()) as response:
            assert await response.payload.read(100) == b"a first part"
        await soon(ended.wait())
        if site.http2:
            assert await get(client, "/stream")


@sites("hypercorn", "cno.Server", "haproxy")
async def test_early_hints(site: Site) -> None:
    seen: list[Any] = []
    async with site.connect() as client:
        code, _, got = await ask(client, "/hints", inform=lambda *what: seen.append(what))
        assert (code, got) == (200, b"hinted")
    if site.name != "hypercorn" or site.http2:
        assert [code for code, _ in seen] == [103]
        assert ("link", "</style.css>; rel=preload") in seen[0][1]


@sites("hypercorn", "cno.Server", "haproxy", "nghttpd")
async def test_trailers(site: Site) -> None:
    path = "/hello" if site.name == "nghttpd" else "/trailers"
    async with site.connect() as client:
        async with await client.request("GET", path, [("te", "trailers")]) as response:
            assert await response.payload.read()
            seen = response.trailers
        assert (await ask(client, "/hello"))[0] == 200
    if site.name == "nghttpd":
        assert seen == [("x-trailer", "behind it")]
    elif site.name != "hypercorn" or site.http2:
        assert seen == [("x-sum", "4")]


@sites(*SERVERS, ways=("h1-tls", "h2-tls"))
async def test_a_certificate_that_nobody_signed(site: Site) -> None:
    with pytest.raises(cno.TLSFailed, match="self-signed"):
        await cno.connect(None, site.url())
    tls = ssl.create_default_context(cafile=str(site.origins.certificate.cert))
    with pytest.raises(cno.TLSFailed, match="mismatch"):
        await cno.connect(None, site.url(), ssl_ctx=tls, ssl_hostname="elsewhere.test")
    options = {**site.options, "ssl_ctx": tls, "ssl_hostname": "localhost"}
    async with await cno.connect(None, site.url(), **options) as client:
        assert client.is_http2 is site.http2


# ---- nginx --------------------------------------------------------------------------------------


@sites("nginx")
async def test_nginx_files(site: Site) -> None:
    large = body(LARGE)
    async with site.connect() as client:
        code, headers, got = await ask(client, "/empty")
        assert (code, headers["content-length"], got) == (200, "0", b"")
        code, headers, got = await ask(client, "/large")
        assert (code, headers["content-length"]) == (200, str(LARGE))
        assert got == large
        code, headers, got = await ask(client, "/large", "HEAD")
        assert (code, headers["content-length"], got) == (200, str(LARGE), b"")
        code, _, got = await ask(client, "/nosuch")
        assert code == 404
        assert b"nginx" in got
        code, _, got = await ask(client, "/nosuch", "HEAD")
        assert (code, got) == (404, b"")
        code, headers, got = await ask(client, "/large", headers=[("range", "bytes=1000-200999")])
        assert (code, headers["content-range"]) == (206, f"bytes 1000-200999/{LARGE}")
        assert got == large[1000:201000]
        code, headers, got = await ask(client, "/hello", headers=[("range", "bytes=9-")])
        assert code == 416
        code, headers, got = await ask(client, "/hello")
        asked = [("if-none-match", headers["etag"])]
        code, _, nothing = await ask(client, "/hello", headers=asked)
        assert (code, nothing) == (304, b"")
        for _ in range(300):
            assert await get(client, "/hello") == got


@sites("nginx")
async def test_nginx_downloads_at_a_time(site: Site) -> None:
    """One response is read slowly. On HTTP/2 the other responses do not wait for that one."""
    async with site.connect() as client:
        slow = await client.request("GET", "/large")
        if not site.http2:
            assert len(await slow.payload.read()) == LARGE
        got = await asyncio.gather(*(get(client, "/large") for _ in range(3)))
        assert {len(part) for part in got} == {LARGE}
        if site.http2:
            assert len(await slow.payload.read()) == LARGE


@sites("nginx")
async def test_nginx_answers_before_it_has_the_body(site: Site) -> None:
    """The rest of the request's body is still sent, unless the response is closed."""
    async with site.connect() as client:
        for _ in range(3):
            response = await client.request("POST", "/discard", (), pieces(UPLOAD))
            assert response.code == 200
            assert await response.payload.read() == b"not read"
        code, _, got = await ask(client, "/discard", "POST", (), b"small")
        assert (code, got) == (200, b"not read")

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield bytes(1000)

        code, _, got = await ask(client, "/discard", "POST", (), endless())
        assert (code, got) == (200, b"not read")
        if site.http2:
            assert await get(client, "/hello") == b"hello"
        else:
            assert client.is_closed


@sites("nginx")
async def test_nginx_expect_100(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    if site.http2:  # which it does not say there
        monkeypatch.setattr(cno.client.upload, "EXPECT", 0.1)
    async with site.connect() as client:
        expect = [("expect", "100-continue")]
        code, _, got = await ask(client, "/echo", "POST", expect, pieces(UPLOAD))
        assert code == 200
        assert got == UPLOAD


@sites("nginx", ways=("h2-tls",))
async def test_nginx_allows_few_streams(site: Site) -> None:
    async with site.connect("few") as client:
        got = await asyncio.gather(*(get(client, "/hello") for _ in range(50)))
        assert got == [b"hello"] * 50


async def until_served(site: Site, kind: str, count: int) -> int:
    """Makes `count` requests at once, and those that were not processed again on another
    connection. Returns the number of connections."""
    connections, left = 0, count
    while left:
        connections += 1
        assert connections < count
        async with site.connect(kind) as client:
            asked = (get(client, "/hello") for _ in range(left))
            for result in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(result, cno.RequestFailed) and result.unprocessed:
                    continue
                assert result == b"hello"
                left -= 1
    return connections


@sites("nginx", ways=("h1", "h2-tls"))
async def test_nginx_serves_so_many_requests_per_connection(site: Site) -> None:
    kind = "briefs" if site.http2 else "brief"
    async with site.connect(kind) as client:
        for _ in range(BRIEF):
            assert await get(client, "/hello") == b"hello"
        with pytest.raises(cno.Unprocessed):
            await get(client, "/hello")
        assert client.is_closed
    assert await until_served(site, kind, 50) == 3


@sites("nginx")
@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGHUP], ids=["quit", "reload"])
async def test_nginx_leaves_in_order(site: Site, number: int, tmp_path: Path) -> None:
    """Requests under way are answered; later requests are not processed."""
    tmp_path.chmod(0o755)
    server, urls = start_nginx(site.origins, tmp_path / "nginx")
    async with await cno.connect(None, urls[site.scheme], **site.trust()) as client:
        assert await get(client, "/hello") == b"hello"
        response = await client.request("GET", "/large")
        server.send(number)
        server.expect("gracefully shutting down")
        if site.http2:
            assert len(await response.payload.readexactly(LARGE // 2)) == LARGE // 2
            with pytest.raises(cno.Unprocessed):
                while True:
                    await get(client, "/hello")
            assert len(await response.payload.read()) == LARGE // 2
        else:
            assert len(await response.payload.read()) == LARGE
            with pytest.raises(
                (cno.Unprocessed, cno.ConnectionLost)
            ):  # the end may cross a request
                while True:
                    await get(client, "/hello")
    if number == signal.SIGHUP:
        async with await cno.connect(None, urls[site.scheme], **site.trust()) as client:
            assert await get(client, "/hello") == b"hello"
        server.send(signal.SIGQUIT)
    assert server.wait() == 0


# ---- nghttpd ------------------------------------------------------------------------------------


@sites("nghttpd")
async def test_nghttpd_files(site: Site) -> None:
    async with site.connect() as client:
        assert await get(client, "/empty") == b""
        assert hashlib.sha256(await get(client, "/large")).digest() == (
            hashlib.sha256(body(LARGE)).digest()
        )
        code, _, got = await ask(client, "/nosuch")
        assert code == 404
        assert b"404" in got
        with pytest.raises(cno.BadResponse, match="length-mismatch"):  # the page is sent anyway
            await ask(client, "/nosuch", "HEAD")
        code, _, _ = await ask(client, "/" + "x" * 5000)
        assert code == 404
        assert await client.ping() < 10


@sites("nghttpd")
async def test_nghttpd_pushes(site: Site) -> None:
    async with site.connect() as client:
        for cancelled in (False, True):
            response = await client.request("GET", "/hello")
            seen = []
            async for push in response.pushed:
                assert push.method == "GET"
                if cancelled:
                    push.cancel()
                    continue
                pushed = await push.response
                assert pushed.code == 200
                seen.append((push.path, await pushed.payload.read()))
            assert await response.payload.read() == b"hello"
            if not cancelled:
                assert sorted(seen) == [("/empty", b""), ("/style.css", b"css")]
        assert await get(client, "/hello") == b"hello"
    async with site.connect(push=False) as client:
        response = await client.request("GET", "/hello")
        assert await response.payload.read() == b"hello"
        assert [push async for push in response.pushed] == []


@sites("nghttpd", ways=("h2c",))
async def test_nghttpd_allows_few_streams(site: Site) -> None:
    async with site.connect("few", push=False) as client:

        async def one(number: int) -> None:
            sent = body(10000 * number)
            assert (await ask(client, "/echo", "POST", (), pieces(sent)))[2] == sent

        await asyncio.gather(*map(one, range(50)))


@sites("nghttpd", ways=("h2c",))
async def test_nghttpd_answers_before_it_has_the_body(site: Site) -> None:
    async with site.connect("hasty", push=False) as client:
        for _ in range(3):
            code, _, got = await ask(client, "/large", "POST", (), pieces(UPLOAD))
            assert (code, len(got)) == (200, LARGE)


@sites("nghttpd", ways=("h2c",))
async def test_nghttpd_pads(site: Site) -> None:
    async with site.connect("padded") as client:
        assert len(await get(client, "/large")) == LARGE
        assert (await ask(client, "/echo", "POST", (), UPLOAD))[2] == UPLOAD


# ---- haproxy ------------------------------------------------------------------------------------


@sites("haproxy")
async def test_haproxy_without_a_backend(site: Site) -> None:
    async with site.connect() as client:
        code, _, got = await ask(client, "/away")
        assert code == 503
        assert b"No server" in got
        if site.http2:
            assert await get(client, "/stream")
    async with site.connect() as client:
        expect = [("expect", "100-continue")]
        assert (await ask(client, "/away", "POST", expect, pieces(UPLOAD)))[0] == 503
    async with site.connect() as client:
        try:
            assert (await ask(client, "/away", "POST", (), pieces(UPLOAD)))[0] == 503
        except cno.ConnectionLost:  # haproxy has reset the connection behind its answer
            assert not site.http2


@sites("cno.Server", ways=("h1",))
async def test_a_body_at_hand_has_its_end_with_it(site: Site) -> None:
    """The last byte of the request completes the response, so that closing the response cuts
    nothing."""
    async with site.connect() as client:
        for _ in range(20):
            assert await ask(client, "/echo", "POST", (), body(65537)) == (200, ANY, body(65537))
        assert not client.is_closed


@talks(*OUR_LOOPS)
async def test_a_server_that_answers_and_leaves() -> None:
    """The server answers without the body and leaves. The response is read, although writing
    fails."""
    loop = asyncio.get_running_loop()
    answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno!"
    taken = asyncio.Event()

    async def serve() -> None:
        peer = (await loop.sock_accept(listener))[0]
        with peer:
            peer.setblocking(False)
            while b"first" not in await loop.sock_recv(peer, 65536):
                pass
            peer.send(answer)
        taken.set()

    async def upload() -> AsyncIterator[bytes]:
        yield b"first"
        await taken.wait()
        while True:
            yield bytes(1000)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        serving = asyncio.create_task(serve())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with await soon(cno.request(None, "POST", url, (), upload())) as response:
            assert response.code == 413
            assert await response.payload.read() == b"no!"
        await serving


# ---- ours ---------------------------------------------------------------------------------------


@sites("cno.Server")
async def test_trailers_both_ways(site: Site) -> None:
    async with site.connect() as client:
        trailers = [("x-sum", "7")]
        response = await client.request("POST", "/echo", (), pieces(UPLOAD), trailers=trailers)
        assert await response.payload.read() == UPLOAD
        assert response.trailers == trailers


@sites("cno.Server", ways=("h2c", "h2-tls"))
async def test_pushes(site: Site) -> None:
    async with site.connect() as client:
        response = await client.request("GET", "/push")
        seen = []
        async for push in response.pushed:
            pushed = await push.response
            seen.append((dict(push.headers)["x-number"], await pushed.payload.read()))
        assert seen == [("0", b""), ("1", b"\x00"), ("2", b"\x00\x01")]
