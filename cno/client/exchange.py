"""A request and its response, as far as they have come. Knows no other exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from contextvars import copy_context

from cno.client.alarm import Alarm
from cno.client.errors import RequestFailed, RequestTimeout, fresh
from cno.engine.events import MESSAGE_FINAL, MESSAGE_UPGRADE, Event
from cno.engine.fields import Fields, as_text, pairs
from cno.transport.body import Payload
from cno.transport.channel import Channel
from cno.transport.connection import Connection

# Promises that come with one response and wait for their reader. Further ones are declined, or the
# server could fill the memory with promised responses.
PUSHES = 100

# Bytes of an unwanted HTTP/1 response that are read past, so that the connection can be used again.
DISCARD = 262144


Inform = Callable[[int, list[tuple[str, str]]], object]


class Exchange:
    """A request and its response."""

    id = 0  # of the stream; 0 while the request waits for its turn
    target = b""  # of a request that the server has promised to answer
    deadline: float | None = None  # for the server to do something, by the clock of the loop
    awaiting = 0  # tasks that wait for the server: a writer, a reader of the body or of promises
    uploading: asyncio.Task[None] | None = None  # writes the body of the request
    uploads = False  # whether there was such a task, which releases the body
    sent = False  # whether all of the request was written
    withheld = False  # whether the rest of the request will never be written
    unwanted = False  # whether the response was closed
    failure: RequestFailed | None = None  # why there is no response, or not all of it
    answer: Event | None = None  # the head of the response
    body_done = False  # whether the response is complete
    trailers: Fields | None = None

    # The origin of the request, as the fields that say so.
    scheme: tuple[bytes, bytes] = (b":scheme", b"")
    authority: tuple[bytes, bytes] = (b":authority", b"")

    payload: ResponsePayload
    _pushes: Pushes | None = None
    _wanted: asyncio.Future[None] | None = None  # for 100 (Continue), or the response
    _discarded = 0  # bytes of the body since the response was closed

    def __init__(
        self,
        conn: Connection,
        alarm: Alarm,
        method: str,
        fields: Fields,
        timeout: float | None,
        inform: Inform | None = None,
    ) -> None:
        """`timeout` is in seconds. `inform` is called with the status and the fields of each
        informational response, in the context in which the exchange is made."""
        self.conn = conn
        self.alarm = alarm
        self.method = method
        self.fields = fields
        self.timeout = timeout
        self._inform = inform
        self._context = copy_context()
        self._waiters: list[asyncio.Future[None]] = []  # for the head of the response

    # ---- what the connection reports ----------------------------------------------------------

    def head(self, event: Event) -> None:
        """A response head has come."""
        flags, code = event[2], event[3]
        if code < 200 and not flags & MESSAGE_UPGRADE:
            if code == 100:
                self._go_ahead()
            if not self.unwanted:
                self.progress()
                if self._inform is not None:
                    call_soon = self.conn.loop.call_soon
                    self._context.copy().run(call_soon, self._inform, code, pairs(event[8]))
            return
        self.payload = ResponsePayload(self)
        self.answer = event
        self.rest()
        if flags & MESSAGE_FINAL:
            self.feed_end(None)
        self._wake()

    def feed(self, data: bytes) -> int:
        """A part of the body of the response has come; returns how many bytes wait to be read."""
        if not self.unwanted:
            self.progress()
            return self.payload.feed(data)
        self._discarded += len(data)
        return 0

    def feed_end(self, trailers: Fields | None) -> None:
        """The response is complete."""
        self.body_done = True
        self.rest()
        self.trailers = trailers
        self.payload.feed_eof()
        self._end_pushes()

    def lost(self) -> None:
        """The stream has ended."""
        if not self.body_done:
            self.fail(self.failure or RequestFailed("the exchange has ended"))
        self.stop()

    def fail(self, failure: RequestFailed) -> None:
        """No more of the response will come."""
        self.failure = failure
        self.deadline = None
        if self.answer is not None and not self.body_done:
            self.payload.fail(failure)
        self._end_pushes()
        self._wake()

    def fail_upload(self, error: Exception) -> None:
        """The body of the request cannot be written: a caller that waits for the head gets this
        error, and a reader of the body another one that says so."""
        self.uploading = None
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiters.clear()
        self.fail(RequestFailed(f"the body of the request failed: {error!r}"))

    def stop(self) -> None:
        """No more of the request is written."""
        if self.uploading is not None:
            self.uploading.cancel()
            self.uploading = None

    def discard(self) -> None:
        """The response was closed: neither what has come nor what will come is read."""
        self.unwanted = True
        if self.failure is None:
            self.fail(RequestFailed("the response was closed"))

    @property
    def spent(self) -> bool:
        """Whether the connection has to give up what is left of the exchange: more of an unwanted
        response than is read past, or a complete response to a request that will never be."""
        return self._discarded > DISCARD or (self.withheld and self.body_done)

    def untaken_pushes(self) -> Iterator[Exchange]:
        """Takes the promises that nobody has taken."""
        while self._pushes is not None and not self._pushes.empty():
            yield self._pushes.get_nowait()

    # ---- time ---------------------------------------------------------------------------------

    def progress(self) -> None:
        """The server has done something: the deadline, if there is one, begins anew."""
        if self.deadline is not None and not self.unwanted:
            self.alarm.watch(self)

    def rest(self) -> None:
        """Lifts the deadline, unless a task waits for the server. An unwanted response keeps its
        deadline."""
        if not self.awaiting and not self.unwanted:
            self.deadline = None

    def waiting(self) -> Waiting:
        """`with` this, a task waits for the server."""
        return Waiting(self)

    # ---- what the caller asks -----------------------------------------------------------------

    @property
    def origin(self) -> tuple[str, str]:
        """The scheme and the authority of the request."""
        return as_text(self.scheme[1]), as_text(self.authority[1])

    @property
    def tunnel(self) -> bool:
        """Whether the response grants a tunnel."""
        return self.answer is not None and self.answer[2] & MESSAGE_UPGRADE != 0

    @property
    def asks_tunnel(self) -> bool:
        """Whether the request asks for a tunnel, so that its payload is no body but goes into that.
        HTTP/2 has no Upgrade (RFC 9113 section 8.6)."""
        return self.method == "CONNECT" or (not self.conn.http2 and self._has(b"upgrade"))

    @property
    def waits_to_send(self) -> bool:
        """Whether the body of the request is sent only when the server wants it."""
        return self.asks_tunnel or self._has(b"expect")

    @property
    def pushes(self) -> Pushes:
        """The exchanges that the server promises with the response. HTTP/1 has none."""
        if self._pushes is None:
            self._pushes = Pushes(self)
            if self.body_done or self.failure is not None or not self.conn.http2:
                self._end_pushes()
        return self._pushes

    async def answered(self) -> Event:
        """The head of the response, when it has come. Raises what the request failed with."""
        while self.answer is None:
            if self.failure is not None:
                raise fresh(self.failure)
            self._waiters.append(self.conn.loop.create_future())
            self.alarm.watch(self)
            # Not by a name in this frame: an exception would keep the frame, and that the future.
            await self._waiters[-1]
        return self.answer

    async def is_wanted(self, seconds: float) -> bool:
        """Whether the server wants the body of the request, when that is known. A server that does
        not know `expect` has so many seconds to say nothing."""
        if self._has(b"expect"):
            if self.answer is None:
                self._wanted = self.conn.loop.create_future()
                await asyncio.wait([self._wanted], timeout=seconds)
            # A successful response may come ahead of the body.
            return self.answer is None or self.answer[3] < 400
        if self.asks_tunnel:
            await self.answered()
            return self.tunnel
        return True

    def uploaded(self) -> None:
        """All of the request was written."""
        self.sent = True
        self.uploading = None
        if self._waiters:
            self.alarm.watch(self)

    def withhold(self) -> None:
        """The server does not want the payload."""
        self.uploading = None
        if self.asks_tunnel and not self.conn.http2:
            self.sent = True  # a request for a tunnel has no body (RFC 9110 section 7.8)
        else:
            self.withheld = True

    # ---- within -------------------------------------------------------------------------------

    def _has(self, name: bytes) -> bool:
        return any(field[0] == name for field in self.fields)

    def _go_ahead(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def _wake(self) -> None:
        self._go_ahead()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _end_pushes(self) -> None:
        if self._pushes is not None:
            late = isinstance(self.failure, RequestTimeout)
            self._pushes.close(fresh(self.failure) if late and self.failure else None)


class Waiting:
    """The time in which a task waits for the server to do something about an exchange."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        self._exchange.awaiting += 1
        self._exchange.alarm.watch(self._exchange)

    def __exit__(self, *_: object) -> None:
        self._exchange.awaiting -= 1
        self._exchange.rest()


class Pushes(Channel):
    """The exchanges that come with a response. A reader waits no longer than the response may."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(PUSHES)
        self._exchange: Exchange | None = exchange  # None when no more will come

    def close(self, error: BaseException | None = None) -> None:
        """See Channel.close."""
        super().close(error)
        self._exchange = None

    async def _wait(self) -> bool:
        """See Channel._wait."""
        if self._exchange is None or not self.empty():
            return await super()._wait()
        with self._exchange.waiting():
            return await super()._wait()


class ResponsePayload(Payload):
    """The body of a response. A reader waits no longer than the response may take."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.conn, exchange.id)
        self._exchange: Exchange | None = exchange  # None when no more will come

    def feed_eof(self) -> None:
        """The body is complete."""
        super().feed_eof()
        self._exchange = None

    def fail(self, failure: ConnectionError) -> None:
        """See Payload.fail."""
        super().fail(failure)
        self._exchange = None

    async def _wait_for_data(self, caller: str) -> None:
        with self._exchange.waiting() if self._exchange is not None else nullcontext():
            await super()._wait_for_data(caller)
