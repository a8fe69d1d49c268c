"""cno.Client: an asyncio.Protocol that makes requests."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import EllipsisType, TracebackType
from typing import TypedDict

from cno.client.connection import ClientConnection
from cno.client.errors import RequestTimeout, Unprocessed
from cno.client.exchange import Exchange, Inform
from cno.client.head import fields_of, target_of
from cno.client.response import Response
from cno.client.upload import upload
from cno.engine.errors import Disconnected, StreamGone, UsageError
from cno.engine.fields import Headers, Trailers, as_octets, lowered
from cno.transport.body import OCTETS, Body, octets_of, release, size_of
from cno.transport.writing import QUANTUM


class ClientOptions(TypedDict, total=False):
    """The keywords of Client. Times are in seconds, None is no limit."""

    force_http2: bool
    push: bool
    timeout: float | None
    timeout_idle: float | None
    ping_interval: float | None


class RequestOptions(TypedDict, total=False):
    """The keywords of a request."""

    trailers: Trailers
    timeout: float | None
    inform: Inform | None


class Client(ClientConnection):
    """A connection to a server: the protocol that a factory for loop.create_connection returns.

    Any number of tasks may make requests. A request that the server does not take at once waits in
    order: on HTTP/1 for the end of the response before it, on HTTP/2 for a place among the streams
    that the server allows.
    """

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

        `path` is the request target, with the query; in absolute form, for a proxy, it names the
        origin. `payload` is bytes or the like, a Channel, another (async) iterable of bytes, or a
        file; with `expect: 100-continue` among `headers` the payload waits until the server wants
        it. `trailers` are sent behind the payload: fields, or a function that is called for them
        then. `timeout` is that of the client unless it is given. `inform(code, headers)` is called
        for informational responses (100, 103), in the context of this call. A 2xx to CONNECT, and
        101, make a tunnel with `payload` and the payload of the response as its two directions.

        A cancellation harms no other request, except that HTTP/1 ends when the body was halfway.
        Raises RequestFailed (see cno.client.errors), ValueError and TypeError for a request that
        cannot be sent, and whatever `payload` raises.
        """
        if isinstance(payload, str):
            raise TypeError("a body is bytes, not str")
        exchange = None
        try:
            size = size_of(payload) if trailers is None else -1
            seconds = self.timeout if isinstance(timeout, EllipsisType) else timeout
            exchange = self.new_exchange(method, lowered(headers), seconds, inform)
            exchange.sent = size == 0
            target = target_of(exchange, as_octets(path))
            await self.begin(exchange, target, fields_of(exchange, size))
            if not exchange.sent:
                with suppress(StreamGone, Disconnected):  # the response tells of that
                    self._send(exchange, payload, size, trailers)
            self.flush_soon()
            await exchange.answered()
        except BaseException as error:
            if exchange is not None:
                self.abandon(exchange)
            began = exchange is not None and exchange.uploads
            # An unprocessed request may be made again, with the same payload.
            if not began and not isinstance(error, Unprocessed):
                await release(payload)
            raise
        return Response(self, exchange)

    def _send(self, exchange: Exchange, payload: Body, size: int, trailers: Trailers) -> None:
        """Writes the body: a small one that is at hand at once, another one by a task."""
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
        # Not by the task factory of the loop: an eager task may fail before anybody waits for it.
        exchange.uploading = asyncio.Task(upload(self, exchange, payload, trailers))

    async def ping(self) -> float:
        """The seconds that a PING and its answer take. Raises RequestFailed when there is no answer
        within `timeout`, RuntimeError on HTTP/1, which has no PING."""
        if not self.http2:
            raise RuntimeError("HTTP/1 has no PING")
        self.check()
        payload, pong = self.pings.new()
        started = self.loop.time()
        try:
            self.engine.ping(payload)
            self.flush()
            await asyncio.wait([pong], timeout=self.timeout)
        finally:
            self.pings.forget(payload)
        if not pong.done():
            raise RequestTimeout(f"{self.name} does not answer a PING")
        self.check()
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
