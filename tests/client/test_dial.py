"""cno.connect and cno.request: URLs, TLS, and what keeps a connection from being made."""

import asyncio
import errno
import gc
import socket
import ssl
from typing import Any

import pytest
from asking import ask, cancel, engines, exchange, until
from peer import LOOPS, over
from scripted import H2Server, Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.dial
import cno.client.link
from tools import Certificate

RUN = [loop for loop in LOOPS if loop != "python"]

both = over("h1", "h2", loops=RUN, make=Stage)
h1 = over("h1", loops=RUN, make=Stage)
h2_only = over("h2", loops=RUN, make=Stage)


def served(certificate: Certificate, *protocols: str) -> ssl.SSLContext:
    """The TLS of a server that offers these by ALPN."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.cert, certificate.key)
    if protocols:
        tls.set_alpn_protocols(list(protocols))
    return tls


def trusting(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.cert))


async def meet(peer: Stage, url: str, **options: Any) -> Any:
    """What connect() makes of a URL, and what it has connected to."""
    connecting = asyncio.ensure_future(cno.connect(None, url, **options))
    try:
        server = await peer.accept()
    except BaseException:
        connecting.cancel()
        await connecting
        raise
    client = await soon(connecting)
    peer.ours.append(client)
    return client, server


async def send(peer: Stage, method: str, url: str, *args: Any, **options: Any) -> Any:
    """What request() makes of a URL: the task, and what the server sees."""
    task = asyncio.ensure_future(cno.request(None, method, url, *args, **options))
    server = await peer.accept()
    return task, await soon(server.request())


def scheme(peer: Stage) -> str:
    return "http" if peer.version == "h1" else "h2c"


# ---- URLs ----------------------------------------------------------------------------------------

TARGETS = {
    "": "/",
    "/": "/",
    "?": "/?",
    "?q=1": "/?q=1",
    "/path?q=1&r=a/b?c": "/path?q=1&r=a/b?c",
    "/path?": "/path?",
    "/path#fragment?q": "/path",
    "?q#fragment": "/?q",
    "#fragment": "/",
    "/a;b=c,d/e:f@g!$&'()*+~-._": "/a;b=c,d/e:f@g!$&'()*+~-._",
    "/%41%2f?%26": "/%41%2f?%26",
    "/a b?c d": "/a%20b?c%20d",
    "/caf\u00e9?\u00e9=\u20ac": "/caf%C3%A9?%C3%A9=%E2%82%AC",
    "/a[1]?b[2]=c|d": "/a%5B1%5D?b%5B2%5D=c%7Cd",
    "//twice//": "//twice//",
    "/../a/./b": "/../a/./b",
}


@both
async def test_targets(peer: Stage) -> None:
    authority = peer.listen()
    for suffix, target in TARGETS.items():
        task, asked = await send(peer, "GET", f"{scheme(peer)}://{authority}{suffix}")
        assert asked.target == target
        assert asked.one("host" if peer.version == "h1" else ":authority") == authority
        await asked.respond(200, b"ok")
        response = await soon(task)
        assert await soon(response.payload.read()) == b"ok"
        response.conn.close()


@pytest.mark.parametrize(
    "url", ["", "ftp://example.com/", "http://user:secret@example.com/", "http://a[::1]/"]
)
@h1
async def test_urls_that_are_none(peer: Stage, url: str) -> None:
    for call in (lambda: cno.connect(None, url), lambda: cno.request(None, "GET", url)):
        with pytest.raises(ValueError) as caught:
            await soon(call())
        assert "secret" not in str(caught.value)


@both
async def test_ipv6(peer: Stage) -> None:
    try:
        peer.listen(family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6")
    assert peer.listener is not None
    authority = f"[::1]:{peer.listener.getsockname()[1]}"
    task, asked = await send(peer, "GET", f"{scheme(peer)}://{authority}/?q")
    assert asked.one("host" if peer.version == "h1" else ":authority") == authority
    assert asked.target == "/?q"
    await asked.respond()
    response = await soon(task)
    assert response.conn.authority == authority
    response.conn.close()


# ---- which version -------------------------------------------------------------------------------


@both
async def test_without_tls(peer: Stage) -> None:
    authority = peer.listen()
    urls = [(f"{scheme(peer)}://{authority}/x?y#z", {})]
    if peer.version == "h2":
        urls.append((f"http://{authority}", {"force_http2": True}))
        urls.append((f"h2c://{authority}", {"http2": False, "force_http2": False}))
    for url, options in urls:
        client, server = await meet(peer, url, **options)
        assert isinstance(client, cno.Client)
        assert (client.scheme, client.authority) == ("http", authority)
        assert client.is_http2 == (peer.version == "h2")
        assert client.loop is asyncio.get_running_loop()
        task, asked = await ask(client, server)
        if peer.version == "h2":
            assert asked.one(":scheme") == "http"
        await asked.respond()
        assert (await soon(task)).code == 200
        assert repr(client) == f"<Client http://{authority} HTTP/{peer.version[1]}>"
        client.close()
        assert repr(client) == f"<Client http://{authority} closed>"


@pytest.mark.parametrize(
    ("theirs", "name", "options", "chosen"),
    [
        (["h2", "http/1.1"], "https", {}, "h2"),
        (["http/1.1"], "https", {}, "http/1.1"),
        (["h2"], "https", {}, "h2"),
        ([], "https", {}, None),
        (["h2", "http/1.1"], "https", {"http2": False}, "http/1.1"),
        (["h2", "http/1.1"], "h2", {}, "h2"),
        (["http/1.1", "h2"], "h2", {}, "h2"),
        (["http/1.1", "h2"], "https", {"force_http2": True}, "h2"),
    ],
)
@h1
async def test_alpn(
    peer: Stage, certificate: Certificate, theirs: Any, name: str, options: Any, chosen: Any
) -> None:
    authority = peer.listen(served(certificate, *theirs))
    client, server = await meet(
        peer, f"{name}://{authority}/", ssl_ctx=trusting(certificate), **options
    )
    assert isinstance(server, H2Server) == (chosen == "h2") == client.is_http2
    assert (client.scheme, client.authority) == ("https", authority)
    assert client.transport.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
    task, asked = await ask(client, server)
    if chosen == "h2":
        assert asked.one(":scheme") == "https"
    await asked.respond(200, b"ok")
    response = await soon(task)
    assert await soon(response.payload.read()) == b"ok"
    assert await exchange(client, server)


@h1
async def test_a_name_for_tls(peer: Stage, certificate: Certificate) -> None:
    names: list[Any] = []
    tls = served(certificate)
    tls.sni_callback = lambda sock, name, context: names.append(name)
    authority = peer.listen(tls)
    client, server = await meet(
        peer, f"https://{authority}/", ssl_ctx=trusting(certificate), ssl_hostname="localhost"
    )
    assert names == ["localhost"]
    assert client.authority == authority
    assert await exchange(client, server)


class Rooted:
    """A loop whose resolver knows names with a final dot, as that of the system does."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def getaddrinfo(self, host: str, port: int, **options: Any) -> Any:
        assert host == "localhost."
        return await self._loop.getaddrinfo("127.0.0.1", port, **options)


