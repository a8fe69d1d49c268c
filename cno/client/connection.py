"""The connection of a client: whose turn it is, how long the server may take, and how it ends.

Knows requests as exchanges; what its user has of them lies in client.py.
"""

from __future__ import annotations

import asyncio
import select
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from marshal import dumps
from typing import Any, TypeVar, cast

from cno.client.errors import (
    BadResponse,
    ConnectionLost,
    RequestFailed,
    RequestTimeout,
    StreamReset,
    Unprocessed,
    fresh,
)
from cno.client.exchange import Carrier, Exchange
from cno.client.url import origin, split_target
from cno.engine.binding import Engine
from cno.engine.errors import Disconnected, ProtocolError, UsageError, WouldBlock
from cno.engine.events import (
    CONSTANTS,
    EVENT_PONG,
    EVENT_PUSH,
    EVENT_SETTINGS,
    REMOTE,
    RST_CANCEL,
    RST_REFUSED_STREAM,
    Event,
)
from cno.engine.fields import Fields, as_octets, as_text
from cno.transport.connection import Stream

# Octets of one response that HTTP/2 lets come before they are read (SETTINGS_INITIAL_WINDOW_SIZE).
WINDOW = 262144

# Requests that wait for their turn.
WAITING = 10000

# Seconds that an HTTP/1 response which nobody wants any more has to come to its end, before its
# connection ends: one that has not begun, and one that has. The latter may be a stream of events,
# whose server is to hear that nobody listens.
PATIENCE = 5.0
READ_PAST = 1.0

# Seconds that the server has to take our last words.
LINGER = 2.0

# Turns of the loop until a transport has passed on what it was given (that of uvloop writes at the
# end of a turn), or has told what there is to read (TLS of CPython 3.10 tells of its end late).
TURNS = 4

# Looks at a connection without requests for what has come on it, before a request is written.
LOOKS = 3

_Result = TypeVar("_Result")

# Of OpenSSL: there is nothing to read, but no end either.
_WANT_READ = 2

RST_PROTOCOL_ERROR = CONSTANTS["CNO_RST_PROTOCOL_ERROR"]

_CODES = {
    code: name.removeprefix("CNO_RST_")
    for name, code in CONSTANTS.items()
    if name.startswith("CNO_RST_")
}


class _StreamEnded(ConnectionResetError):
    """For who writes a body: the response is complete without it, or has failed."""


