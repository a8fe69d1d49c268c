"""What the caller of a request has of it: its response, and the responses that come with that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from cno.client.exchange import Exchange
from cno.engine.fields import Head, as_text, pairs

if TYPE_CHECKING:  # for the type of an attribute; that module makes responses
    import asyncio

    from cno.client.protocol import Client
    from cno.engine.events import Event


class Response(Head):
    """A response whose head has come.

    `code` is its status, `payload` an asyncio.StreamReader for its body; reading that raises
    RequestFailed when the body will not be complete. Names of fields are in lower case.

    `async with` closes the response at its end. A response that is neither read to its end nor
    closed keeps an HTTP/1 connection busy, and its place among the streams of HTTP/2.
    """

    def __init__(self, conn: Client, exchange: Exchange) -> None:
        """Made by the client."""
        event = cast("Event", exchange.answer)
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
        """Whether `payload` and the payload of the request are a tunnel now."""
        return self._exchange.tunnel

    @property
    def pushed(self) -> Pushed:
        """`async for push in response.pushed` gives each Push as it is promised, up to the end of
        the response. Raises RequestTimeout."""
        return Pushed(self.conn, self._exchange)

    def close(self) -> None:
        """Gives up the rest of the response, and the pushes that were not taken from `pushed`.
        HTTP/2 resets these streams. On HTTP/1 the rest is read past, or the connection ends."""
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
    `headers` are those of the request."""

    def __init__(self, conn: Client, exchange: Exchange) -> None:
        """Made by the client."""
        self._conn = conn
        self._exchange = exchange
        self.method = exchange.method
        self.path = as_text(exchange.target)
        self.headers = pairs(exchange.fields)

    @property
    def response(self) -> Awaitable[Response]:
        """`await push.response` is the Response. Raises RequestFailed when there will be none."""
        return _Coming(self._conn, self._exchange)

    def cancel(self) -> None:
        """Declines the response."""
        self._conn.abandon(self._exchange)

    def __repr__(self) -> str:
        return f"<Push {self.method} {self.path}>"


class Pushed(AsyncIterator[Push]):
    """The pushes that come with a response, as they are promised."""

    def __init__(self, conn: Client, exchange: Exchange) -> None:
        self._conn = conn
        self._pushes = exchange.pushes

    async def __anext__(self) -> Push:
        return Push(self._conn, await self._pushes.__anext__())

    async def aclose(self) -> None:
        """Declines further pushes."""
        await self._pushes.aclose()


class _Coming:
    """A response that can be awaited any number of times."""

    def __init__(self, conn: Client, exchange: Exchange) -> None:
        self._conn = conn
        self._exchange = exchange

    def __await__(self) -> Generator[Any, None, Response]:
        yield from self._exchange.answered().__await__()
        return Response(self._conn, self._exchange)
