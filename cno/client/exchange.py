"""A request of a client and its response, from the making of the one to the end of the other, as
the connection knows them; what the user of the client has of them lies in client.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import copy_context

from cno.client.errors import RequestFailed, RequestTimeout, fresh
from cno.engine.errors import Disconnected, StreamGone, UsageError
from cno.engine.events import MESSAGE_FINAL, MESSAGE_UPGRADE, Event
from cno.engine.fields import Fields, Trailers, pairs, trailing
from cno.transport.body import OCTETS, Body, Payload, octets_of, release, write_parts
from cno.transport.channel import Channel
from cno.transport.connection import Connection

# Seconds that a request with `expect: 100-continue` waits for the server to want its body (RFC 9110
# section 10.1.1): one that does not know of it says nothing.
EXPECT = 1.0

# Promises of the server beside one response that wait to be taken; it may answer any number of them
# meanwhile.
PUSHES = 100

# Octets of an HTTP/1 response that nobody wants any more which are read past, so that the
# connection can be used again.
DISCARD = 262144


Inform = Callable[[int, list[tuple[str, str]]], object]


class Carrier(Connection):
    """What an exchange asks of its connection."""

    def abandon(self, exchange: Exchange) -> None:
        """Nobody wants any more of this exchange."""
        raise NotImplementedError

    def said_all(self) -> None:
        """The end of a request was written."""
        raise NotImplementedError

    def watch(self, exchange: Exchange) -> None:
        """It is the server's turn: fails the exchange when nothing comes for its `timeout`."""
        raise NotImplementedError

    def half_close(self) -> bool:
        """Ends our direction of a tunnel on HTTP/1, where the other can stay open: inside TLS it
        returns False."""
        transport = self._transport
        if self.http2 or transport is None or not transport.can_write_eof():
            return False
        self.flush()
        transport.write_eof()
        return True