@both
async def test_a_name_with_its_final_dot(peer: Stage, certificate: Certificate) -> None:
    """TLS is told the name without it (RFC 6066 section 3), the server the name as it was given."""
    names: list[Any] = []
    tls = served(certificate, *(["h2"] if peer.version == "h2" else []))
    tls.sni_callback = lambda sock, name, context: names.append(name)
    place = "localhost.:" + peer.listen(tls).partition(":")[2]
    loop: Any = Rooted()
    for options in ({}, {"ssl_hostname": "localhost."}):
        connecting = asyncio.ensure_future(
            cno.connect(loop, f"https://{place}/", ssl_ctx=trusting(certificate), **options)
        )
        server = await peer.accept()
        client = await soon(connecting)
        peer.ours.append(client)
        assert names.pop() == "localhost"
        assert client.authority == place
        task, asked = await ask(client, server)
        assert asked.one("host" if peer.version == "h1" else ":authority") == place
        await asked.respond()
        assert (await soon(task)).code == 200


@h1
async def test_tls_for_a_url_without_it(peer: Stage, certificate: Certificate) -> None:
    for options in ({"ssl_ctx": trusting(certificate)}, {"ssl_hostname": "localhost"}):
        for name in ("http", "h2c"):
            with pytest.raises(ValueError, match="TLS"):
                await cno.connect(None, f"{name}://127.0.0.1/", **options)


# ---- no connection -------------------------------------------------------------------------------


def failed(error: BaseException, authority: str) -> None:
    """The text names the URL, and a reason behind that."""
    assert isinstance(error, cno.ConnectFailed)
    assert isinstance(error, ConnectionError)
    where, _, why = str(error).partition(f"://{authority}: ")
    assert where in ("http", "https")
    assert why.strip()


