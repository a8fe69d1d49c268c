"""The request that a handler of cno.Server gets, and its methods that send the response."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from marshal import dumps
from typing import TYPE_CHECKING, cast

from cno.engine.errors import Disconnected, StreamGone, UsageError
from cno.engine.events import (
    HEAD_FIELDS,
    HEAD_FLAGS,
    HEAD_METHOD,
    HEAD_STREAM,
    HEAD_TARGET,
    MESSAGE_EXPECT,
    MESSAGE_FINAL,
    MESSAGE_UPGRADE,
    Event,
)
from cno.engine.fields import (
    Fields,
    Head,
    Headers,
    Trailers,
    as_octets,
    as_text,
    lowered,
    octet_pairs,
    pairs,
    trailing,
)
from cno.observe.logs import error as log
from cno.server.reply import BODY, DONE, FAILED, WAITING, ClientDisconnected, Unsendable
from cno.transport.body import (
    OCTETS,
    Body,
    Octets,
    OfferedPayload,
    Payload,
    octets_of,
    release,
    size_of,
    write_parts,
)

if TYPE_CHECKING:
    from cno.server.protocol import Server

# The text of the exception for reading a body that ends early.
_REST = "the rest of the body of this request will not come"


class Request(Head):
    """A request, and the methods that answer it.

    `method` is a str. `raw_path` and `raw_headers` are bytes, as they have come. Names of fields
    are in lower case. The first two fields are `:scheme` and `:authority`.
    """

    # Attributes of the class, because most requests never change them.
    _payload: Payload | None = None
    _trailers: Fields | None = None
    _begun = False  # whether the task has taken its first step
    _offered = False  # whether the request asks for a tunnel on HTTP/1, and so has no body
    tunnel = False  # whether a tunnel was granted

    _task: asyncio.Task[None] | None = None

    def __init__(self, conn: Server, event: Event) -> None:
        """Called by the connection with a HEAD event."""
        self.conn = conn
        self.id: int = event[HEAD_STREAM]
        self.reply = conn.make_reply(conn, event[HEAD_STREAM], None)
        self.body_done = event[HEAD_FLAGS] & MESSAGE_FINAL != 0
        self.method: str = event[HEAD_METHOD]
        self.raw_path: bytes = event[HEAD_TARGET]
        self.raw_headers = event[HEAD_FIELDS]
        self._flags: int = event[HEAD_FLAGS]
        if event[HEAD_FLAGS] & MESSAGE_UPGRADE and not conn.http2:
            self._offered = self.body_done = True

    @property
    def path(self) -> str:
        """The request target: path and query, as on the wire."""
        return as_text(self.raw_path)

    @property
    def upgrade(self) -> str | None:
        """The protocol of the tunnel that the request asks for, or several to choose from.

        None for a request that asks for no tunnel, for CONNECT to a host, and without the option
        `upgrade`.
        """
        if not self._flags & MESSAGE_UPGRADE:
            return None
        name = ":protocol" if self.method == "CONNECT" else "upgrade"
        return ", ".join(value for key, value in self.headers if key == name) or None

    @property
    def payload(self) -> asyncio.StreamReader:
        """The body of the request, or the data that comes out of a tunnel. A client that expects
        100 (Continue) is sent that when the payload is first waited for."""
        if self._payload is None:
            asks = self._offered and not self.tunnel
            cls = OfferedPayload if asks else Payload
            payload = cls(self.conn, self.id, expect=self._flags & MESSAGE_EXPECT != 0)
            if asks:
                pass
            elif self.body_done:
                payload.feed_eof()
            elif self.reply.state == FAILED:
                payload.fail(ClientDisconnected(_REST))
            elif self.reply.state == DONE:
                payload.fail(ConnectionAbortedError(_REST))
            self._payload = payload
        return self._payload

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """The trailer fields of the body, once `payload` is at its end."""
        return pairs(self._trailers or [])

    # ---- called by the connection -------------------------------------------------------------

    def feed(self, data: bytes) -> int:
        """Takes a chunk of the body; returns how many bytes wait to be read."""
        return cast(Payload, self.payload).feed(data)

    def feed_end(self, trailers: Fields | None) -> None:
        """Called when the body is complete."""
        self.body_done = True
        self._trailers = trailers
        if self._payload is not None:
            self._payload.feed_eof()

    def hang_up(self) -> None:
        """Does nothing: a client that has closed its sending side still gets its response."""

    def wind_up(self) -> None:
        """Does nothing: a handler cannot be told that the server wants to end."""

    def awaited(self) -> object | None:
        """Returns the future on which the handler waits for more of the body, or None."""
        return None if self._payload is None or self.body_done else self._payload.reader

    def lost(self) -> None:
        """Called when nothing can be sent any more; cancels the handler."""
        self.reply.lost()
        if self._payload is not None and not self.body_done:
            self._payload.fail(ClientDisconnected(_REST))
        self.cancel()

    def cancel(self) -> None:
        """Cancels the handler, unless the handler has returned."""
        # While a task takes its first step within begin(), `_task` is not set yet.
        task = self._task or asyncio.current_task(self.conn.loop)
        # A task that is cancelled before its first step never runs, and would not call returned().
        if task is not None and self._begun and self in self.conn.running:
            task.cancel()

    def begin(self) -> None:
        """Starts the handler."""
        task = self.conn.start(self._run())
        if self in self.conn.running:  # the handler may have returned within start()
            self._task = task

    async def _run(self) -> None:
        """Runs the handler. This is the task of the request."""
        self._begun = True
        try:
            if self.reply.state != FAILED:
                await self.conn.handle(self)
        except Exception as error:
            # A handler that the client has left is no error of the handler. The exception may come
            # before lost() is called, if the handler runs within the call that finds out.
            if isinstance(error, ClientDisconnected) or (
                self.reply.state == FAILED and isinstance(error, ConnectionError)
            ):
                log.debug("The handler failed", exc_info=error)
            else:
                log.error("The handler failed", exc_info=error)
        else:
            if self.reply.state < DONE:
                log.error("The handler ended without a complete response")
        finally:
            self.reply.fail()
            self.conn.returned(self)
            self._task = None  # a reference cycle: a cancelled task refers to this frame

    # ---- answering ----------------------------------------------------------------------------

    async def respond(
        self,
        code: int,
        headers: Headers = (),
        body: Body = b"",
        *,
        trailers: Trailers = None,
    ) -> None:
        """Sends the response; returns when all of it is written.

        `body` is bytes, bytearray or memoryview, a Channel, another iterable or async iterable of
        bytes, or a file. Content-Length is sent when the size is known; otherwise the version of
        HTTP decides how the end of the body is marked. `trailers` are the fields behind the body,
        or a function that is called at the end of the body and returns them; they are dropped on
        HTTP/1.0.

        A 2xx to CONNECT grants a tunnel, and with the option `upgrade` 101 to a request for an
        upgrade does. `body` and `payload` are then the two directions of the tunnel.

        Raises ClientDisconnected when the client has gone, RuntimeError for a second response,
        TypeError and ValueError for a field or a body that cannot be sent (also a body that is
        longer or shorter than its Content-Length), and the exceptions of `body`. A response that
        had begun is then broken off.
        """
        self._check_unanswered()
        switches = code == 101 and self._offered and self.method != "CONNECT"
        if not 200 <= code <= 999 and not switches:
            raise ValueError(f"status {code} is not allowed in a response to this request")
        fields = octet_pairs(headers)
        try:
            at_hand = isinstance(body, OCTETS) or size_of(body) == 0
            if trailers is None and at_hand and code != 101:
                whole = octets_of(body) if isinstance(body, OCTETS) else b""
                await self._respond_bytes(code, fields, whole)
            else:
                await self._respond_parts(code, fields, body, trailers)
        except UsageError as error:
            raise Unsendable(f"the response cannot be sent: {error}") from None
        except (StreamGone, Disconnected):
            raise self.reply.gone() from None
        finally:
            if self.reply.state == BODY:
                self.reply.fail()

    def inform(self, code: int, headers: Headers) -> None:
        """Sends an informational response (102, 103; RFC 9110 section 15.2) ahead of the response.

        Does nothing when the client speaks HTTP/1.0 or has gone. Raises as respond() does.
        """
        self._check_unanswered()
        if not 102 <= code <= 199:
            raise ValueError(f"an informational status is from 102 to 199, not {code}")
        try:
            with suppress(StreamGone, Disconnected):
                self.conn.engine.head(self.id, code, b"", b"", dumps(lowered(headers), 2), False)
                self.conn.flush_soon()
        except UsageError as error:
            raise ValueError(f"the response cannot be sent: {error}") from None

    def push(self, method: str, path: str, headers: Headers = ()) -> None:
        """Promises the response to a request that the client has not made (RFC 9113 section 8.4).

        The promised request is handled as if the client had made it. `:scheme` and `:authority` are
        those of this request, unless they are among `headers`.

        Does nothing on HTTP/1, when the client does not want pushes, when this request was pushed
        itself, and when this request is answered. Raises ValueError for a request that HTTP does
        not allow.
        """
        conn = self.conn
        pushed = sum(not stream.id % 2 for stream in conn.running)
        if self.reply.state >= DONE or pushed >= conn.group.max_streams:
            return
        own = lowered(headers)
        names = {name for name, _ in own}
        inherited = [pair for pair in _target(self.raw_headers) if pair[0] not in names]
        try:
            conn.promise(self.id, as_octets(method), as_octets(path), dumps([*inherited, *own], 2))
        except UsageError as error:
            raise ValueError(f"the request cannot be promised: {error}") from None

    def _check_unanswered(self) -> None:
        if self.reply.state == FAILED:
            raise self.reply.gone()
        if self.reply.state != WAITING:
            raise RuntimeError("the request was answered already")

    async def _respond_bytes(self, code: int, fields: Fields, body: Octets) -> None:
        """Sends a response whose body is in memory."""
        reply = self.reply
        await self._wait_for_room()
        reply.start(code, fields)
        taken = reply.put(body, len(body))
        if self._flags & MESSAGE_UPGRADE:
            self._settle_tunnel(code)
        if (rest := reply.finish(body, taken)) is not None:
            await rest
        self._answered()

    async def _respond_parts(
        self, code: int, fields: Fields, body: Body, trailers: Trailers
    ) -> None:
        """Sends a response whose body is made or read in parts."""
        conn, reply = self.conn, self.reply
        try:
            await self._wait_for_room()
            reply.start(code, fields)
            reply.begin(size_of(body) if trailers is None and code != 101 else -1)
            if self._flags & MESSAGE_UPGRADE:
                self._settle_tunnel(code)
            if self.method != "HEAD" and code not in (204, 205, 304):
                conn.flush_soon()
                await write_parts(conn, reply, body)
        finally:
            await release(body)
        if trailers is None:
            reply.end()
        else:
            reply.trail(trailing(trailers))
        self._answered()

    async def _wait_for_room(self) -> None:
        """Waits while the transport is full: one more head would only add to what waits there."""
        if not self.conn.writable and (turns := self.conn.take_turns(self.reply, 0)) is not None:
            await turns

    def _settle_tunnel(self, code: int) -> None:
        """Called when the head of the response to a request for a tunnel is written."""
        self.tunnel = code < 300 if self.method == "CONNECT" else code == 101
        if not self.tunnel:
            return
        if self._offered:
            self.body_done = False
        if isinstance(self._payload, OfferedPayload):
            self._payload.granted = True
            if self._payload.at_eof():  # the handler has read the empty body; now there is data
                self._payload = None
        self.conn.loop.call_soon(self.conn.open_tunnel, self)

    def _answered(self) -> None:
        """Called when the response is complete; the rest of the request's body is not read."""
        if not self.body_done and self._payload is not None:
            self._payload.fail(ConnectionAbortedError(_REST))


# ---- fields -------------------------------------------------------------------------------------


def _target(fields: Fields) -> Fields:
    """Returns `:scheme` and `:authority` of a request; `host` takes the place of the latter."""
    found = [pair for pair in fields if pair[0] in (b":scheme", b":authority")]
    if len(found) < 2:
        found += [(b":authority", value) for name, value in fields if name == b"host"][:1]
    return found