class Requester(Carrier):
    """A connection to a server, before it has a face."""

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
        `push` the server is told not to push. `timeout` is for how long the server may say and take
        nothing while a request waits for it; `timeout_idle` for how long the connection stays open
        without a request. `ping_interval` has HTTP/2 send a PING when nothing has come for so long,
        and give up when nothing has come for so long again.
        """
        super().__init__(loop or asyncio.get_running_loop(), Engine(server=False))
        self.authority = authority
        self.scheme = scheme
        self.timeout = timeout
        self.engine.manual_flow()
        self.engine.configure(enable_push=int(push), initial_window_size=WINDOW)
        self._force_http2 = force_http2
        self._timeout_idle = timeout_idle
        self._ping_interval = ping_interval
        self._scheme = (b":scheme", as_octets(scheme))
        self._authority = (b":authority", as_octets(authority))
        # Requests that wait for their turn, with what their heads are made of.
        self._queue: OrderedDict[Exchange, tuple[asyncio.Future[None], bytes, bytes]]
        self._queue = OrderedDict()
        self._failure: RequestFailed | None = None  # why the connection takes no requests
        self._context = copy_context()
        self._closed = self.loop.create_future()
        self._tls: Any = None  # the ssl.SSLObject: a transport that was closed twice has none
        self._alarm: asyncio.TimerHandle | None = None  # for the first deadline
        self._alarm_at = 0.0
        self._idling: asyncio.TimerHandle | None = None
        self._pinging: asyncio.TimerHandle | None = None
        self._settled = True  # HTTP/2: the server has said how many streams it allows
        self._heard = True  # since the last look
        self._pinged = False
        self._pings: dict[bytes, asyncio.Future[None]] = {}
        self._pings_sent = 0
        self._looks = 0  # at what has come without a request

    @property
    def is_http2(self) -> bool:
        """Whether HTTP/2 is spoken."""
        return self.http2

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended, or is about to: a request would fail."""
        return self._failure is not None or (self._transport is not None and self.engine.closing)

    # ---- requests -----------------------------------------------------------------------------

    async def _begin(self, exchange: Exchange, target: bytes, fields: Fields) -> None:
        """Writes the head of a request when it is its turn."""
        blob = dumps(fields, 2)
        if not self._queue and self._write_head(exchange, target, blob):
            return
        if len(self._queue) >= WAITING:
            raise Unprocessed(f"{WAITING} requests wait for this connection already")
        self._queue[exchange] = self.loop.create_future(), target, blob
        self.watch(exchange)
        await self._queue[exchange][0]  # by no name: what it raises would keep it, and it that

    def _address(self, exchange: Exchange, target: bytes) -> bytes:
        """Sets the origin of a request; returns the target to be sent.

        A target in absolute form, which is meant for a proxy, has an origin of its own (RFC 9112
        section 3.2.2). HTTP/2 sends that in pseudo-headers (RFC 9113 section 8.3.1).
        """
        exchange.scheme, exchange.authority = self._scheme, self._authority
        absolute = None if target[:1] == b"/" or exchange.asks_tunnel else split_target(target)
        if absolute is None:
            return target
        scheme, authority, rest = absolute
        exchange.scheme = (b":scheme", scheme)
        exchange.authority = (b":authority", authority)
        if not self.http2:
            return target
        if not rest and exchange.method == "OPTIONS":
            return b"*"
        return rest if rest[:1] == b"/" else b"/" + rest

    def _fields(self, exchange: Exchange, size: int) -> Fields:
        """All fields of a request. Raises ValueError for a length that is not that of the body."""
        scheme, authority, others = exchange.scheme, exchange.authority, []
        tunnel = exchange.method == "CONNECT"
        unsized = size > 0 and not exchange.asks_tunnel
        for pair in exchange.fields:
            name = pair[0]
            if name in (b":authority", b"host"):
                authority = (b":authority", pair[1])
            elif name == b":scheme":
                scheme = pair
            else:
                others.append(pair)
                if unsized and name == b"content-length":
                    unsized = False
                    if pair[1] != b"%d" % size:
                        raise ValueError(f"content-length {pair[1]!r} and {size} octets of body")
                tunnel = tunnel and name != b":protocol"
        exchange.scheme, exchange.authority = scheme, authority
        if unsized:
            others.append((b"content-length", b"%d" % size))
        return others if tunnel else [scheme, authority, *others]

    def _write_head(self, exchange: Exchange, target: bytes, fields: bytes) -> bool:
        """Whether it was its turn. Raises ValueError and Unprocessed."""
        if self._failure is not None or self._transport is None:
            raise self._unprocessed()
        if self.streams and not self._settled:
            return False
        if not self.streams and self._is_unread():
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
            raise Unprocessed(f"{self._name()} takes no more requests: {error}") from None
        exchange.id = stream
        self.streams[stream] = exchange
        if self._idling is not None:
            self._idling.cancel()
            self._idling = None
        return True

    def _is_unread(self) -> bool:
        """Whether something has come on a connection without requests that the loop, which was
        busy, has not read: a response to no request, or the end. Then the requests wait until that
        was read. It may also be nothing of the kind, such as a session ticket of TLS."""
        if self._looks >= LOOKS or not self._reading or not self._ready(select.POLLIN):
            self._looks = 0
            return False
        self._looks += 1
        self._own(self._later, TURNS, self._next)
        return True

    def _later(self, turns: int, call: Callable[[], None]) -> None:
        """Calls a function after some turns of the loop."""
        if turns:
            self.loop.call_soon(self._later, turns - 1, call)
        else:
            call()

    def said_all(self) -> None:
        """The end of a request was written."""
        if self._batch.events_size:
            self._tell()
        self.flush_soon()

    def abandon(self, exchange: Exchange) -> None:
        """Nobody wants any more of this exchange. What is under way on HTTP/1 is read past, or ends
        the connection."""
        exchange.stop()
        if self._queue.pop(exchange, None) is not None:
            return
        if self.streams.get(exchange.id) is not exchange:
            exchange.drop_pushes()
        elif self.http2:
            exchange.discard()
            self._cancel(exchange)
        elif exchange.sent and not exchange.unwanted and not exchange.tunnel:
            exchange.discard()
            exchange.timeout = PATIENCE if exchange.answer is None else READ_PAST
            self.watch(exchange)
            self.consumed(exchange.id, 0)
        else:
            self._cut(ConnectionLost(f"a request to {self._name()} was given up halfway"))

    def _cancel(self, exchange: Exchange, code: int = RST_CANCEL) -> None:
        """Resets a stream of HTTP/2."""
        del self.streams[exchange.id]
        self._lose(exchange)
        self._reset(exchange.id, code)
        self._tell()
        self._next()
        self.flush_soon()

    def _next(self) -> None:
        """Makes the requests whose turn it is."""
        while self._queue:
            exchange, (turn, target, fields) = next(iter(self._queue.items()))
            if not turn.done():
                try:
                    if not self._write_head(exchange, target, fields):
                        return
                except (ValueError, RequestFailed) as error:
                    turn.set_exception(fresh(error))  # this one keeps our frame, and that the turn
                else:
                    turn.set_result(None)
            self._queue.pop(exchange, None)
        idle = not self.streams and self._idling is None and not self._over
        if idle and self._timeout_idle is not None:
            self._idling = self._own(self.loop.call_later, self._timeout_idle, self.close)

    # ---- the transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins as what ALPN chose."""
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, transport)
        if self._over:  # closed before
            self._abort()
            return
        self._tls = transport.get_extra_info("ssl_object")
        agreed = self._tls is not None and self._tls.selected_alpn_protocol() == "h2"
        self.http2 = agreed or self._force_http2
        self._settled = not self.http2
        self.engine.begin(http2=self.http2)
        self.flush()
        self._next()
        if self.http2 and self._ping_interval is not None:
            self._pinging = self._own(self.loop.call_later, self._ping_interval, self._look)

    def data_received(self, data: bytes) -> None:
        """Octets of the server."""
        self._heard = True
        super().data_received(data)
        if self._queue and self.engine.closing:
            self._next()

    def eof_received(self) -> bool:
        """The server has said all: a response whose end was not announced is complete now (RFC 9112
        section 6.3), unless what TLS says of its end is missing (section 9.8)."""
        if not self._over:
            if not self._is_cut():
                with suppress(ProtocolError):  # of which the events tell
                    self.engine.eof()
                self._tell()
            self._drop(ConnectionLost(f"{self._name()} has closed the connection"))
        return False

    def _is_cut(self) -> bool:
        """Whether TLS has ended without close_notify."""
        if self._tls is None:
            return False
        try:
            return bool(self._tls.read(1))
        except OSError as error:
            return error.errno == _WANT_READ

    def connection_lost(self, exc: Exception | None) -> None:
        """What is under way has failed."""
        self._transport = None
        if exc is None and self._tls is not None:
            self.eof_received()  # of close_notify CPython 3.10 tells by nothing else
        if self._tls is not None and not self.transport.is_closing():
            self.transport.close()  # or CPython 3.10 warns that nobody has
        self._drop(ConnectionLost(f"the connection to {self._name()} was lost: {exc or 'closed'}"))
        if not self._closed.done():
            self._closed.set_result(None)
        for timer in (self._alarm, self._idling, self._pinging):
            if timer is not None:
                timer.cancel()

    def consumed(self, stream: int, size: int, left: int = 0) -> None:
        """See Connection.consumed. What is left of an HTTP/1 response that has ended holds back no
        other."""
        if self.http2 or stream in self.streams:
            super().consumed(stream, size, left)

    async def take_turns(self, stream: Stream, size: int) -> None:
        """See Connection.take_turns. The time to make the next part is not the server's. On HTTP/1
        what has come by now is read before more is written (RFC 9112 section 9.5): a server that
        does not want the body may have answered and left, and once a write fails nothing is read
        any more."""
        exchange = cast(Exchange, stream)
        exchange.progress()
        await super().take_turns(stream, size)
        if not self.http2:
            await asyncio.sleep(0)  # in this turn of the loop tasks run before sockets are read
            await asyncio.sleep(0)
        exchange.rest()

    async def _wait(self, where: dict[asyncio.Future[None], Stream], stream: Stream) -> None:
        exchange = cast(Exchange, stream)
        exchange.awaiting += 1
        self.watch(exchange)
        try:
            await super()._wait(where, stream)
        finally:
            exchange.awaiting -= 1

    # ---- events of the engine -----------------------------------------------------------------

    def _on_head(self, event: Event) -> None:
        if (exchange := self.streams.get(event[1])) is not None:
            exchange.head(event)

    def _on_end(self, stream: Stream, event: Event) -> None:
        exchange = cast(Exchange, stream)
        if exchange.tunnel and not event[2] and event[3] != REMOTE and not exchange.body_done:
            exchange.feed_end(None)  # we have ended it, and HTTP/1 has no end of one direction
        if exchange.failure is None and not exchange.body_done:
            exchange.failure = self._why(exchange, event[2] & 0xFFFFFFFF, event[3])
        self._lose(exchange)
        if self._full:
            self._full = False
            self._update_reading()
        self._next()

    def _why(self, exchange: Exchange, code: int, side: int) -> RequestFailed:
        """What a stream has ended with that is not complete."""
        if self._failure is not None:
            return self._failure
        if side != REMOTE:
            when = "before" if exchange.answer is None else "in the middle of"
            return ConnectionLost(f"{self._name()} has closed the connection {when} the response")
        if code == RST_REFUSED_STREAM and exchange.answer is None:
            return Unprocessed(f"{self._name()} has not processed the request")
        name = _CODES.get(code, str(code))
        return StreamReset(f"{self._name()} has reset the stream: {name}", code)

    def _on_other(self, event: Event) -> None:
        if event[0] == EVENT_PUSH:
            self._on_push(*event[1:])
        elif event[0] == EVENT_SETTINGS:
            self._settled = True
            self._next()
        elif event[0] == EVENT_PONG:
            pong = self._pings.get(event[2])
            if pong is not None and not pong.done():
                pong.set_result(None)

    def _on_push(
        self, stream: int, parent: int, method: str, target: bytes, fields: Fields
    ) -> None:
        exchange = Exchange(self, method, fields, self.timeout)
        exchange.id = stream
        exchange.sent = True
        self.streams[stream] = exchange
        asked = self.streams.get(parent)
        if not self._is_authoritative(fields, asked):
            self._cancel(exchange, RST_PROTOCOL_ERROR)
        elif asked is None or asked.unwanted:
            self.abandon(exchange)
        else:
            self._promised(asked, exchange, target)

    def _is_authoritative(self, promised: Fields, asked: Exchange | None) -> bool:
        """Whether the server may answer a promised request (RFC 9113 section 8.4): its origin is
        that of the connection, or that of the request with which it comes."""
        given = dict(promised)
        wanted = _origin_of(given.get(b":scheme", b""), given.get(b":authority", b""))
        return wanted == origin(self.scheme, self.authority) or (
            asked is not None and wanted == _origin_of(asked.scheme[1], asked.authority[1])
        )

    def _promised(self, asked: Exchange, exchange: Exchange, target: bytes) -> None:
        """Beside the response to `asked` there will be one to what was not asked."""
        raise NotImplementedError

    def _on_fault(self, event: Event) -> None:
        _, stream, reason, _, _, text = event
        failure = BadResponse(f"{self._name()} broke the protocol: {text} ({reason})", reason)
        if not stream:
            self._failure = self._failure or failure
        elif (exchange := self.streams.get(stream)) is not None:
            exchange.failure = failure

    # ---- time ---------------------------------------------------------------------------------

    def watch(self, exchange: Exchange) -> None:
        """It is the server's turn: fails the exchange when nothing comes for its `timeout`."""
        if exchange.timeout is not None:
            when = exchange.deadline = self.loop.time() + exchange.timeout
            if self._alarm is None or when < self._alarm_at:
                self._set_alarm(when)

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = self._own(self.loop.call_at, when, self._ring)

    def _ring(self) -> None:
        """The time of the first exchange is over, unless something has moved."""
        self._alarm = None
        now = self.loop.time()
        # First those whose turn it is not yet, or it would be when the others have ended.
        for exchange in [*self._queue, *self.streams.values()]:
            if exchange.deadline is not None and exchange.deadline <= now:
                self._time_out(exchange)
        left = [*self.streams.values(), *self._queue]
        deadlines = [exchange.deadline for exchange in left if exchange.deadline is not None]
        if deadlines:
            self._set_alarm(min(deadlines))

    def _time_out(self, exchange: Exchange) -> None:
        text = f"nothing has come from {self._name()} for {exchange.timeout:g} s"
        if exchange in self._queue:
            turn = self._queue.pop(exchange)[0]
            if not turn.done():
                failure = RequestTimeout(f"{text}: the request was not sent")
                failure.unprocessed = True
                turn.set_exception(failure)
        elif self.streams.get(exchange.id) is exchange:  # the one before may have ended all
            exchange.failure = RequestTimeout(text)
            if self.http2:
                self._cancel(exchange)
            else:
                self._cut(ConnectionLost(f"the connection was cut because {text}"))

    def _look(self) -> None:
        """Is the server there?"""
        interval = cast(float, self._ping_interval)
        if not self._heard and self._pinged:
            self._cut(ConnectionLost(f"{self._name()} does not answer a PING for {interval:g} s"))
            return
        self._pinged = not self._heard
        if self._pinged:
            with suppress(Disconnected):
                self.engine.ping(bytes(8))
            self.flush()
        self._heard = False
        self._pinging = self._own(self.loop.call_later, interval, self._look)

    # ---- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the connection: what is under way fails. wait_closed() returns when it has ended."""
        if self._over:
            return
        for exchange in list(self.streams.values()):
            self._reset(exchange.id, RST_CANCEL)
        with suppress(Disconnected):
            self.engine.shutdown(final=True)
        self._drop(ConnectionLost(f"the connection to {self._name()} was closed here"))

    async def wait_closed(self) -> None:
        """Returns when there is no connection any more."""
        if self._transport is not None:
            await asyncio.shield(self._closed)

    def _end(self) -> None:
        self._drop(ConnectionLost(f"{self._name()} has ended the connection"))

    def _cut(self, failure: RequestFailed) -> None:
        """Ends the connection without a word."""
        self._drop(failure)
        self._abort()

    def _drop(self, failure: RequestFailed) -> None:
        """The connection is over: so is what is under way, with `failure` unless another is known.
        What has not been sent can be sent again elsewhere."""
        if self._failure is None:
            self._failure = failure
        if not self._over:
            self.flush()
            self._over = True
            if self._idling is not None:
                self._idling.cancel()
            if self._transport is not None:
                if self._tls is None or not self._is_closing():
                    self._own(self._transport.close)  # once: asyncio forgets TLS at the second
                self._idling = self._own(self.loop.call_later, LINGER, self._abort)
                if self._tls is not None:
                    self._own(self.loop.call_soon, self._leave, TURNS)
        while self.streams:
            exchange = self.streams.popitem()[1]
            exchange.failure = exchange.failure or self._failure
            self._lose(exchange)
        for turn, _, _ in self._queue.values():
            if not turn.done():
                turn.set_exception(self._unprocessed())
        self._queue.clear()
        for pong in self._pings.values():
            if not pong.done():
                pong.set_result(None)

    def _abort(self) -> None:
        """Ends the transport now."""
        if self._transport is not None:
            self._own(self._transport.abort)

    def _leave(self, turns: int) -> None:
        """Does not wait for the server to answer the close_notify of TLS (RFC 8446 section 6.1),
        once the transport has passed that on to the system. That takes some turns of the loop, and
        a system that has room; without room the server has its LINGER."""
        if self._transport is None or self._untaken() or not self._ready(select.POLLOUT):
            return
        if turns:
            self._own(self.loop.call_soon, self._leave, turns - 1)
        else:
            self._abort()

    def _is_closing(self) -> bool:
        """Whether the transport is at its end."""
        try:
            return self._transport is None or self._transport.is_closing()
        except AttributeError:  # of CPython 3.10, when TLS has ended and did not tell yet
            return True

    def _untaken(self) -> int:
        """The size of what the transport has not passed on."""
        try:
            return 0 if self._transport is None else self._transport.get_write_buffer_size()
        except AttributeError:  # as above
            return 0

    def _ready(self, what: int) -> bool:
        """Whether the socket is ready for what select.POLLIN or select.POLLOUT says; False if that
        cannot be known."""
        sock: Any = self.transport.get_extra_info("socket")
        number = -1 if sock is None else sock.fileno()
        if number < 0:
            return False
        poll = select.poll()
        poll.register(number, what)
        return bool(poll.poll(0))

    def _own(self, call: Callable[..., _Result], *args: Any) -> _Result:
        """Calls a function of the loop or of the transport in the context variables with which the
        connection was made: those of a request are not for the callbacks of others."""
        return self._context.copy().run(call, *args)

    def flush(self) -> None:
        """See Connection.flush."""
        self._own(super().flush)

    def _update_reading(self) -> None:
        self._own(super()._update_reading)

    def _unprocessed(self) -> Unprocessed:
        """For a request that was not sent: why there is no connection any more is its cause."""
        if self._failure is None:
            return Unprocessed(f"{self._name()} is not connected")
        text = f"the connection to {self._name()} has ended: the request was not sent"
        error = Unprocessed(text)
        error.__cause__ = fresh(self._failure)
        return error

    def _name(self) -> str:
        return self.authority or "the server"


def _origin_of(scheme: bytes, authority: bytes) -> tuple[str, str]:
    return origin(as_text(scheme), as_text(authority))
