"""cno.connect and cno.request: from a URL to a connection, and to a response."""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from cno.client.errors import ConnectFailed, ConnectTimeout, TLSFailed
from cno.client.protocol import Client, ClientOptions, RequestOptions
from cno.client.response import Response
from cno.client.sockets import open_socket, within
from cno.client.url import Place, parse, tls_name
from cno.engine.fields import Headers
from cno.transport.body import Body, release

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ConnectOptions(ClientOptions, total=False):
    """The keywords of connect()."""

    http2: bool
    ssl_ctx: ssl.SSLContext | None
    ssl_hostname: str | None
    timeout_connect: float | None


class RequestOnceOptions(ConnectOptions, RequestOptions, total=False):
    """The keywords of request()."""


@lru_cache(maxsize=4)
def _trusting(store: ssl.DefaultVerifyPaths) -> ssl.SSLContext:  # noqa: ARG001
    """A context with the trust store of the system, which takes tens of milliseconds to load."""
    return ssl.create_default_context()


class _Offer:
    """An ssl.SSLContext for one connection, as far as an event loop uses it. Other connections that
    share the context may offer other protocols by ALPN."""

    def __init__(self, context: ssl.SSLContext, protocols: list[str]) -> None:
        self._context = context
        self._protocols = protocols

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Begins TLS."""
        self._context.set_alpn_protocols(self._protocols)
        return self._context.wrap_bio(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


async def connect(
    loop: asyncio.AbstractEventLoop | None,
    url: str,
    *,
    http2: bool = True,
    ssl_ctx: ssl.SSLContext | None = None,
    ssl_hostname: str | None = None,
    timeout_connect: float | None = 30.0,
    **options: Unpack[ClientOptions],
) -> Client:
    """A connection to the host of `url`; the path and the query of the URL do not matter.

    `loop` None is the running one. Schemes are http and https, and h2c and h2 for HTTP/2 without
    negotiation (as with `force_http2`). With TLS the certificate of the server is verified by the
    trust store of the system for the host of the URL, and ALPN offers HTTP/2 unless `http2` is off.
    `ssl_ctx`, whose ALPN is set accordingly, takes the place of the trust store, and `ssl_hostname`
    that of the host. `timeout_connect` is in seconds, for TCP and TLS together. The other options
    are those of Client.

    Raises ConnectFailed or one of its kinds, ConnectTimeout and TLSFailed, and ValueError for the
    URL.
    """
    loop = loop or asyncio.get_running_loop()
    place = parse(url)
    if place.http2:
        options["force_http2"] = True
    tls: Any = None
    if place.secure:
        force = options.get("force_http2", False)
        protocols = ["h2"] if force else ["h2", "http/1.1"] if http2 else ["http/1.1"]
        tls = _Offer(ssl_ctx or _trusting(ssl.get_default_verify_paths()), protocols)
    elif ssl_ctx is not None or ssl_hostname is not None:
        raise ValueError(f"{url!r} has no TLS for ssl_ctx and ssl_hostname")
    client = Client(loop, place.authority, place.scheme, **options)
    name = tls_name(ssl_hostname) if ssl_hostname else place.server_name
    try:
        await within(timeout_connect, _open(client, place, tls, name))
    except BaseException as error:
        client.close()  # the connection may have been made, and nobody will use it
        if isinstance(error, (asyncio.TimeoutError, OSError)):
            raise _failure(place, error, timeout_connect) from error
        raise
    return client


async def _open(client: Client, place: Place, tls: Any, name: str) -> None:
    """Connects a client, by TLS if there is a context."""
    sock = await open_socket(client.loop, place.host, place.port)
    taken = False

    def take() -> Client:
        nonlocal taken
        taken = True
        return client

    try:
        await client.loop.create_connection(
            take, sock=sock, ssl=tls, server_hostname=name if tls else None
        )
    except BaseException:
        if not taken:  # else the transport has closed the socket, or is about to
            sock.close()
        raise


def _failure(place: Place, error: Exception, seconds: float | None) -> ConnectFailed:
    """Why there is no connection."""
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "verify_message", "") or error.reason or error
        return TLSFailed(f"{place.url}: TLS failed: {why}")
    # The operating system has timeouts of its own, whose errors have a number.
    if isinstance(error, asyncio.TimeoutError) and seconds and not getattr(error, "errno", None):
        return ConnectTimeout(f"{place.url}: no connection in {seconds:g} s")
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if place.secure and isinstance(error, (ConnectionResetError, ConnectionAbortedError)):
        return TLSFailed(f"{place.url}: TLS failed: {why}")
    return ConnectFailed(f"{place.url}: {why}")


async def request(
    loop: asyncio.AbstractEventLoop | None,
    method: str,
    url: str,
    headers: Headers = (),
    payload: Body = b"",
    **options: Unpack[RequestOnceOptions],
) -> Response:
    """connect(), and one request on that connection, with the options of both.

    The connection stays open until `response.conn.close()`, or until the end of `async with` the
    response. Raises the exceptions of connect() and of Client.request().
    """
    about: RequestOptions = {}
    if "trailers" in options:
        about["trailers"] = options.pop("trailers")
    if "inform" in options:
        about["inform"] = options.pop("inform")
    try:
        client = await connect(loop, url, **cast(ConnectOptions, options))
    except ConnectFailed:  # the request may be made again, with the same payload
        raise
    except BaseException:
        await release(payload)
        raise
    try:
        response = await client.request(method, parse(url).target, headers, payload, **about)
    except BaseException:
        client.close()
        raise
    response.ends_connection()
    return response