async def fails(peer: Stage, kind: type[BaseException], url: str, **options: Any) -> Any:
    """connect() and request() fail alike."""
    caught: list[Any] = []
    for call in (cno.connect(None, url, **options), cno.request(None, "GET", url, **options)):
        task: Any = asyncio.ensure_future(call)
        await soon(asyncio.wait([task]))
        assert type(task.exception()) is kind
        failed(task.exception(), peer.authority)
        caught.append(task.exception())
    return caught[0]


@both
async def test_nobody_listens(peer: Stage) -> None:
    authority = peer.listen()
    assert peer.listener is not None
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))  # taken, but nobody listens there
        url = authority.replace(authority.partition(":")[2], str(other.getsockname()[1]))
        with pytest.raises(cno.ConnectFailed) as caught:
            await soon(cno.connect(None, f"{scheme(peer)}://{url}/"))
    failed(caught.value, url)
    assert type(caught.value) is cno.ConnectFailed
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


class Refusing:
    """A loop on which one step of making a connection fails."""

    def __init__(self, step: str, error: Exception) -> None:
        self._step, self._error = step, error
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._step else getattr(self._loop, name)

    async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
        if self._step == "getaddrinfo":
            raise self._error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]

    async def _fail(self, *args: Any, **options: Any) -> None:
        raise self._error


@pytest.mark.parametrize("timeout", [None, 10.0])
@h1
async def test_what_the_system_says(peer: Stage, timeout: float | None) -> None:
    for step, error, text in (
        ("getaddrinfo", socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "known"),
        ("sock_connect", TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "timed out"),
        ("sock_connect", OSError("made up"), "made up"),
        ("sock_connect", ConnectionResetError(), "ConnectionResetError"),
    ):
        loop: Any = Refusing(step, error)
        with pytest.raises(cno.ConnectFailed, match=text) as caught:
            await cno.connect(loop, "http://example.com/", timeout_connect=timeout)
        failed(caught.value, "example.com")
        assert caught.value.__cause__ is error


@h1
async def test_what_the_loop_says(peer: Stage) -> None:
    authority = peer.listen()
    for error in (
        ConnectionResetError(),
        ConnectionAbortedError("SSL handshake is taking too long"),
    ):
        loop: Any = Refusing("create_connection", error)
        with pytest.raises(cno.ConnectFailed) as caught:
            await cno.connect(loop, f"http://{authority}/")
        failed(caught.value, authority)
        assert caught.value.__cause__ is error
        await (await peer.accept()).wire.read_all()


@h1
async def test_a_connection_takes_too_long(peer: Stage, certificate: Certificate) -> None:
    authority = peer.listen()
    error = await fails(
        peer,
        cno.ConnectTimeout,
        f"https://{authority}/",
        ssl_ctx=trusting(certificate),
        timeout_connect=0.01,
    )
    assert isinstance(error, TimeoutError)
    assert "0.01 s" in str(error)


@both
async def test_a_connection_that_is_cancelled(peer: Stage, certificate: Certificate) -> None:
    authority = peer.listen()
    connecting = asyncio.ensure_future(
        cno.connect(None, f"https://{authority}/", ssl_ctx=trusting(certificate))
    )
    server = await peer.accept(begin=False)
    assert await server.wire.receive()  # ClientHello
    await cancel(connecting)
    await server.wire.read_all()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@h1
