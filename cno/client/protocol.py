"""cno.Client: an asyncio.Protocol that makes requests, and what comes of them.

Knows messages of HTTP; requester.py has the connection, dial.py makes its transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Generator
from contextlib import suppress
from types import EllipsisType, TracebackType
from typing import Any, TypedDict, cast

from cno.client.connection import Requester
from cno.client.errors import RequestTimeout, Unprocessed, fresh
from cno.client.exchange import Exchange, Inform
from cno.engine.errors import Disconnected, StreamGone, UsageError
from cno.engine.events import Event
from cno.engine.fields import Head, Headers, Trailers, as_octets, as_text, lowered, pairs
from cno.transport.body import OCTETS, Body, octets_of, release, size_of
from cno.transport.connection import QUANTUM


class ClientOptions(TypedDict, total=False):
    """What a Client takes by name. Times are in seconds, None is for ever."""

    force_http2: bool
    push: bool
    timeout: float | None
    timeout_idle: float | None
    ping_interval: float | None


class RequestOptions(TypedDict, total=False):
    """What a request takes by name."""

    trailers: Trailers
    timeout: float | None
    inform: Inform | None


# ---- connections --------------------------------------------------------------------------------


class Client(Requester):
    """A connection to a server: what the factory for loop.create_connection returns.

    Any number of tasks may make requests. What the server does not take at once waits in order: on
    HTTP/1 for the response before it, on HTTP/2 for a place among the streams that the server
    allows.
    """

    # ---- requests -----------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        payload: Body = b"",
        *,
        trailers: Trailers = None,
        timeout: float | EllipsisType | None = ...,
        inform: Inform | None = None,
    ) -> Response:
        """Makes a request; returns its response when the head of that has come, while `payload` may
        still be on its way.

        `path` is the request target, with the query. `payload` is bytes or the like, a Channel,
        another (async) iterable of bytes, or a file; with `expect: 100-continue` among `headers` it
        waits for the server to want it. `trailers` come behind it, or what they return then if they
        are a function. `timeout` is that of the client unless it is given. `inform(code, headers)`
        is called for informational responses (100, 103). A 2xx to CONNECT, and 101, make a tunnel
        with `payload` and the payload of the response as its two directions.

        Nothing else on the connection suffers when this is cancelled, but that HTTP/1 with a body
        halfway ends. Raises RequestFailed (see cno.client.errors), ValueError and TypeError
        for what cannot be sent, and whatever `payload` raises.
        """
        if isinstance(payload, str):
            raise TypeError("a body is bytes, not str")
        exchange = None
        try:
            size = size_of(payload) if trailers is None else -1
            fields = lowered(headers)
            seconds = self.timeout if isinstance(timeout, EllipsisType) else timeout
            exchange = Exchange(self, method, fields, seconds, inform)
            exchange.sent = size == 0
            target = self._address(exchange, as_octets(path))
            await self._begin(exchange, target, self._fields(exchange, size))
            if not exchange.sent:
                with suppress(StreamGone, Disconnected):  # of which the response tells
                    self._send(exchange, payload, size, trailers)
            self.flush_soon()
            await exchange.answered()
        except BaseException as error:
            if exchange is not None:
                self.abandon(exchange)
            began = exchange is not None and exchange.uploads
            if not began and not isinstance(error, Unprocessed):  # that is made again with it
                await release(payload)
            raise
        return Response(self, exchange)

    def _send(self, exchange: Exchange, payload: Body, size: int, trailers: Trailers) -> None:
        """Writes the body: what is at hand and small at once, the rest by a task."""
        at_hand = isinstance(payload, OCTETS) and size <= QUANTUM
        if at_hand and trailers is None and not exchange.waits_to_send:
            octets = octets_of(payload)
            try:
                taken = self.engine.write(exchange.id, octets, True)
            except UsageError as error:
                raise ValueError(f"the request cannot be sent: {error}") from None
            if taken == size:
                exchange.sent = True
                self.said_all()
                return
            payload = memoryview(octets)[taken:]
        # Not by the loop's factory: what goes wrong in an eager task nobody waits for yet.
        exchange.uploading = asyncio.Task(exchange.upload(payload, trailers))

    def _promised(self, asked: Exchange, exchange: Exchange, target: bytes) -> None:
        try:
            asked.pushes.put_nowait(Push(self, exchange, target))
        except (BrokenPipeError, asyncio.QueueFull):  # its reader has gone, or does not take them
            self.abandon(exchange)

    async def ping(self) -> float:
        """The seconds that a PING and its answer take. Raises RequestFailed when there is none
        within `timeout`, RuntimeError on HTTP/1, which has no PING."""
        if not self.http2:
            raise RuntimeError("HTTP/1 has no PING")
        if self._failure is not None:
            raise fresh(self._failure)
        self._pings_sent += 1
        payload = self._pings_sent.to_bytes(8, "big")
        pong = self._pings[payload] = self.loop.create_future()
        started = self.loop.time()
        try:
            self.engine.ping(payload)
            self.flush()
            await asyncio.wait([pong], timeout=self.timeout)
        finally:
            del self._pings[payload]
        if not pong.done():
            raise RequestTimeout(f"{self._name()} does not answer a PING")
        if self._failure is not None:
            raise fresh(self._failure)
        return self.loop.time() - started

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self.wait_closed()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "HTTP/2" if self.http2 else "HTTP/1"
        return f"<Client {self.scheme}://{self.authority} {state}>"


# ---- responses ----------------------------------------------------------------------------------


class Response(Head):
    """A response whose head has come.

    `code` is its status, `payload` an asyncio.StreamReader for its body; reading that raises
    RequestFailed when the body will not be complete. Names of fields are in lower case.

    `async with` closes it at the end. One that is neither read to its end nor closed keeps an
    HTTP/1 connection busy, and its place among the streams of HTTP/2.
    """

    def __init__(self, conn: Client, exchange: Exchange) -> None:
        """Made by the client."""
        event = cast(Event, exchange.answer)
        self._exchange = exchange
        self._last = False
        self.conn = conn
        self.code: int = event[3]
        self.raw_headers = event[8]
        self.payload: asyncio.StreamReader = exchange.payload

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """The trailer fields, once `payload` is at its end."""
        return pairs(self._exchange.trailers or [])

    @property
    def tunnel(self) -> bool:
        """Whether `payload` and that of the request are a tunnel now."""
        return self._exchange.tunnel

    @property
    def pushed(self) -> AsyncIterator[Push]:
        """`async for push in response.pushed` gives each Push as it is promised, up to the end of
        the response."""
        return self._exchange.pushes

    def close(self) -> None:
        """No more of it is wanted, nor what was pushed with it and not taken from `pushed`: HTTP/2
        resets these streams; on HTTP/1 the rest is read past, or the connection ends."""
        self.conn.abandon(self._exchange)
        if self._last:
            self.conn.close()

    def ends_connection(self) -> None:
        """Has close() end the connection too."""
        self._last = True

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if self._last:
            await self.conn.wait_closed()

    def __repr__(self) -> str:
        return f"<Response {self.code} to {self._exchange.method}>"


class Push:
    """A response to a request that the server expects (RFC 9113 section 8.4): `method`, `path` and
    `headers` are of that request."""

    def __init__(self, conn: Client, exchange: Exchange, target: bytes) -> None:
        """Made by the client."""
        self._conn = conn
        self._exchange = exchange
        self.method = exchange.method
        self.path = as_text(target)
        self.headers = pairs(exchange.fields)

    @property
    def response(self) -> Awaitable[Response]:
        """`await push.response` is the Response. Raises RequestFailed when there will be none."""
        return _Pushed(self._conn, self._exchange)

    def cancel(self) -> None:
        """The response is not wanted."""
        self._conn.abandon(self._exchange)

    def __repr__(self) -> str:
        return f"<Push {self.method} {self.path}>"


class _Pushed:
    """What can be awaited for a response as often as one likes."""

    def __init__(self, conn: Client, exchange: Exchange) -> None:
        self._conn = conn
        self._exchange = exchange

    def __await__(self) -> Generator[Any, None, Response]:
        yield from self._exchange.answered().__await__()
        return Response(self._conn, self._exchange)
