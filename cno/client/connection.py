"""The connection of a client: when a request is written, what the engine reports, and the end.

Knows requests as exchanges; response.py has what their callers see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from marshal import dumps
from typing import Any, cast

from cno.client.alarm import Alarm
from cno.client.errors import (
    BadResponse,
    ConnectionLost,
    RequestFailed,
    RequestTimeout,
    Unprocessed,
    cut_stream,
    fresh,
    unprocessed,
)
from cno.client.exchange import Exchange, Inform
from cno.client.head import is_authoritative
from cno.client.link import Link
from cno.client.pings import Pings
from cno.client.turns import Turns
from cno.engine.binding import Engine
from cno.engine.errors import Disconnected, ProtocolError, UsageError, WouldBlock
from cno.engine.events import (
    CONSTANTS,
    EVENT_PONG,
    EVENT_PUSH,
    EVENT_SETTINGS,
    REMOTE,
    RST_CANCEL,
    Event,
)
from cno.engine.fields import Fields, as_octets
from cno.transport.connection import Connection, Stream
from cno.transport.writing import QUANTUM, Octets

# Bytes of one response that HTTP/2 lets come before they are read (SETTINGS_INITIAL_WINDOW_SIZE).
WINDOW = 262144

# Seconds in which an unwanted HTTP/1 response has to come to its end before its connection is cut:
# for one that has not begun, and for one that has. The latter may be a stream of events, whose
# server should hear soon that nobody listens.
PATIENCE = 5.0
READ_PAST = 1.0

RST_PROTOCOL_ERROR = CONSTANTS["CNO_RST_PROTOCOL_ERROR"]


class _StreamEnded(ConnectionResetError):
    """For the writer of a body: the response is complete without the body, or has failed."""


class ClientConnection(Connection):
    """A connection to a server, which writes requests and tells their exchanges what has come."""

    gone_error = _StreamEnded
    streams: dict[int, Exchange]
    transport: asyncio.Transport

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        authority: str = "",
        scheme: str = "https",
        *,
        force_http2: bool = False,
        push: bool = True,
        timeout: float | None = 60.0,
        timeout_idle: float | None = None,
        ping_interval: float | None = None,
    ) -> None:
        """`loop` None is the running one. `authority` is host[:port], `scheme` "http" or "https".

        HTTP/2 is spoken where TLS has agreed on it (ALPN), or by `force_http2` anyway. Without
        `push` the server is told not to push. `timeout` is how long the server may do nothing while
        a task waits for it; `timeout_idle` how long the connection stays open without a request.
        With `ping_interval` HTTP/2 sends a PING after so long a silence, and gives up when that has
        no answer for so long again.
        """
        super().__init__(loop or asyncio.get_running_loop(), Engine(server=False))
        self.authority = authority
        self.scheme = scheme
        self.timeout = timeout
        self.name = authority or "the server"  # for messages
        self.engine.manual_flow()
        self.engine.configure(enable_push=int(push), initial_window_size=WINDOW)
        self.pings = Pings(self.loop)
        self._force_http2 = force_http2
        self._timeout_idle = timeout_idle
        self._ping_interval = ping_interval
        self._link = Link(self.loop)
        self._alarm = Alarm(self.loop, self._link, self._exchanges, self._time_out)
        self._turns = Turns(self._alarm)
        self._doomed: set[Exchange] = set()  # see doom()
        self._idle: asyncio.TimerHandle | None = None  # ends the connection without requests
        self._failure: RequestFailed | None = None  # why the connection takes no requests
        self._closed = self.loop.create_future()
        self._settled = True  # whether an HTTP/2 server has said how many streams it allows

    @property
    def is_http2(self) -> bool:
        """Whether HTTP/2 is spoken."""
        return self.http2

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended, or is about to: a request would fail."""
        return self._failure is not None or (self._transport is not None and self.engine.closing)

    # ---- requests -----------------------------------------------------------------------------

    def new_exchange(
        self, method: str, fields: Fields, timeout: float | None, inform: Inform | None = None
    ) -> Exchange:
        """An exchange of this connection, with its origin."""
        exchange = Exchange(self, self._alarm, method, fields, timeout, inform)
        exchange.scheme = (b":scheme", as_octets(self.scheme))
        exchange.authority = (b":authority", as_octets(self.authority))
        return exchange

    async def begin(self, exchange: Exchange, target: bytes, fields: Fields) -> None:
        """Writes the head of a request when it is its turn. Raises ValueError and RequestFailed."""
        await self._turns.begin(exchange, target, dumps(fields, 2), self._write_head)

    def _write_head(self, exchange: Exchange, target: bytes, fields: bytes) -> bool:
        """Writes a head; returns False if that has to wait. Raises ValueError and Unprocessed."""
        self.check(sending=True)
        if self.streams and not self._settled:
            return False
        if not self.streams and self._reading and self._link.reads_first(self._next):
            return False
        stream = self.engine.next_stream
        method = as_octets(exchange.method)
        try:
            self.engine.head(stream, 0, method, target, fields, exchange.sent)
        except WouldBlock:
            return False
        except UsageError as error:
            raise ValueError(f"the request cannot be sent: {error}") from None
        except Disconnected as error:
            raise Unprocessed(f"{self.name} takes no more requests: {error}") from None
        exchange.id = stream
        self.streams[stream] = exchange
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        return True

    def _next(self) -> None:
        """Writes the heads of the requests whose turn has come."""
        self._turns.next(self._write_head)
        idle = not self.streams and self._idle is None and not self._over
        if idle and self._timeout_idle is not None:
            call_later = self.loop.call_later
            self._idle = self._link.call(call_later, self._timeout_idle, self.close)

    def said_all(self) -> None:
        """The end of a request was written."""
        if self._batch.events_size:
            self._tell()
        self.flush_soon()

    def abandon(self, exchange: Exchange) -> None:
        """Gives up an exchange, and the pushes that nobody has taken. The rest of an HTTP/1
        response is read past, or the connection ends."""
        exchange.stop()
        if self._turns.remove(exchange):
            return
        if self.streams.get(exchange.id) is exchange:
            if self.http2:
                exchange.discard()
                self._cancel(exchange, RST_CANCEL)
            elif exchange.sent and not exchange.unwanted and not exchange.tunnel:
                exchange.discard()
                exchange.timeout = PATIENCE if exchange.answer is None else READ_PAST
                self._alarm.watch(exchange)
                self._doomed.add(exchange)
                self.consumed(exchange.id, 0)
            else:
                self._cut(ConnectionLost(f"a request to {self.name} was given up halfway"))
        for promised in exchange.untaken_pushes():
            self.abandon(promised)

    def doom(self, exchange: Exchange) -> None:
        """Takes note of an exchange whose rest has no use. The exchange is given up as soon as the
        rest costs more than a new connection."""
        self._doomed.add(exchange)
        self._give_up_doomed()

    def _give_up_doomed(self) -> None:
        for exchange in list(self._doomed):
            if exchange.spent:
                self._doomed.discard(exchange)
                self.abandon(exchange)

    def _cancel(self, exchange: Exchange, code: int) -> None:
        """Resets a stream of HTTP/2."""
        del self.streams[exchange.id]
        self._doomed.discard(exchange)
        self._lose(exchange)
        self._reset(exchange.id, code)
        self._tell()
        self._next()
        self.flush_soon()

    def half_close(self) -> bool:
        """Ends our direction of a tunnel on HTTP/1. Returns False where the other direction would
        end with ours: inside TLS, and on HTTP/2, whose streams the engine ends."""
        self.flush()
        return not self.http2 and self._link.half_close()

    # ---- the transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins with the version that ALPN has chosen."""
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, transport)
        self._link.attach(self.transport)
        if self._over:  # closed before
            self._link.abort()
            return
        self.http2 = self._link.agreed_http2 or self._force_http2
        self._settled = not self.http2
        self.engine.begin(http2=self.http2)
        self.flush()
        self._next()
        if self.http2 and self._ping_interval is not None:
            self.pings.keep_asking(self._link, self._ping_interval, self._ask, self._give_up)

    def data_received(self, data: bytes) -> None:
        """The server has sent something."""
        self.pings.heard = True
        super().data_received(data)
        if self._doomed:
            self._give_up_doomed()
        if self._turns and self.engine.closing:
            self._next()

    def eof_received(self) -> bool:
        """The server has said all. A response without an announced end is complete now (RFC 9112
        section 6.3), unless TLS has ended without close_notify (section 9.8)."""
        if not self._over:
            if not self._link.is_cut():
                with suppress(ProtocolError):  # the events tell of that
                    self.engine.eof()
                self._tell()
            self._drop(ConnectionLost(f"{self.name} has closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport has ended: every exchange that is not complete fails."""
        self._transport = None
        if exc is None and self._link.tls is not None:
            self.eof_received()  # CPython 3.10 reports close_notify by nothing else
        self._link.lost()
        self._drop(ConnectionLost(f"the connection to {self.name} was lost: {exc or 'closed'}"))
        if not self._closed.done():
            self._closed.set_result(None)

    def flush(self) -> None:
        """See Connection.flush."""
        self._link.call(super().flush)

    def consumed(self, stream: int, size: int, left: int = 0) -> None:
        """See Connection.consumed. The unread rest of an HTTP/1 response that has ended holds back
        no other response."""
        if self.http2 or stream in self.streams:
            super().consumed(stream, size, left)

    def take_turns(self, stream: Any, size: int) -> Awaitable[None]:
        """See Writing.take_turns. The server need do nothing while the next part is made. On HTTP/1
        all that has come is read before more is written (RFC 9112 section 9.5): a server that does
        not want the body may have answered and left, and when a write fails, the loop reads nothing
        any more."""
        return self._take_turns_with(stream, super().take_turns(stream, size))

    async def _take_turns_with(self, exchange: Exchange, turns: Awaitable[None] | None) -> None:
        exchange.progress()
        if turns is not None:
            await turns
        if not self.http2:
            await asyncio.sleep(0)  # within a turn of the loop, tasks run before sockets are read
            await asyncio.sleep(0)
        exchange.rest()

    async def write_body(self, stream: Any, data: Octets, taken: int, final: bool) -> None:
        """See Writing.write_body. The server has `timeout` to take each part; on HTTP/1 parts are
        small, so that all that has come can be read between them (see take_turns)."""
        if self.http2:
            with cast(Exchange, stream).waiting():
                await super().write_body(stream, data, taken, final)
            return
        for at in range(taken, len(data), QUANTUM):
            last = at + QUANTUM >= len(data)
            with cast(Exchange, stream).waiting():
                await super().write_body(stream, data[at : at + QUANTUM], 0, final and last)

    async def _wait_for_room(self, stream: Any) -> None:
        with cast(Exchange, stream).waiting():
            await super()._wait_for_room(stream)

    def _progress(self, stream: int, size: int) -> None:
        if size and (exchange := self.streams.get(stream)) is not None:
            exchange.progress()

    # ---- events of the engine -----------------------------------------------------------------

    def _on_head(self, event: Event) -> None:
        if (exchange := self.streams.get(event[1])) is not None:
            exchange.head(event)

    def _on_end(self, stream: Stream, event: Event) -> None:
        exchange = cast(Exchange, stream)
        if exchange.tunnel and not event[2] and event[3] != REMOTE and not exchange.body_done:
            exchange.feed_end(None)  # we have ended the tunnel; HTTP/1 cannot end one direction
        if exchange.failure is None and not exchange.body_done:
            code, remote = event[2] & 0xFFFFFFFF, event[3] == REMOTE
            exchange.failure = self._failure or cut_stream(
                self.name, code, remote=remote, answered=exchange.answer is not None
            )
        self._doomed.discard(exchange)
        self._lose(exchange)
        if self._full:
            self._full = False
            self._update_reading()
        self._next()

    def _on_other(self, event: Event) -> None:
        if event[0] == EVENT_PUSH:
            self._on_push(*event[1:])
        elif event[0] == EVENT_SETTINGS:
            self._settled = True
            self._next()
        elif event[0] == EVENT_PONG:
            self.pings.answered(event[2])

    def _on_push(
        self, stream: int, parent: int, method: str, target: bytes, fields: Fields
    ) -> None:
        promised = self.new_exchange(method, fields, self.timeout)
        promised.id, promised.target, promised.sent = stream, target, True
        self.streams[stream] = promised
        asked = self.streams.get(parent)
        ours = [(self.scheme, self.authority), *([asked.origin] if asked is not None else [])]
        if not is_authoritative(ours, promised.fields):
            self._cancel(promised, RST_PROTOCOL_ERROR)
            return
        try:
            if asked is None or asked.unwanted:
                raise BrokenPipeError
            asked.pushes.put_nowait(promised)
        except (BrokenPipeError, asyncio.QueueFull):  # nobody takes them
            self.abandon(promised)

    def _on_fault(self, event: Event) -> None:
        _, stream, reason, _, _, text = event[:6]
        failure = BadResponse(f"{self.name} broke the protocol: {text} ({reason})", reason)
        if not stream:
            self._failure = self._failure or failure
        elif (exchange := self.streams.get(stream)) is not None:
            exchange.failure = failure

    # ---- time ---------------------------------------------------------------------------------

    def _exchanges(self) -> Iterator[Exchange]:
        """All exchanges, those that wait for their turn first: their turn would come when the other
        exchanges have ended."""
        return iter([*self._turns, *self.streams.values()])

    def _time_out(self, exchange: Exchange) -> None:
        text = f"nothing has come from {self.name} for {exchange.timeout:g} s"
        if exchange in self._turns:
            failure = RequestTimeout(f"{text}: the request was not sent")
            failure.unprocessed = True
            self._turns.fail(exchange, failure)
        elif self.streams.get(exchange.id) is exchange:  # another may have ended the connection
            exchange.failure = RequestTimeout(text)
            if self.http2:
                self._cancel(exchange, RST_CANCEL)
            else:
                self._cut(ConnectionLost(f"the connection was cut because {text}"))

    def _ask(self) -> None:
        with suppress(Disconnected):
            self.engine.ping(bytes(8))
        self.flush()

    def _give_up(self) -> None:
        self._cut(
            ConnectionLost(f"{self.name} does not answer a PING for {self._ping_interval:g} s")
        )

    # ---- the end ------------------------------------------------------------------------------

    def check(self, *, sending: bool = False) -> None:
        """Raises RequestFailed when the connection has ended. With `sending` that is Unprocessed,
        for a request of which nothing was sent: its cause is why the connection has ended."""
        if sending and (self._failure is not None or self._transport is None):
            raise unprocessed(self.name, self._failure)
        if self._failure is not None:
            raise fresh(self._failure)

    def close(self) -> None:
        """Ends the connection: every exchange that is not complete fails. wait_closed() returns
        when the connection has ended."""
        if self._over:
            return
        for exchange in list(self.streams.values()):
            self._reset(exchange.id, RST_CANCEL)
        with suppress(Disconnected):
            self.engine.shutdown(final=True)
        self._drop(ConnectionLost(f"the connection to {self.name} was closed here"))

    async def wait_closed(self) -> None:
        """Returns when the connection has ended."""
        if self._transport is not None:
            await asyncio.shield(self._closed)

    def _end(self) -> None:
        self._drop(ConnectionLost(f"{self.name} has ended the connection"))

    def _cut(self, failure: RequestFailed) -> None:
        """Ends the connection without telling the server."""
        self._drop(failure)
        self._link.abort()

    def _drop(self, failure: RequestFailed) -> None:
        """Ends the connection for its exchanges: every exchange that is not complete fails with
        `failure`, unless another reason is known. A request that was not sent fails with
        Unprocessed."""
        if self._failure is None:
            self._failure = failure
        if not self._over:
            self.flush()
            self._over = True
            if self._idle is not None:
                self._idle.cancel()
            self._link.close()
        while self.streams:
            exchange = self.streams.popitem()[1]
            exchange.failure = exchange.failure or self._failure
            self._lose(exchange)
        self._turns.fail_all(unprocessed(self.name, self._failure))
        self._doomed.clear()
        self.pings.end()
        self._alarm.stop()