async def test_a_cancellation_is_never_lost(
    peer: Stage, certificate: Certificate, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However near to the end of connect() the cancellation comes. asyncio.wait_for of CPython 3.10
    and 3.11 loses some (python/cpython#86296)."""
    authority = peer.listen(served(certificate) if secure else None)
    url = f"https://{authority}" if secure else f"http://{authority}"
    tls = trusting(certificate) if secure else None
    loop = asyncio.get_running_loop()
    made = cno.Client.connection_made
    cancelled: list[bool] = []

    def cancel_in(turns: int, task: "asyncio.Task[Any]") -> None:
        if turns:
            loop.call_soon(cancel_in, turns - 1, task)
        else:
            cancelled.append(task.cancel())

    for turns in range(8):
        connecting = asyncio.ensure_future(cno.connect(None, url, ssl_ctx=tls))

        def connection_made(
            client: Any, transport: Any, turns: int = turns, task: Any = connecting
        ) -> None:
            made(client, transport)
            cancel_in(turns, task)

        monkeypatch.setattr(cno.Client, "connection_made", connection_made)
        server = await peer.accept()
        await soon(asyncio.wait([connecting]))
        while len(cancelled) <= turns:
            await asyncio.sleep(0)
        assert connecting.cancelled() == cancelled[turns]
        if not connecting.cancelled():
            connecting.result().close()
        assert await soon(server.wire.read_all()) == b""
    assert cancelled[0]
    assert not cancelled[-1]


@h1
async def test_a_certificate_that_nobody_knows(peer: Stage, certificate: Certificate) -> None:
    authority = peer.listen(served(certificate, "h2", "http/1.1"))

    async def accept() -> None:
        for _ in range(2):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await peer.accept()

    accepting = asyncio.ensure_future(accept())
    error = await fails(peer, cno.TLSFailed, f"https://{authority}/")
    assert "self" in str(error)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    await soon(accepting)


@h1
async def test_a_certificate_of_another(peer: Stage, certificate: Certificate) -> None:
    authority = peer.listen(served(certificate))

    async def accept() -> None:
        for _ in range(2):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await peer.accept()

    accepting = asyncio.ensure_future(accept())
    error = await fails(
        peer,
        cno.TLSFailed,
        f"https://{authority}/",
        ssl_ctx=trusting(certificate),
        ssl_hostname="example.com",
    )
    assert "example.com" in str(error)
    await soon(accepting)


@pytest.mark.parametrize(
    "octets", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["plain", "closed"]
)
@h1
async def test_a_server_that_speaks_no_tls(
    peer: Stage, certificate: Certificate, octets: bytes
) -> None:
    authority = peer.listen()

    async def answer() -> None:
        for _ in range(2):
            server = await peer.accept()
            await server.wire.receive()
            await server.wire.send(octets)
            server.wire.fin()
            await server.wire.read_all()

    answering = asyncio.ensure_future(answer())
    await fails(peer, cno.TLSFailed, f"https://{authority}/", ssl_ctx=trusting(certificate))
    await soon(answering)


# ---- request() -----------------------------------------------------------------------------------


@both
async def test_a_request_with_everything(peer: Stage) -> None:
    authority = peer.listen()
    said: list[int] = []
    task, asked = await send(
        peer,
        "PUT",
        f"{scheme(peer)}://{authority}/x",
        [("x-one", "1")],
        [b"bo", b"dy"],
        trailers=[("x-sum", "2")],
        inform=lambda code, _: said.append(code),
        timeout=5.0,
        timeout_idle=5.0,
        timeout_connect=5.0,
        push=False,
    )
    assert asked.one("x-one") == "1"
    assert await soon(asked.whole()) == b"body"
    assert asked.trailers == [("x-sum", "2")]
    await asked.head(103)
    await asked.respond(200, b"ok")
    response = await soon(task)
    assert said == [103]
    assert await soon(response.payload.read()) == b"ok"
    assert response.conn.timeout == 5.0
    assert not response.conn.is_closed
    assert await exchange(response.conn, asked.server)  # the connection is there for more
    response.conn.close()
    await soon(response.conn.wait_closed())


@both
async def test_the_end_of_the_response_is_that_of_the_connection(peer: Stage) -> None:
    authority = peer.listen()
    url = f"{scheme(peer)}://{authority}/"
    task, asked = await send(peer, "GET", url)
    await asked.respond(200, b"ok")
    async with await soon(task) as response:
        assert await soon(response.payload.read()) == b"ok"
    assert response.conn.is_closed
    assert await soon(asked.server.closed()) == "fin"
    task, asked = await send(peer, "GET", url)
    await asked.head(200)
    await asked.write(b"some")
    async with await soon(task) as response:
        assert await soon(response.payload.readexactly(4)) == b"some"
    assert response.conn.is_closed
    task, asked = await send(peer, "GET", url)
    await asked.head(200)
    response = await soon(task)
    response.close()
    assert response.conn.is_closed
    await soon(response.conn.wait_closed())


@both
async def test_a_request_that_fails_ends_its_connection(peer: Stage) -> None:
    authority = peer.listen()
    url = f"{scheme(peer)}://{authority}/"
    task, asked = await send(peer, "GET", url)
    await cancel(task)
    await soon(asked.server.closed())
    task, asked = await send(peer, "GET", url, timeout=0.01)
    with pytest.raises(cno.RequestTimeout):
        await soon(task)
    await soon(asked.server.closed())
    task = asyncio.ensure_future(cno.request(None, "GET", url, [("x", "\n")]))
    server = await peer.accept()
    with pytest.raises(ValueError):
        await soon(task)
    await soon(server.closed())


@both
async def test_an_option_that_is_none(peer: Stage) -> None:
    url = f"{scheme(peer)}://{peer.listen()}/"
    options: Any = {"colour": "red"}
    for call in (cno.connect, lambda loop, url, **more: cno.request(loop, "GET", url, **more)):
        with pytest.raises(TypeError, match="colour"):
            await soon(call(None, url, **options))


# ---- memory --------------------------------------------------------------------------------------


@both
async def test_nothing_is_kept(peer: Stage, certificate: Certificate) -> None:
    plain = peer.listen()
    gc.collect()
    gc.disable()
    try:
        before = engines()
        for _ in range(3):
            task, asked = await send(peer, "GET", f"{scheme(peer)}://{plain}/")
            await asked.respond(200, b"ok")
            async with await soon(task) as response:
                assert await soon(response.payload.read()) == b"ok"
            asked.server.close()
        peer.theirs.clear()
        del task, asked, response
        for _ in range(10):
            await asyncio.sleep(0)
        assert engines() == before
    finally:
        gc.enable()


# ---- inside TLS ----------------------------------------------------------------------------------


@both
async def test_much_in_both_directions(peer: Stage, certificate: Certificate) -> None:
    protocols = ["h2"] if peer.version == "h2" else []
    authority = peer.listen(served(certificate, *protocols))
    client, server = await meet(peer, f"https://{authority}/", ssl_ctx=trusting(certificate))
    size = 3 * 1024 * 1024
    task, asked = await ask(client, server, "POST", "/", [], bytes(size))
    assert len(await soon(asked.whole())) == size
    sending = asyncio.ensure_future(asked.respond(200, bytes(size)))
    response = await soon(task)
    await until(lambda: len(response.payload._buffer) >= 65536)
    got = 0
    while data := await soon(response.payload.read(10000)):
        got += len(data)
    assert got == size
    await soon(sending)
    assert await exchange(client, server)
    client.close()
    assert await soon(server.closed()) == "fin"  # by close_notify
    await soon(client.wait_closed())


@h1
async def test_the_end_of_tls_behind_a_body_that_waits(
    peer: Stage, certificate: Certificate
) -> None:
    """The end is not reported before what came ahead of close_notify."""
    authority = peer.listen(served(certificate))
    client, server = await meet(peer, f"https://{authority}/", ssl_ctx=trusting(certificate))
    task, _ = await ask(client, server)
    size = 2 * 1024 * 1024
    server.wire.writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(size))
    server.wire.writer.close()
    response = await soon(task)
    await until(lambda: not client._reading)
    got = 0
    while data := await soon(response.payload.read(10000)):
        got += len(data)
    assert got == size


@h1
async def test_connections_at_once_that_share_a_context(
    peer: Stage, certificate: Certificate
) -> None:
    """Each connection offers its own protocols, whatever the others do with the ALPN of the
    context."""
    authority = peer.listen(served(certificate, "h2", "http/1.1"))
    tls = trusting(certificate)
    wanted = [number % 2 == 0 for number in range(8)]
    connecting = [
        asyncio.ensure_future(cno.connect(None, f"https://{authority}", ssl_ctx=tls, http2=http2))
        for http2 in wanted
    ]
    for _ in wanted:
        await peer.accept(begin=False)
    clients = await soon(asyncio.gather(*connecting))
    peer.ours += clients
    assert [client.is_http2 for client in clients] == wanted
    assert clients[0].transport.get_extra_info("ssl_object").context is tls


@h1
async def test_the_trust_store_is_loaded_once(
    peer: Stage, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading takes tens of milliseconds. Another store is another context."""
    authority = peer.listen(served(certificate))
    cno.client.dial._trusting.cache_clear()
    made: list[ssl.SSLContext] = []
    make = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda: made.append(make()) or made[-1])
    monkeypatch.setenv("SSL_CERT_DIR", str(certificate.cert.parent))
    for store, count in ((certificate.key, 1), (certificate.cert, 2), (certificate.cert, 2)):
        monkeypatch.setenv("SSL_CERT_FILE", str(store))
        connecting = asyncio.ensure_future(cno.connect(None, f"https://{authority}"))
        if store == certificate.cert:
            await peer.accept()
            peer.ours.append(await soon(connecting))
        else:
            with pytest.raises(OSError):
                await peer.accept()
            with pytest.raises(cno.TLSFailed):
                await soon(connecting)
        assert len(made) == count


@h1
async def test_a_body_of_a_request_that_is_cancelled_while_it_connects(peer: Stage) -> None:
    """The writer of the channel learns that nobody will read it. Without a connection the body can
    be sent again."""
    authority = peer.listen()
    channel = cno.Channel(1)
    task = asyncio.ensure_future(cno.request(None, "POST", f"http://{authority}", [], channel))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(BrokenPipeError):
        await soon(channel.put(b"x"))
    channel = cno.Channel(1)
    with pytest.raises(cno.ConnectFailed):
        await cno.request(None, "POST", "http://127.0.0.1:1", [], channel)
    await soon(channel.put(b"x"))