class Exchange:
    """A request and its response."""

    id = 0  # of the stream; 0 while the request waits for its turn
    deadline: float | None = None  # of the server, by the clock of the loop
    awaiting = 0  # who waits for the server: of a writer and a reader of the bodies
    uploading: asyncio.Task[None] | None = None
    uploads = False  # the body has a task that releases it
    sent = False  # all of the request was written
    withheld = False  # what is left of it will never be
    unwanted = False  # nobody wants the rest of the response
    failure: RequestFailed | None = None
    answer: Event | None = None  # the head of the response
    body_done = False  # the response is complete
    trailers: Fields | None = None

    # The origin of the request, as the fields that say so.
    scheme: tuple[bytes, bytes] = (b":scheme", b"")
    authority: tuple[bytes, bytes] = (b":authority", b"")

    payload: ResponsePayload
    _pushes: Pushes | None = None
    _wanted: asyncio.Future[None] | None = None  # the server wants the body
    _discarded = 0

    def __init__(
        self,
        conn: Carrier,
        method: str,
        fields: Fields,
        timeout: float | None,
        inform: Inform | None = None,
    ) -> None:
        """`timeout` in seconds; `inform` is called with the status and the fields of each
        informational response."""
        self.conn = conn
        self.method = method
        self.fields = fields
        self.timeout = timeout
        self._inform = inform
        self._context = copy_context()  # of whoever makes the request
        self._waiters: list[asyncio.Future[None]] = []  # for the head of the response

    # ---- what the connection does -------------------------------------------------------------

    def head(self, event: Event) -> None:
        """A response head has come."""
        flags, code = event[2], event[3]
        if code < 200 and not flags & MESSAGE_UPGRADE:
            if code == 100:
                self._go_ahead()
            if not self.unwanted:
                self.progress()
                if self._inform is not None:
                    self._context.copy().run(
                        self.conn.loop.call_soon, self._inform, code, pairs(event[8])
                    )
            return
        self.payload = ResponsePayload(self)
        self.answer = event
        self.rest()
        if flags & MESSAGE_FINAL:
            self.feed_end(None)
        self._wake()

    def feed(self, data: bytes) -> int:
        """A part of the body of the response; returns how many octets wait to be read."""
        if not self.unwanted:
            self.progress()
            return self.payload.feed(data)
        self._discarded += len(data)
        if self._discarded > DISCARD:
            self.conn.abandon(self)
        return 0

    def feed_end(self, trailers: Fields | None) -> None:
        """The response is complete."""
        self.body_done = True
        self.rest()
        self.trailers = trailers
        self.payload.feed_eof()
        self._no_more_pushes()
        if self.withheld:
            self.conn.abandon(self)

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
        self._no_more_pushes()
        self._wake()

    def stop(self) -> None:
        """No more of the request is sent."""
        if self.uploading is not None:
            self.uploading.cancel()
            self.uploading = None

    def discard(self) -> None:
        """What there is to read is of no use, and nor is what comes."""
        self.unwanted = True
        if self.failure is None:
            self.fail(RequestFailed("the response was closed"))
        self.drop_pushes()

    def drop_pushes(self) -> None:
        """What was promised and not taken is not wanted."""
        while self._pushes is not None and not self._pushes.empty():
            self._pushes.get_nowait().cancel()

    def progress(self) -> None:
        """Something has moved: the server has its time again, unless nobody waits for it."""
        if self.deadline is not None and not self.unwanted:
            self.conn.watch(self)

    def rest(self) -> None:
        """It is not the server's turn, unless somebody waits for it all the same. What nobody wants
        ends in its time nevertheless."""
        if not self.awaiting and not self.unwanted:
            self.deadline = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """For the time in which somebody waits for the server, if only for another direction."""
        self.awaiting += 1
        if not self.body_done and self.failure is None:
            self.conn.watch(self)
        try:
            yield
        finally:
            self.awaiting -= 1
            self.rest()

    # ---- what its user does -------------------------------------------------------------------

    @property
    def tunnel(self) -> bool:
        """Whether the response grants a tunnel."""
        return self.answer is not None and self.answer[2] & MESSAGE_UPGRADE != 0

    @property
    def asks_tunnel(self) -> bool:
        """Whether what there is to send is no body but for a tunnel. HTTP/2 has no Upgrade (RFC
        9113 section 8.6)."""
        return self.method == "CONNECT" or (not self.conn.http2 and self._has(b"upgrade"))

    @property
    def waits_to_send(self) -> bool:
        """Whether the server must have its say before the body is sent."""
        return self.asks_tunnel or self._has(b"expect")

    @property
    def pushes(self) -> Channel:
        """What the server promises beside the response, up to its end."""
        if self._pushes is None:
            self._pushes = Pushes(self)
            if self.body_done or self.failure is not None or not self.conn.http2:
                self._no_more_pushes()
        return self._pushes

    async def answered(self) -> Event:
        """Returns the head of the response when it is there. Raises what the request failed
        with."""
        while self.answer is None:
            if self.failure is not None:
                raise fresh(self.failure)
            self._waiters.append(self.conn.loop.create_future())
            self.conn.watch(self)
            await self._waiters[-1]  # by no name: what it raises would keep it, and it that
        return self.answer

    async def upload(self, body: Body, trailers: Trailers) -> None:
        """Writes the body of the request. What goes wrong with it goes wrong with the response."""
        self.uploads = True
        try:
            try:
                if await self._is_wanted():
                    self.rest()  # while the first part is made
                    await self._write(body, trailers)
                    self.sent = True
                    self.uploading = None
                    if self._waiters:
                        self.conn.watch(self)
                    self.conn.said_all()
                else:
                    self._withhold()
            finally:
                await release(body)
        except (StreamGone, Disconnected, self.conn.gone_error):
            self.uploading = None  # the response is complete without it, or has failed
        except UsageError as error:
            self._upload_failed(ValueError(f"the request cannot be sent: {error}"))
        except asyncio.CancelledError:
            if self.uploading is not None:  # not by stop(): what the body waits for was cancelled
                self._upload_failed(RequestFailed("the body of the request was cancelled"))
            raise
        except Exception as error:
            self._upload_failed(error)

    # ---- within -------------------------------------------------------------------------------

    async def _write(self, body: Body, trailers: Trailers) -> None:
        """Writes the body to its end."""
        if trailers is None and isinstance(body, OCTETS) and not self.tunnel:
            # The end goes with the last octet, behind which the response may be complete.
            await self.conn.write_rest(self, octets_of(body), 0, True)
            return
        await write_parts(self.conn, self, body)
        if self.tunnel and self.conn.half_close():
            pass
        elif trailers is None:
            self.conn.engine.write(self.id, b"", True)
        else:
            self.conn.engine.tail(self.id, trailing(trailers))

    async def _is_wanted(self) -> bool:
        """Returns when it is known whether the server wants the body."""
        if self._has(b"expect"):
            if self.answer is None:
                self._wanted = self.conn.loop.create_future()
                await asyncio.wait([self._wanted], timeout=EXPECT)
            # What succeeds may come ahead of the body.
            return self.answer is None or self.answer[3] < 400
        if self.asks_tunnel:
            await self.answered()
            return self.tunnel
        return True

    def _withhold(self) -> None:
        """The server does not want what there is to send."""
        self.uploading = None
        if self.asks_tunnel and not self.conn.http2:
            self.sent = True  # there was no body (RFC 9110 section 7.8)
            return
        self.withheld = True
        if self.body_done:
            self.conn.abandon(self)

    def _has(self, name: bytes) -> bool:
        return any(field[0] == name for field in self.fields)

    def _upload_failed(self, error: Exception) -> None:
        self.uploading = None
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiters.clear()
        self.fail(RequestFailed(f"the body of the request failed: {error!r}"))
        self.conn.abandon(self)

    def _go_ahead(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def _wake(self) -> None:
        self._go_ahead()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _no_more_pushes(self) -> None:
        if self._pushes is not None:
            late = isinstance(self.failure, RequestTimeout)
            self._pushes.close(fresh(self.failure) if late and self.failure else None)


class Pushes(Channel):
    """The promises that come with a response. A reader waits no longer than the exchange may."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(PUSHES)
        self._exchange: Exchange | None = exchange  # until there will be no more of them

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
    """The body of a response. Who reads waits no longer than the exchange may."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.conn, exchange.id)
        self._exchange: Exchange | None = exchange  # until nobody has to wait any more

    def feed_eof(self) -> None:
        """It is complete."""
        super().feed_eof()
        self._exchange = None

    def fail(self, failure: ConnectionError) -> None:
        """See Payload.fail."""
        super().fail(failure)
        self._exchange = None

    async def _wait_for_data(self, caller: str) -> None:
        with self._exchange.waiting() if self._exchange is not None else nullcontext():
            await super()._wait_for_data(caller)
